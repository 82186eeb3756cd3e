import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { closestMatch } from "leven";
import { WorkerHostError } from "../contract/errors.ts";
import { faultOfPrefix } from "../contract/topics.ts";
import type { BrokerOptions } from "../worker/connection.ts";
import type { LogLevel } from "../worker/log.ts";
import { parseConfigText } from "./config-file.ts";

type Kind = "text" | "port" | "switch" | "names" | "level";

/** One setting: a flag, an environment variable and a key of `worker-host.yaml`, in that order of precedence. */
export interface SettingDefinition {
  key: string;
  env: string;
  /** As commander writes it. */
  flag: string;
  kind: Kind;
  fallback?: string;
  description: string;
}

const LOG_LEVELS: readonly LogLevel[] = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

/** The one list of settings: the command line, the environment, the file and the README's table come from it. */
export const SETTINGS = [
  {
    key: "props",
    env: "WORKER_PROPS_DIR",
    flag: "--props <dir>",
    kind: "text",
    fallback: "props",
    description: "The folder that holds the props",
  },
  {
    key: "builtins",
    env: "WORKER_BUILTINS_DIR",
    flag: "--builtins <dir>",
    kind: "text",
    description: "The folder of the builtin workers; the ones that come with worker-host if not given",
  },
  {
    key: "data",
    env: "WORKER_DATA_DIR",
    flag: "--data <dir>",
    kind: "text",
    fallback: "data",
    description: "The folder for what has to outlive a restart",
  },
  {
    key: "mqtt_url",
    env: "MQTT_URL",
    flag: "--mqtt-url <url>",
    kind: "text",
    description: "The broker: mqtt://, mqtts://, ws:// or wss://",
  },
  {
    key: "mqtt_host",
    env: "MQTT_HOST",
    flag: "--mqtt-host <host>",
    kind: "text",
    description: "The broker, by name or address; with neither this nor a URL, an embedded broker runs",
  },
  {
    key: "mqtt_port",
    env: "MQTT_PORT",
    flag: "--mqtt-port <port>",
    kind: "port",
    description: "The broker's port, with MQTT_HOST; 1883, or 8883 with TLS, if not given",
  },
  {
    key: "mqtt_username",
    env: "MQTT_USERNAME",
    flag: "--mqtt-username <name>",
    kind: "text",
    description: "The user name for the broker",
  },
  {
    key: "mqtt_password",
    env: "MQTT_PASSWORD",
    flag: "--mqtt-password <password>",
    kind: "text",
    description: "The password for the broker; better in the environment than in a flag",
  },
  {
    key: "mqtt_ca",
    env: "MQTT_CA",
    flag: "--mqtt-ca <file>",
    kind: "text",
    description: "TLS: a PEM file with the certificate authority that signed the broker's certificate",
  },
  {
    key: "mqtt_cert",
    env: "MQTT_CERT",
    flag: "--mqtt-cert <file>",
    kind: "text",
    description: "TLS: a PEM file with our own certificate",
  },
  {
    key: "mqtt_key",
    env: "MQTT_KEY",
    flag: "--mqtt-key <file>",
    kind: "text",
    description: "TLS: a PEM file with our own key",
  },
  {
    key: "mqtt_prefix",
    env: "MQTT_PREFIX",
    flag: "--mqtt-prefix <prefix>",
    kind: "text",
    fallback: "halloween",
    description: "What all topics start with",
  },
  {
    key: "broker_port",
    env: "WORKER_BROKER_PORT",
    flag: "--broker-port <port>",
    kind: "port",
    fallback: "1883",
    description: "The embedded broker's port; 0 picks a free one",
  },
  {
    key: "lan",
    env: "WORKER_LAN",
    flag: "--lan",
    kind: "switch",
    description: "Open the embedded broker to the network, with a user and password for every client",
  },
  {
    key: "disable_all_builtins",
    env: "WORKER_DISABLE_ALL_BUILTINS",
    flag: "--disable-all-builtins",
    kind: "switch",
    description: "Run no builtin worker",
  },
  {
    key: "builtins_allow",
    env: "WORKER_BUILTINS_ALLOW",
    flag: "--builtins-allow <names>",
    kind: "names",
    description: "Run these builtin workers only (comma-separated)",
  },
  {
    key: "builtins_disable",
    env: "WORKER_BUILTINS_DISABLE",
    flag: "--builtins-disable <names>",
    kind: "names",
    description: "Don't run these builtin workers; not looked at where there is an allow-list",
  },
  {
    key: "disable_all_props",
    env: "WORKER_DISABLE_ALL_PROPS",
    flag: "--disable-all-props",
    kind: "switch",
    description: "Run no prop's worker",
  },
  {
    key: "props_allow",
    env: "WORKER_PROPS_ALLOW",
    flag: "--props-allow <names>",
    kind: "names",
    description: "Run these props' workers only (comma-separated)",
  },
  {
    key: "props_disable",
    env: "WORKER_PROPS_DISABLE",
    flag: "--props-disable <names>",
    kind: "names",
    description: "Don't run these props' workers; not looked at where there is an allow-list",
  },
  {
    key: "log_level",
    env: "LOG_LEVEL",
    flag: "--log-level <level>",
    kind: "level",
    fallback: "info",
    description: `How much is logged: ${LOG_LEVELS.join(", ")}`,
  },
] as const satisfies readonly SettingDefinition[];

