import { readFileSync } from "node:fs";
import { join } from "node:path";
import { closestMatch } from "leven";
import { parseConfigText } from "../config/config-file.ts";
import { PACKAGES_KEY } from "../plan/packages.ts";
import { SETTINGS, type SettingDefinition, type SettingKey } from "./settings-table.ts";

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

/** What was given, by whichever place comes first, and what is wrong with it. */
export class GivenSettings {
  /** What a person has to mend, one line each. */
  readonly faults: string[] = [];
  /** The name of the settings file. */
  readonly file: string;
  readonly #given = new Map<SettingKey, Given>();

  constructor(sources: SettingsSources) {
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
      if (source !== undefined) this.#given.set(key, { value, source, rank });
    }
  }

  /** What was given, else the default. */
  value(key: SettingKey): unknown {
    const definition: SettingDefinition | undefined = SETTINGS.find((setting) => setting.key === key);
    return this.#given.get(key)?.value ?? definition?.fallback;
  }

  /** How a person calls the place that it came from. */
  where(key: SettingKey): string {
    return this.#given.get(key)?.source ?? key;
  }

  /** The lower, the stronger: a flag, the environment, the file, nothing. */
  rank(key: SettingKey): number {
    return this.#given.get(key)?.rank ?? Number.POSITIVE_INFINITY;
  }

  /** Notes that `expected` was expected, and what was found instead; a password is never shown. */
  fault(key: SettingKey, expected: string): void {
    const value = this.#given.get(key)?.value;
    const found = key === "mqtt_password" ? kindOf(value) : JSON.stringify(value);
    this.faults.push(`${this.where(key)}: expected ${expected}, got ${found}`);
  }

  #readFile({ cwd, env }: SettingsSources): { name: string; values: Map<string, unknown> } {
    const found = SETTINGS_FILES.flatMap((name) => {
      const text = this.#read(cwd, name);
      return text === undefined ? [] : [{ name, text }];
    });
    const [first, second] = found;
    if (!first) return { name: SETTINGS_FILES[0] ?? "", values: new Map() };
    if (second) this.faults.push(`${first.name} and ${second.name} are both there: keep one`);
    const { config, fault, warnings } = parseConfigText(first.name, first.text, env);
    this.faults.push(...(fault === undefined ? [] : [fault]), ...warnings);
    const values = new Map(Object.entries(config));
    for (const key of values.keys()) {
      if (key !== PACKAGES_KEY && !SETTINGS.some((setting) => setting.key === key))
        this.faults.push(`${first.name}: ${unknown(key)}`);
    }
    return { name: first.name, values };
  }

  #read(cwd: string, name: string): string | undefined {
    try {
      return readFileSync(join(cwd, name), "utf8");
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT") this.faults.push(`${name}: can't be read (${message})`);
      return undefined;
    }
  }
}

function unknown(key: string): string {
  const word = key.toLowerCase().replaceAll("-", "_");
  const keys = SETTINGS.map((setting) => setting.key);
  const known =
    SETTINGS.find((setting) => setting.env.toLowerCase() === word)?.key ??
    closestMatch(word, keys, { maxDistance: Math.ceil(word.length / 2) });
  return `"${key}" is no setting; ${known ? `did you mean "${known}"?` : `there are: ${keys.join(", ")}`}`;
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? "a list" : typeof value === "object" ? "keys and values" : `a ${typeof value}`;
}
