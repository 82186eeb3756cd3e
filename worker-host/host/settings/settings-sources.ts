import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { closestMatch } from "leven";
import { decodeText } from "../../contract/payload.ts";
import { type BuiltinConfig, isValues, notUtf8, parseConfigText, type Values } from "../config/config-file.ts";
import { PACKAGES_KEY } from "../plan/packages.ts";
import { SETTINGS, type SettingDefinition, type SettingKey } from "./settings-table.ts";

/** Where settings come from. */
export interface SettingsSources {
  /** By key, as commander parsed them. */
  flags: ReadonlyMap<string, string | boolean>;
  env: Readonly<Record<string, string | undefined>>;
  /** Where `worker-host.yaml` is looked for, here and upwards; what flags and the environment name starts here. */
  cwd: string;
  /** The folder of the builtin workers that come with worker-host. */
  shippedBuiltins: string;
}

interface Given {
  value: unknown;
  /** The value for people: a text of the file in which a `${NAME}` stands is as it stands there. */
  shown: unknown;
  /** How a person calls the place it came from. */
  source: string;
  /** 0: a flag; 1: the environment; 2: the file. */
  rank: number;
}

/** The key of the settings file for what goes over the configs of builtin workers. */
const BUILTIN_CONFIG_KEY = "builtin_config";

const SETTINGS_FILES = ["worker-host.yaml", "worker-host.yml", "worker-host.json"];

/** The nearest folder that has a settings file, from this one upwards. */
export function nearestSettings(folder: string): string | undefined {
  if (SETTINGS_FILES.some((name) => existsSync(join(folder, name)))) return folder;
  const above = dirname(folder);
  return above === folder ? undefined : nearestSettings(above);
}

/** What was given, by whichever place comes first, and what is wrong with it. */
export class GivenSettings {
  /** What a person has to mend, one line each. */
  readonly faults: string[] = [];
  /** The settings file, as it is shown to people: from the folder where it was looked for. */
  readonly file: string;
  /** What the file says of builtin workers' configs, by their ids. */
  readonly builtinConfig = new Map<string, BuiltinConfig>();
  readonly #given = new Map<SettingKey, Given>();
  readonly #cwd: string;
  /** The folder of the settings file: where the paths in it, and the defaults, start. */
  readonly #home: string;

  constructor(sources: SettingsSources) {
    this.#cwd = sources.cwd;
    this.#home = nearestSettings(sources.cwd) ?? sources.cwd;
    const file = this.#readFile(sources);
    this.file = file.name;
    for (const { key, env, flag } of SETTINGS) {
      const places: [unknown, string][] = [
        [sources.flags.get(key), flag.split(" ")[0] ?? flag],
        [sources.env[env], env],
        [file.values.get(key), `${file.name}: ${key}`],
      ];
      const rank = places.findIndex(([value]) => value !== undefined && value !== null && value !== "");
      const [value, source] = places[rank] ?? [];
      const shown = rank === 2 ? file.shown.get(key) : value;
      if (source !== undefined) this.#given.set(key, { value, shown, source, rank });
    }
  }

  /** What was given, else the default. */
  value(key: SettingKey): unknown {
    const definition: SettingDefinition | undefined = SETTINGS.find((setting) => setting.key === key);
    return this.#given.get(key)?.value ?? definition?.fallback;
  }

  /** What was given, else the default, as a fault may quote it. */
  shown(key: SettingKey): unknown {
    return this.#given.get(key)?.shown ?? this.value(key);
  }

  /** How a person calls the place that it came from. */
  where(key: SettingKey): string {
    return this.#given.get(key)?.source ?? key;
  }

  /** The lower, the stronger: a flag, the environment, the file, nothing. */
  rank(key: SettingKey): number {
    return this.#given.get(key)?.rank ?? Number.POSITIVE_INFINITY;
  }