type Key = (typeof SETTINGS)[number]["key"];

/** Which workers of one kind run: none, else those allowed, else all but the disabled. */
export interface Selection {
  disableAll: boolean;
  allow: readonly string[];
  disable: readonly string[];
}

export interface Settings {
  props: string;
  builtins: string;
  data: string;
  prefix: string;
  /** `undefined`: run the embedded one. */
  external: BrokerOptions | undefined;
  embedded: { port: number; lan: boolean; username?: string; password?: string };
  selectBuiltins: Selection;
  selectProps: Selection;
  logLevel: LogLevel;
}

/** Where settings come from. */
export interface SettingsSources {
  /** By key, as commander parsed them. */
  flags: ReadonlyMap<string, string | boolean>;
  env: Readonly<Record<string, string | undefined>>;
  /** The folder of `worker-host.yaml`, and the one that relative paths start from. */
  cwd: string;
  /** The folder of the builtin workers that come with worker-host. */
  shippedBuiltins: string;
}

interface Given {
  value: unknown;
  /** How a person calls the place it came from. */
  source: string;
  /** 0: a flag; 1: the environment; 2: the file. */
  rank: number;
}

const SETTINGS_FILES = ["worker-host.yaml", "worker-host.yml", "worker-host.json"];

/**
 * The settings that hold.
 *
 * @throws WorkerHostError `invalid_settings`, with every fault on a line of its own
 */
export function resolveSettings(sources: SettingsSources): Settings {
  return new Resolver(sources).resolve();
}

class Resolver {
  readonly #faults: string[] = [];
  readonly #given: ReadonlyMap<Key, Given>;

  constructor(private readonly sources: SettingsSources) {
    this.#given = this.#collect();
  }

  resolve(): Settings {
    const { cwd, shippedBuiltins } = this.sources;
    const builtins = this.#text("builtins");
    const credentials = {
      ...optional("username", this.#text("mqtt_username")),
      ...optional("password", this.#text("mqtt_password")),
    };
    const settings: Settings = {
      props: resolve(cwd, this.#text("props") ?? ""),
      builtins: builtins === undefined ? shippedBuiltins : resolve(cwd, builtins),
      data: resolve(cwd, this.#text("data") ?? ""),
      prefix: this.#prefix(),
      external: this.#external(credentials),
      embedded: { port: this.#port("broker_port") ?? 0, lan: this.#switch("lan"), ...credentials },
      selectBuiltins: this.#selection("builtins"),
      selectProps: this.#selection("props"),
      logLevel: this.#level(),
    };
    if (settings.external && settings.embedded.lan) {
      this.#faults.push(
        `${this.#where("lan")}: it opens the embedded broker, but ${settings.external.url} is to be used; leave one of them out`,
      );
    }
    if (this.#faults.length > 0) throw new WorkerHostError("invalid_settings", this.#faults.join("\n"));
    return settings;
  }

  #collect(): Map<Key, Given> {
    const given = new Map<Key, Given>();
    const file = this.#readFile();
    for (const { key, env, flag } of SETTINGS) {
      const places: [unknown, string][] = [
        [this.sources.flags.get(key), flag.split(" ")[0] ?? flag],
        [this.sources.env[env], env],
        [file.values.get(key), `${file.name}: ${key}`],
      ];
      const rank = places.findIndex(([value]) => value !== undefined && value !== null && value !== "");
      const [value, source] = places[rank] ?? [];
      if (source !== undefined) given.set(key, { value, source, rank });
    }
    return given;
  }

  #readFile(): { name: string; values: Map<string, unknown> } {
    const found = SETTINGS_FILES.map((name) => ({ name, text: readIfThere(join(this.sources.cwd, name)) })).filter(
      (file): file is { name: string; text: string } => file.text !== undefined,
    );
    const [first, second] = found;
    if (!first) return { name: SETTINGS_FILES[0] ?? "", values: new Map() };
    if (second) this.#faults.push(`${first.name} and ${second.name} are both there: keep one`);
    const parsed = parseConfigText(first.name, first.text, this.sources.env);
    this.#faults.push(...parsed.warnings);
    const values = new Map(Object.entries(parsed.config));
    const keys = SETTINGS.map(({ key }) => key);
    for (const key of values.keys()) {
      if (!(keys as string[]).includes(key))
        this.#faults.push(`${first.name}: "${key}" is no setting; did you mean "${closestMatch(key, keys)}"?`);
    }
    return { name: first.name, values };
  }

  #where(key: Key): string {
    return this.#given.get(key)?.source ?? key;
  }

  #fault(key: Key, expected: string): void {
    const found = JSON.stringify(this.#given.get(key)?.value);
    this.#faults.push(`${this.#where(key)}: expected ${expected}, got ${found}`);
  }

  #value(key: Key): unknown {
    const definition: SettingDefinition | undefined = SETTINGS.find((setting) => setting.key === key);
    return this.#given.get(key)?.value ?? definition?.fallback;
  }

  #text(key: Key): string | undefined {
    const value = this.#value(key);
    if (value === undefined || typeof value === "string") return value;
    if (typeof value === "number") return String(value);
    this.#fault(key, "a text");
    return undefined;
  }

