import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { decodeText } from "../../contract/payload.ts";
import type { BrokerOptions } from "../../mqtt/wire.ts";
import { type GivenSettings, HAS_CONTROLS, optional, portOf, textOf, UNPRINTABLE } from "./settings-sources.ts";
import type { SettingKey } from "./settings-table.ts";

/** The PEM files of a TLS connection, absolute. */
export interface TlsFiles {
  ca?: string;
  cert?: string;
  key?: string;
}

/** A broker of one's own, and the files that its TLS texts are from. */
export interface ExternalBroker {
  broker: BrokerOptions;
  files: TlsFiles;
}

const PROTOCOLS = ["mqtt:", "mqtts:", "ws:", "wss:"];
const TLS_KEYS = ["mqtt_ca", "mqtt_cert", "mqtt_key"] as const satisfies SettingKey[];

/** The broker that `MQTT_URL` or `MQTT_HOST` names; `undefined` where neither does. */
export function externalBroker(given: GivenSettings): ExternalBroker | undefined {
  const url = findUrl(given);
  checkTls(given, url);
  if (url === undefined) return undefined;
  const credentials = {
    ...optional("username", strongest(given, "mqtt_username", fromUrl(given, url, "username"))),
    ...optional("password", strongest(given, "mqtt_password", fromUrl(given, url, "password"))),
  };
  const query = url.search || undefined;
  url.username = url.password = url.search = "";
  const href = url.href.replace(/\/$/, "");
  const [ca, cert, key] = TLS_KEYS.map((name) => readPem(given, name));
  checkPair(given, cert, key);
  // A zone, as of fe80::1%eth0, has no place in a URL.
  const zoned = isUrlGiven(given) ? undefined : ZONED.exec(textOf(given, "mqtt_host") ?? "")?.[1];
  return {
    broker: {
      url: href,
      ...optional("query", query),
      ...credentials,
      ...optional("host", zoned),
      ...optional(
        "files",
        ca || cert
          ? { ...optional("ca", ca?.path), ...optional("cert", cert?.path), ...optional("key", key?.path) }
          : undefined,
      ),
      ...optional("ca", ca?.text),
      ...optional("cert", cert?.text),
      ...optional("key", key?.text),
      protocolVersion: 5,
    },
    files: { ...optional("ca", ca?.path), ...optional("cert", cert?.path), ...optional("key", key?.path) },
  };
}

/** An address of this link, with the interface that leads to it: `fe80::1%eth0`. */
const ZONED = /^\[?(fe80:[\da-f:.]*%[\w.-]+)\]?$/i;

function findUrl(given: GivenSettings): URL | undefined {
  const [url, host] = [textOf(given, "mqtt_url"), textOf(given, "mqtt_host")];
  const port = portOf(given, "mqtt_port", 1);
  if (url !== undefined && isUrlGiven(given)) return parseUrl(given, url);
  if (host !== undefined) return urlOfHost(given, host, port);
  if (port !== undefined) {
    given.faults.push(
      `${given.where("mqtt_port")}: a port without MQTT_HOST; for the embedded broker it is --broker-port`,
    );
  }
  return undefined;
}

/** Whether `MQTT_URL` comes from a stronger place than `MQTT_HOST`. */
function isUrlGiven(given: GivenSettings): boolean {
  return given.rank("mqtt_url") <= given.rank("mqtt_host");
}

function parseUrl(given: GivenSettings, text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && PROTOCOLS.includes(url.protocol) && url.hostname !== "" && UNPRINTABLE.test(text)) {
    given.faults.push(`${given.where("mqtt_url")}: ${HAS_CONTROLS}`);
    return undefined;
  }
  if (url && PROTOCOLS.includes(url.protocol) && url.hostname !== "") {
    const isWeb = url.protocol.startsWith("ws");
    const rest = url.hash || (isWeb ? "" : url.search || url.pathname.replace(/^\/$/, ""));
    if (rest === "") return url;
    given.faults.push(
      `${given.where("mqtt_url")}: after host and port there is something that begins with "${rest[0]}": leave it out; in a user name or password write "${encodeURIComponent(rest[0] ?? "")}" for it`,
    );
    return undefined;
  }
  given.faults.push(
    `${given.where("mqtt_url")}: expected a URL such as "mqtt://192.168.1.10:1883" (mqtt, mqtts, ws or wss), got "${withoutPassword(String(given.shown("mqtt_url")))}"`,
  );
  return undefined;
}

