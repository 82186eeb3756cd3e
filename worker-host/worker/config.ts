import { closestMatch } from "leven";
import { type Clock, within } from "../base/clock.ts";
import type { Secrets } from "../base/secrets.ts";
import { isSchema, jsonSchemaOf, secretTexts, unknownKeys, validate } from "../commands/schema.ts";
import { WorkerHostError } from "../contract/errors.ts";
import type { JsonSchema } from "../contract/json-schema.ts";
import type { BaseWorker } from "./base-worker.ts";
import type { ConfigSpec, KeyLines } from "./messages.ts";

/** A config that its schema lets through, with its defaults. */
export interface CheckedConfig {
  value: unknown;
  /** Of its schema, where there is one. */
  json: JsonSchema | undefined;
  /** What people have to be told of it. */
  warnings: string[];
}

/**
 * Checks a config against `static config` of a worker's class; without one, it is taken as it is.
 *
 * @param schema the class's `static config`
 * @param file the worker's file, as it is shown to people
 * @throws WorkerHostError `invalid_config`, with every fault on a line of its own: file, line and key
 */
export async function checkConfig(schema: unknown, config: ConfigSpec, file: string): Promise<CheckedConfig> {
  if (schema === undefined) return { value: config.values, json: undefined, warnings: [] };
  if (!isSchema(schema)) {
    throw new WorkerHostError(
      "load_failed",
      `${file}: "static config" is no schema: write z.object({ … }) with "z" from "worker-host"`,
    );
  }
  const json = jsonSchemaOf(schema, `${file}: "static config"`);
  const warnings = unknownKeys(config.values, json).map(({ keys, known }) => {
    const name = String(keys.at(-1));
    const near = closestMatch(name, known) ?? known.join(", ");
    return `${placeOf(config, keys)} ${name}: nobody reads this key; did you mean "${near}"?`;
  });
  const { value, faults } = await validate(schema, config.values, json);
  if (!faults) return { value, json, warnings };
  const lines = faults
    .map(({ keys, text }) => ({ line: lineOf(config, keys) ?? 0, text: `${placeOf(config, keys)} ${text}` }))
    .sort((a, b) => a.line - b.line);
  throw new WorkerHostError("invalid_config", lines.map(({ text }) => text).join("\n"));
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

const ON_CONFIG_MS = 10_000;

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

  /** @throws WorkerHostError `invalid_config`, `load_failed` */
  async check(config: ConfigSpec): Promise<CheckedConfig> {
    const checked = await checkConfig(this.schema, config, this.file);
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
