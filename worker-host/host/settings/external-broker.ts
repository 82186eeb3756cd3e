import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { BrokerOptions } from "../../mqtt/wire.ts";
import { type GivenSettings, optional, portOf, textOf } from "./settings-sources.ts";
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
  /** Its URL for people. */
  shown: string;
  files: TlsFiles;
}

const PROTOCOLS = ["mqtt:", "mqtts:", "ws:", "wss:"];
const TLS_KEYS = ["mqtt_ca", "mqtt_cert", "mqtt_key"] as const satisfies SettingKey[];

/** The broker that `MQTT_URL` or `MQTT_HOST` names; `undefined` where neither does. */
export function externalBroker(given: GivenSettings, cwd: string): ExternalBroker | undefined {
  const url = findUrl(given);
  checkTls(given, url);
  if (url === undefined) return undefined;
  const credentials = {
    ...optional("username", strongest(given, "mqtt_username", fromUrl(given, url, "username"))),
    ...optional("password", strongest(given, "mqtt_password", fromUrl(given, url, "password"))),
  };
  url.username = "";
  url.password = "";
  const href = url.href.replace(/\/$/, "");
  const place = isUrlGiven(given) ? "mqtt_url" : "mqtt_host";
  const [ca, cert, key] = TLS_KEYS.map((name) => readPem(given, name, cwd));
  return {
    broker: {
      url: href,
      ...credentials,
      ...optional("ca", ca?.text),
      ...optional("cert", cert?.text),
      ...optional("key", key?.text),
      protocolVersion: 5,
    },
    shown: given.shown(place) === given.value(place) ? href : withoutPassword(String(given.shown(place))),
    files: { ...optional("ca", ca?.path), ...optional("cert", cert?.path), ...optional("key", key?.path) },
  };
}

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
  if (url && PROTOCOLS.includes(url.protocol) && url.hostname !== "") return url;
  given.faults.push(
    `${given.where("mqtt_url")}: expected a URL such as "mqtt://192.168.1.10:1883" (mqtt, mqtts, ws or wss), got "${withoutPassword(String(given.shown("mqtt_url")))}"`,
  );
  return undefined;
}

function withoutPassword(url: string): string {
  return url.replace(/^(.*\/\/)?.*@/s, "$1…@");
}

function urlOfHost(given: GivenSettings, host: string, port: number | undefined): URL | undefined {
  const tls = TLS_KEYS.some((key) => textOf(given, key) !== undefined);
  const address = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
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
    return decodeURIComponent(url[part]) || undefined;
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    given.faults.push(
      `${given.where("mqtt_url")}: the ${part} in it has a "%" that stands for nothing: write "%25" for it, or set MQTT_${part.toUpperCase()}`,
    );
    return undefined;
  }
}

function readPem(given: GivenSettings, key: SettingKey, cwd: string): { path: string; text: string } | undefined {
  const file = textOf(given, key);
  if (file === undefined) return undefined;
  const path = resolve(cwd, file);
  try {
    return { path, text: readFileSync(path, "utf8") };
  } catch (error) {
    // What follows the comma is the path.
    const [why] = (error as Error).message.split(",");
    given.faults.push(`${given.where(key)}: can't read ${given.shown(key)}: ${why}`);
    return undefined;
  }
}
