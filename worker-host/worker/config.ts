import { isDeepStrictEqual } from "node:util";
import { closestMatch } from "leven";
import { type Clock, within } from "../base/clock.ts";
import { Secrets } from "../base/log.ts";
import {
  assertDefaults,
  isMarked,
  isSchema,
  jsonSchemaOf,
  secretTexts,
  showKeys,
  unknownKeys,
  validate,
} from "../commands/schema.ts";
import { WorkerHostError } from "../contract/errors.ts";
import type { JsonSchema } from "../contract/json-schema.ts";
import type { BaseWorker } from "./base-worker.ts";
import type { ConfigSpec, KeyLines } from "./channel.ts";
import { ON_CONFIG_MS } from "./limits.ts";

/** A config that its schema lets through, with its defaults. */
export interface CheckedConfig {
  value: unknown;
  /** Of its schema, where there is one. */
  json: JsonSchema | undefined;
  /** What people have to be told of it. */
  warnings: string[];
}

/**
 * Checks a config against `static config` of a worker's class; without one, it is taken as it is. A fault quotes the
 * file, not what a `${NAME}` in it became.
 *
 * @param schema the class's `static config`
 * @param file the worker's file, as it is shown to people
 * @param before the config that a `configure` would change: what is marked as the author's stays as it is there
 * @throws WorkerHostError `invalid_config`, with every fault on a line of its own: file, line and key
 */
export async function checkConfig(
  schema: unknown,
  config: ConfigSpec,
  file: string,
  before?: ConfigSpec,
): Promise<CheckedConfig> {
  if (schema === undefined) return { value: config.values, json: undefined, warnings: [] };
  if (!isSchema(schema)) {
    throw new WorkerHostError(
      "load_failed",
      `${file}: "static config" is no schema: write z.object({ … }) with "z" from "worker-host"`,
    );
  }
  assertDefaults(schema, `${file}: "static config"`);
  const json = jsonSchemaOf(schema, `${file}: "static config"`);
  if (before) assertAuthorsOwn(json, before, config);
  const unread = unreadKeys(config, json);
  const warnings = [...unread.values()];
  const alreadyThere = before && unreadKeys(before, json);
  // Whoever brings such a key means another one; what a file has already is no reason to refuse the rest.
  const mistyped = [...unread].find(([key]) => alreadyThere?.has(key) === false)?.[1];
  if (mistyped !== undefined) throw new WorkerHostError("invalid_config", mistyped);
  const { value, faults } = await validate(schema, config.values, json, shownOf(config));
  if (!faults) return { value, json, warnings };
  const lines = faults
    .map(({ keys, text }) => ({ line: lineOf(config, keys) ?? 0, text: `${placeOf(config, keys)} ${text}` }))
    .sort((a, b) => a.line - b.line);
  // An author's own words for a fault may quote the value.
  const filled = new Secrets(config.filled);
  throw new WorkerHostError("invalid_config", filled.cleanText(lines.map(({ text }) => text).join("\n")));
}

/** The keys that the schema doesn't know, each with words for people. */
function unreadKeys(config: ConfigSpec, json: JsonSchema): ReadonlyMap<string, string> {
  const entries = unknownKeys(config.values, json).map(({ keys, known }): [string, string] => {
    const name = String(keys.at(-1));
    const near = closestMatch(name, known) ?? known.join(", ");
    return [showKeys(keys), `${placeOf(config, keys)} ${name}: nobody reads this key; did you mean "${near}"?`];
  });
  return new Map(entries);
}

/** @throws WorkerHostError `invalid_config` where a value differs that its schema marks `.meta({ author: true })` */
function assertAuthorsOwn(json: JsonSchema, before: ConfigSpec, after: ConfigSpec): void {
  const keys =
    firstOfAuthor(json, before.values, after.values, []) ?? firstOfAuthor(json, shownOf(before), shownOf(after), []);
  if (keys === undefined) return;
  const what = keys.length > 0 ? showKeys(keys) : "its config";
  throw new WorkerHostError(
    "invalid_config",
    `${placeOf(after, keys)} ${what}: its author alone changes this: edit the file by hand`,
  );
}

/** The keys of the first value that differs, and is marked as the author's. */
function firstOfAuthor(
  json: JsonSchema,
  before: unknown,
  after: unknown,
  keys: PropertyKey[],
): PropertyKey[] | undefined {
  if (isDeepStrictEqual(before, after)) return undefined;
  if (isMarked(json, keys, "author")) return keys;
  const both = [before, after].filter((value) => typeof value === "object" && value !== null) as object[];
  for (const key of new Set(both.flatMap(keysOf))) {
    const found = firstOfAuthor(json, own(before, key), own(after, key), [...keys, key]);
    if (found) return found;
  }
  return undefined;
}

/** The values as people may see them. */
export function shownOf({ values, shown = values }: ConfigSpec): Record<string, unknown> {
  return shown;
}

function keysOf(value: object): (string | number)[] {
  return Array.isArray(value) ? [...value.keys()] : Object.keys(value);
}

function own(value: unknown, key: string | number): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}

/** `props/fogger/backend/config.yaml:3`, or the file alone where the key is not in it. */
function placeOf(config: ConfigSpec, keys: readonly PropertyKey[]): string {
  const line = lineOf(config, keys);
  return line === undefined ? config.file : `${config.file}:${line}`;
}

/** The line of a key, or of the nearest that holds it. */
function lineOf({ lines }: ConfigSpec, keys: readonly PropertyKey[]): number | undefined {
  let line: number | undefined;
  let inner: KeyLines | undefined = lines;
  for (const key of keys.map(String)) {
    if (!inner || !Object.hasOwn(inner, key)) break;
    ({ line, in: inner } = inner[key] ?? {});
  }
  return line;
}

/** A worker's config while it runs. */
export class LiveConfig {
  #value: unknown;

  /**
   * @param schema the class's `static config`
   * @param file the worker's file, as it is shown to people
   * @param secrets told what no log may hold
   */
  constructor(
    private readonly schema: unknown,
    private readonly file: string,
    private readonly secrets?: Secrets,
  ) {}

  /** What holds now. */
  get value(): unknown {
    return this.#value;
  }

  /**
   * @param before the config that a `configure` would change
   * @throws WorkerHostError `invalid_config`, `load_failed`
   */
  async check(config: ConfigSpec, before?: ConfigSpec): Promise<CheckedConfig> {
    for (const text of config.filled ?? []) this.secrets?.add(text);
    const checked = await checkConfig(this.schema, config, this.file, before);
    if (checked.json) for (const text of secretTexts(checked.value, checked.json)) this.secrets?.add(text);
    return checked;
  }

  /** Takes the first one. */
  begin({ value }: CheckedConfig): void {
    this.#value = value;
  }

  /**
   * Hands a running worker the next one; where it throws, the one before holds again.
   *
   * @throws WorkerHostError `timeout`; whatever `onConfig` throws
   */
  async change(worker: BaseWorker, { value }: CheckedConfig, clock: Clock): Promise<void> {
    const previous = this.#value;
    this.#value = value;
    try {
      const taken = Promise.resolve(worker.onConfig?.(value as never, previous as never));
      if (await within(clock, ON_CONFIG_MS, taken)) return;
      throw new WorkerHostError("timeout", `onConfig() has not ended in ${ON_CONFIG_MS / 1000} s`);
    } catch (error) {
      this.#value = previous;
      throw error;
    }
  }
}