  #port(key: Key): number | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    const port = typeof value === "string" && /^\d+$/.test(value.trim()) ? Number(value) : value;
    const lowest = key === "broker_port" ? 0 : 1;
    if (typeof port === "number" && Number.isInteger(port) && port >= lowest && port <= 65_535) return port;
    this.#fault(key, `a port from ${lowest} to 65535`);
    return undefined;
  }

  #switch(key: Key): boolean {
    const value = this.#value(key) ?? false;
    if (typeof value === "boolean") return value;
    const word = String(value).trim().toLowerCase();
    if (["1", "true", "yes", "on"].includes(word)) return true;
    if (!["0", "false", "no", "off"].includes(word)) this.#fault(key, "1 or 0");
    return false;
  }

  #names(key: Key): string[] {
    const value = this.#value(key) ?? [];
    if (typeof value === "string")
      return value
        .split(",")
        .map((name) => name.trim())
        .filter(Boolean);
    if (Array.isArray(value) && value.every((name) => typeof name === "string")) return value;
    this.#fault(key, 'names, such as "fogger,coffin_jumper"');
    return [];
  }

  #selection(kind: "builtins" | "props"): Selection {
    return {
      disableAll: this.#switch(`disable_all_${kind}`),
      allow: this.#names(`${kind}_allow`),
      disable: this.#names(`${kind}_disable`),
    };
  }

  #level(): LogLevel {
    const level = LOG_LEVELS.find((name) => name === this.#value("log_level"));
    if (!level) this.#fault("log_level", `one of ${LOG_LEVELS.join(", ")}`);
    return level ?? "info";
  }

  #prefix(): string {
    const prefix = this.#text("mqtt_prefix") ?? "";
    const fault = faultOfPrefix(prefix);
    if (fault)
      this.#faults.push(
        `${this.#where("mqtt_prefix")}: "${prefix}" can't start a topic: ${fault}; write one such as "halloween"`,
      );
    return prefix;
  }

  #external(credentials: { username?: string; password?: string }): BrokerOptions | undefined {
    const url = this.#url();
    if (!url) return undefined;
    const inUrl = {
      ...optional("username", decodeURIComponent(url.username) || undefined),
      ...optional("password", decodeURIComponent(url.password) || undefined),
    };
    url.username = "";
    url.password = "";
    return {
      url: url.href.replace(/\/$/, ""),
      ...credentials,
      ...inUrl,
      ...optional("ca", this.#pem("mqtt_ca")),
      ...optional("cert", this.#pem("mqtt_cert")),
      ...optional("key", this.#pem("mqtt_key")),
      protocolVersion: 5,
    };
  }

  #url(): URL | undefined {
    const [url, host] = [this.#text("mqtt_url"), this.#text("mqtt_host")];
    const port = this.#port("mqtt_port");
    const rankOf = (key: Key) => this.#given.get(key)?.rank ?? Number.POSITIVE_INFINITY;
    if (url !== undefined && rankOf("mqtt_url") <= rankOf("mqtt_host")) return this.#parseUrl(url);
    if (host === undefined) {
      if (port !== undefined)
        this.#faults.push(
          `${this.#where("mqtt_port")}: a port without MQTT_HOST; for the embedded broker it is --broker-port`,
        );
      return undefined;
    }
    const tls = this.#text("mqtt_ca") !== undefined || this.#text("mqtt_cert") !== undefined;
    const address = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
    const built = `${tls ? "mqtts" : "mqtt"}://${address}:${port ?? (tls ? 8883 : 1883)}`;
    if (URL.canParse(built) && !/[/@\s]/.test(host)) return new URL(built);
    this.#fault("mqtt_host", 'a host name or address, such as "192.168.1.10"; a URL goes into MQTT_URL');
    return undefined;
  }

  #parseUrl(text: string): URL | undefined {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url && ["mqtt:", "mqtts:", "ws:", "wss:"].includes(url.protocol) && url.hostname !== "") return url;
    this.#faults.push(
      `${this.#where("mqtt_url")}: expected a URL such as "mqtt://192.168.1.10:1883" (mqtt, mqtts, ws or wss)`,
    );
    return undefined;
  }

  #pem(key: "mqtt_ca" | "mqtt_cert" | "mqtt_key"): string | undefined {
    const file = this.#text(key);
    if (file === undefined) return undefined;
    try {
      return readFileSync(resolve(this.sources.cwd, file), "utf8");
    } catch (error) {
      this.#faults.push(`${this.#where(key)}: can't read ${file}: ${(error as Error).message}`);
      return undefined;
    }
  }
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V });
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new WorkerHostError("invalid_settings", `${path}: can't be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
