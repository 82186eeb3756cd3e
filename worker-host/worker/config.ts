import { closestMatch } from "leven";
import { isSchema, jsonSchemaOf, unknownKeys, validate } from "../commands/schema.ts";
import { WorkerHostError } from "../contract/errors.ts";
import type { JsonSchema } from "../contract/json-schema.ts";
import type { ConfigSpec } from "./messages.ts";

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
  for (let count = keys.length; count > 0; count--) {
    const line = lines[`/${keys.slice(0, count).map(String).join("/")}`];
    if (line !== undefined) return line;
  }
  return undefined;
}