  /** A path that was given for it, absolute. */
  path(key: SettingKey, path: string): string {
    return resolve(this.rank(key) < 2 ? this.#cwd : this.#home, path);
  }

  /** Notes that `expected` was expected, and what was found instead; a password is never shown. */
  fault(key: SettingKey, expected: string): void {
    const shown = this.#given.get(key)?.shown;
    const found = key === "mqtt_password" ? kindOf(shown) : JSON.stringify(shown);
    this.faults.push(`${this.where(key)}: expected ${expected}, got ${found}`);
  }

  #readFile({ cwd, env }: SettingsSources): Record<"values" | "shown", Map<string, unknown>> & { name: string } {
    const names = SETTINGS_FILES.map((name) => relative(cwd, join(this.#home, name)));
    const found = names.flatMap((name) => {
      const text = this.#read(cwd, name);
      return text === undefined ? [] : [{ name, text }];
    });
    const [first, second] = found;
    if (!first) return { name: names[0] ?? "", values: new Map(), shown: new Map() };
    if (second) this.faults.push(`${first.name} and ${second.name} are both there: keep one`);
    const { config, shown = config, fault, warnings } = parseConfigText(first.name, first.text, env);
    this.faults.push(...(fault === undefined ? [] : [fault]), ...warnings);
    const values = new Map(Object.entries(config));
    for (const key of values.keys()) {
      if (key !== PACKAGES_KEY && key !== BUILTIN_CONFIG_KEY && !SETTINGS.some((setting) => setting.key === key))
        this.faults.push(`${first.name}: ${unknown(key)}`);
    }
    this.#readBuiltinConfig(first.name, config[BUILTIN_CONFIG_KEY], shown[BUILTIN_CONFIG_KEY]);
    return { name: first.name, values, shown: new Map(Object.entries(shown)) };
  }

  #readBuiltinConfig(file: string, given: unknown = {}, shown: unknown = {}): void {
    const entries = isValues(given) ? Object.entries(given) : [];
    const quoted = new Map(Object.entries(isValues(shown) ? shown : {}));
    for (const [id, values] of entries)
      if (isValues(values)) this.builtinConfig.set(id, { values, shown: (quoted.get(id) ?? {}) as Values });
    if (!isValues(given) || entries.length > this.builtinConfig.size)
      this.faults.push(
        `${file}: ${BUILTIN_CONFIG_KEY}: expected ids and what goes over their configs, such as { heartbeat: { tick_interval: 5 } }`,
      );
  }

  #read(cwd: string, name: string): string | undefined {
    try {
      const bytes = readFileSync(join(cwd, name));
      const text = decodeText(bytes);
      if (text === undefined) this.faults.push(notUtf8(name, bytes));
      return text;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT") this.faults.push(`${name}: can't be read (${message})`);
      return undefined;
    }
  }
}

function unknown(key: string): string {
  const word = key.toLowerCase().replaceAll("-", "_");
  const keys = [...SETTINGS.map((setting) => setting.key), PACKAGES_KEY, BUILTIN_CONFIG_KEY];
  const known =
    SETTINGS.find((setting) => setting.env.toLowerCase() === word)?.key ??
    closestMatch(word, keys, { maxDistance: Math.ceil(word.length / 2) });
  return `"${key}" is no setting; ${known ? `did you mean "${known}"?` : `there are: ${keys.join(", ")}`}`;
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? "a list" : typeof value === "object" ? "keys and values" : `a ${typeof value}`;
}

/** Signs that nobody types: controls, and what stands for bytes that are no UTF-8. */
export const UNPRINTABLE = /[\p{Cc}\ufffd]/u;
export const HAS_CONTROLS =
  "there is a control character in it, such as the carriage return of a file with Windows' line ends: take it out";

/** A text; a number in the file stands for its digits. */
export function textOf(given: GivenSettings, key: SettingKey): string | undefined {
  const value = given.value(key);
  if (typeof value === "string" && UNPRINTABLE.test(value)) {
    given.faults.push(`${given.where(key)}: ${HAS_CONTROLS}`);
    return undefined;
  }
  if (value === undefined || typeof value === "string") return value;
  // YAML takes 0123 for 123 and 1e3 for 1000.
  if (key === "mqtt_password") given.fault(key, "a text; put it in quotes");
  else if (typeof value === "number") return String(value);
  else given.fault(key, "a text");
  return undefined;
}

export function portOf(given: GivenSettings, key: SettingKey, lowest: 0 | 1): number | undefined {
  const value = given.value(key);
  if (value === undefined) return undefined;
  const port = typeof value === "string" && /^\d+$/.test(value.trim()) ? Number(value) : value;
  if (typeof port === "number" && Number.isInteger(port) && port >= lowest && port <= 65_535) return port;
  given.fault(key, `a port from ${lowest} to 65535`);
  return undefined;
}

export function numberOf(given: GivenSettings, key: SettingKey, lowest: number): number {
  const value = given.value(key);
  const number = typeof value === "string" && /^\d+$/.test(value.trim()) ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= lowest) return number;
  given.fault(key, `a whole number, ${lowest} or more`);
  return lowest;
}

export function switchOf(given: GivenSettings, key: SettingKey): boolean {
  const value = given.value(key) ?? false;
  if (typeof value === "boolean") return value;
  const word = typeof value === "object" ? "" : String(value).trim().toLowerCase();
  if (["1", "true", "yes", "on"].includes(word)) return true;
  if (!["0", "false", "no", "off"].includes(word)) given.fault(key, "1 or 0");
  return false;
}

export function namesOf(given: GivenSettings, key: SettingKey): string[] | undefined {
  const value = given.value(key) ?? [];
  const names = typeof value === "string" ? value.split(",") : value;
  if (Array.isArray(names) && names.every((name) => typeof name === "string")) {
    return names.map((name) => name.trim()).filter(Boolean);
  }
  given.fault(key, 'names, such as "fogger,coffin_jumper"');
  return undefined;
}

/** `{ [key]: value }`, or `{}` where there is no value. */
export function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V });
}
