import { closestMatch } from "leven";
import { WorkerHostError } from "../contract/errors.ts";
import type { ConfigSpec } from "./messages.ts";
import { isSchema, jsonSchemaOf, unknownKeys, validate } from "./schema.ts";

/** A config that its schema lets through, with its defaults. */
export interface CheckedConfig {
  value: unknown;
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
  if (schema === undefined) return { value: config.values, warnings: [] };
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
  if (!faults) return { value, warnings };
  const text = faults.map((fault) => `${placeOf(config, fault.keys)} ${fault.text}`).join("\n");
  throw new WorkerHostError("invalid_config", text);
}

/** `props/fogger/backend/config.yaml:3`: the line of the key, or of the nearest that holds it. */
function placeOf({ file, lines }: ConfigSpec, keys: readonly PropertyKey[]): string {
  for (let count = keys.length; count > 0; count--) {
    const line = lines[`/${keys.slice(0, count).map(String).join("/")}`];
    if (line !== undefined) return `${file}:${line}`;
  }
  return `${file}`;
}
