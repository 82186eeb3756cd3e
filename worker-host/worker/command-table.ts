import type { CommandDescription } from "../contract/description.ts";
import { WorkerHostError } from "../contract/errors.ts";
import type { JsonSchema } from "../contract/json-schema.ts";
import type { CommandSpec, RunningCommand } from "./command-spec.ts";
import { jsonSchemaOf, publicSchema } from "./schema.ts";

/** One command that a worker knows. */
export interface CommandEntry {
  action: string;
  spec: CommandSpec;
  /** Of the args, where there is a schema. */
  argsJson: JsonSchema | undefined;
  /** Of the result, where there is a schema. */
  returnsJson: JsonSchema | undefined;
  handler: (args: unknown, command: RunningCommand) => unknown;
}

/** @throws WorkerHostError `load_failed` where a schema has no JSON Schema */
export function entryOf(action: string, spec: CommandSpec, handler: CommandEntry["handler"]): CommandEntry {
  const { args, returns } = spec;
  const argsJson = args ? jsonSchemaOf(args, `the schema of the args of "${action}"`) : undefined;
  const returnsJson = returns ? jsonSchemaOf(returns, `the schema of what "${action}" returns`, "output") : undefined;
  return { action, spec, argsJson, returnsJson, handler };
}

/** A command as the description tells of it. */
export function describeEntry({ spec, argsJson, returnsJson }: CommandEntry): CommandDescription {
  const { description, mode, max, timeoutMs, broadcast, safe, widget } = spec;
  return {
    ...(description === undefined ? {} : { description }),
    ...(argsJson ? { args: publicSchema(argsJson) } : {}),
    ...(returnsJson ? { returns: publicSchema(returnsJson) } : {}),
    ...(mode === undefined ? {} : { mode }),
    ...(max === undefined ? {} : { max }),
    ...(timeoutMs === undefined ? {} : { timeout_ms: timeoutMs }),
    ...(broadcast ? { broadcast } : {}),
    ...(safe ? { safe } : {}),
    ...(widget ? { widget } : {}),
  };
}

/** @throws WorkerHostError `invalid_value` where `action` is not one word */
export function assertAction(action: string): void {
  if (typeof action === "string" && /^\S+$/.test(action)) return;
  throw new WorkerHostError("invalid_value", `action ${JSON.stringify(action)}: expected one word, such as "start"`);
}