/** Without what may be a secret, whatever is wrong with the rest: a password may have "#", "?" and "/" in it. */
function withoutPassword(url: string): string {
  return url.replace(/^([a-z]*:?\/\/)?.*@/is, "$1…@").replace(/[?#].*$/s, "…");
}

function urlOfHost(given: GivenSettings, host: string, port: number | undefined): URL | undefined {
  const tls = TLS_KEYS.some((key) => textOf(given, key) !== undefined);
  const zoneless = host.replace(ZONED, (_, whole: string) => whole.replace(/%.*$/, ""));
  const address = zoneless.includes(":") && !zoneless.startsWith("[") ? `[${zoneless}]` : zoneless;
  const built = `${tls ? "mqtts" : "mqtt"}://${address}:${port ?? (tls ? 8883 : 1883)}`;
  if (URL.canParse(built) && !/[/@?#\s]/.test(host)) return new URL(built);
  given.fault("mqtt_host", 'a host name or address, such as "192.168.1.10"; a URL goes into MQTT_URL');
  return undefined;
}

/** TLS files that would do nothing are a fault: who gives them believes that the connection is encrypted. */
function checkTls(given: GivenSettings, url: URL | undefined): void {
  const there = TLS_KEYS.filter((key) => textOf(given, key) !== undefined);
  const [first] = there;
  if (first === undefined) return;
  if (url && ["mqtt:", "ws:"].includes(url.protocol)) {
    given.faults.push(
      `${given.where(first)}: ${url.protocol}// is not encrypted; write ${url.protocol.replace(":", "s:")}//, or leave the file out`,
    );
  }
  if (given.value("mqtt_url") === undefined && given.value("mqtt_host") === undefined) {
    given.faults.push(
      `${given.where(first)}: the embedded broker has no TLS; set MQTT_URL or MQTT_HOST to one that has`,
    );
  }
  if (there.includes("mqtt_cert") !== there.includes("mqtt_key")) {
    const [alone, other] = there.includes("mqtt_cert")
      ? (["mqtt_cert", "MQTT_KEY"] as const)
      : (["mqtt_key", "MQTT_CERT"] as const);
    given.faults.push(`${given.where(alone)}: it needs ${other} beside it`);
  }
}

/** What the URL says, unless the setting of its own comes from a stronger place than the URL. */
function strongest(
  given: GivenSettings,
  key: "mqtt_username" | "mqtt_password",
  inUrl: string | undefined,
): string | undefined {
  if (inUrl !== undefined && given.rank("mqtt_url") <= given.rank(key)) return inUrl;
  return textOf(given, key);
}

function fromUrl(given: GivenSettings, url: URL, part: "username" | "password"): string | undefined {
  try {
    const text = decodeURIComponent(url[part]);
    if (UNPRINTABLE.test(text)) given.faults.push(`${given.where("mqtt_url")}: its ${part}: ${HAS_CONTROLS}`);
    return text || undefined;
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    given.faults.push(
      `${given.where("mqtt_url")}: the ${part} in it has a "%" that stands for nothing: write "%25" for it, or set MQTT_${part.toUpperCase()}`,
    );
    return undefined;
  }
}

const CERTIFICATE =
  /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g;

/** Why a file holds no certificates, in words. */
function faultOfCertificates(text: string, bytes: Uint8Array): string | undefined {
  const all = text.match(CERTIFICATE) ?? [];
  if (all.length === 0) {
    const isDer = bytes[0] === 0x30;
    const hint = isDer ? 'it is DER: "openssl x509 -inform der -in <file> -out <new file>" makes PEM of it' : NOT_PEM;
    return `expected a certificate as PEM text; ${bytes.length === 0 ? "it is empty" : hint}`;
  }
  const broken = all.findIndex((pem) => !can(() => new X509Certificate(pem)));
  return broken === -1 ? undefined : `its certificate number ${broken + 1} can't be read`;
}

const NOT_PEM = 'there is no "-----BEGIN …" in it';

/** Why a file holds no key that can be used, in words. */
function faultOfKey(text: string): string | undefined {
  if (/-----BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED/.test(text))
    return 'the key is encrypted, and nobody is there to type its passphrase: "openssl pkey -in <file> -out <new file>" takes that off';
  if (can(() => createPrivateKey(text))) return undefined;
  return `expected a private key as PEM text; ${/-----BEGIN/.test(text) ? "it can't be read" : NOT_PEM}`;
}

/** A key that doesn't belong to the certificate would end the process at the first connect. */
function checkPair(given: GivenSettings, cert: { text: string } | undefined, key: { text: string } | undefined): void {
  if (!cert || !key || new X509Certificate(cert.text).checkPrivateKey(createPrivateKey(key.text))) return;
  given.faults.push(
    `${given.where("mqtt_key")}: ${given.shown("mqtt_key")}: it is not the key of ${given.shown("mqtt_cert")}`,
  );
}

function can(work: () => unknown): boolean {
  try {
    work();
    return true;
  } catch {
    // What OpenSSL says of it helps nobody.
    return false;
  }
}

function readPem(given: GivenSettings, key: SettingKey): { path: string; text: string } | undefined {
  const file = textOf(given, key);
  if (file === undefined) return undefined;
  const path = given.path(key, file);
  try {
    const bytes = readFileSync(path);
    const text = decodeText(bytes) ?? "";
    const fault = key === "mqtt_key" ? faultOfKey(text) : faultOfCertificates(text, bytes);
    if (fault === undefined) return { path, text };
    given.faults.push(`${given.where(key)}: ${given.shown(key)}: ${fault}`);
    return undefined;
  } catch (error) {
    // What follows the comma is the path.
    const [why] = (error as Error).message.split(",");
    given.faults.push(`${given.where(key)}: can't read ${given.shown(key)}: ${why}`);
    return undefined;
  }
}
