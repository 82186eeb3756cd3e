import type { CommandDescription } from "../contract/description.ts";
import { type ErrorCode, WorkerHostError } from "../contract/errors.ts";
import type { JsonSchema } from "../contract/json-schema.ts";
import type { CommandSpec, RunningCommand } from "./command-spec.ts";
import { jsonSchemaOf, publicSchema, validate } from "./schema.ts";
import { checkSpec } from "./spec-check.ts";

/** The action that every worker knows. */
export const STOP = "stop";

/** One command that a worker knows. */
export interface CommandEntry {
  action: string;
  spec: CommandSpec;
  /** Of the args, where there is a schema. */
  argsJson: JsonSchema | undefined;
  /** Of the result, where there is a schema. */
  returnsJson: JsonSchema | undefined;
  handler: (args: unknown, command: RunningCommand) => unknown;
  /** Every `stop` runs it first. */
  withStop?: true;
}

/** @throws WorkerHostError `load_failed` where the spec says what none can, or a schema has no JSON Schema */
export function entryOf(action: string, spec: CommandSpec, handler: CommandEntry["handler"]): CommandEntry {
  checkSpec(action, spec);
  const { args, returns } = spec;
  const argsJson = args ? jsonSchemaOf(args, `the schema of the args of "${action}"`) : undefined;
  const returnsJson = returns ? jsonSchemaOf(returns, `the schema of what "${action}" returns`, "output") : undefined;
  return { action, spec, argsJson, returnsJson, handler };
}

/** A command as the description tells of it. */
export function describeEntry({ spec, argsJson, returnsJson }: CommandEntry): CommandDescription {
  const { description, mode, max, timeoutMs, cooldownMs, maxOnMs, onMaxOn, requiresState, broadcast, safe, widget } =
    spec;
  return {
    ...(description === undefined ? {} : { description }),
    ...(argsJson ? { args: publicSchema(argsJson) } : {}),
    ...(returnsJson ? { returns: publicSchema(returnsJson) } : {}),
    ...(mode === undefined ? {} : { mode }),
    ...(max === undefined ? {} : { max }),
    ...(timeoutMs === undefined ? {} : { timeout_ms: timeoutMs }),
    ...(cooldownMs === undefined ? {} : { cooldown_ms: cooldownMs }),
    ...(maxOnMs === undefined ? {} : { max_on_ms: maxOnMs }),
    ...(onMaxOn === undefined ? {} : { on_max_on: onMaxOn }),
    ...(requiresState === undefined ? {} : { requires_state: [requiresState].flat() }),
    ...(broadcast ? { broadcast } : {}),
    ...(safe ? { safe } : {}),
    ...(widget ? { widget } : {}),
  };
}

/** The action that switches off what a command switches on. */
export function endOf({ onMaxOn = STOP }: CommandSpec): string {
  return onMaxOn;
}

/** @throws WorkerHostError with this code where a command names an end that is none of `known`, or can't be one */
export function assertEnd(
  { action, spec }: CommandEntry,
  known: ReadonlyMap<string, CommandEntry>,
  code: ErrorCode,
): void {
  const end = endOf(spec);
  if (spec.maxOnMs === undefined) return;
  if (end === action) throw new WorkerHostError(code, `the command "${action}": onMaxOn is that command itself`);
  const entry = known.get(end);
  if (entry) assertWithoutArgs(entry, `onMaxOn of "${action}"`, code);
  else if (end !== STOP) {
    const names = [...new Set([...known.keys(), STOP])]
      .filter((name) => name !== action)
      .sort()
      .join(", ");
    throw new WorkerHostError(
      code,
      `the command "${action}": onMaxOn is "${end}", and there is no such command: write one of ${names}`,
    );
  }
}

/** @throws WorkerHostError with this code where a command can't be run without args */
export function assertWithoutArgs({ action, spec, argsJson }: CommandEntry, what: string, code: ErrorCode): void {
  if (!spec.args || !argsJson) return;
  const checked = validate(spec.args, undefined, argsJson);
  if (checked instanceof Promise || !checked.faults) return;
  const faults = checked.faults.map(({ text }) => text).join("; ");
  throw new WorkerHostError(
    code,
    `${what} is "${action}", which is then run without args: ${faults}; give its args a default`,
  );
}

/** @throws WorkerHostError `invalid_value` where `action` is not one word */
export function assertAction(action: string): void {
  if (typeof action === "string" && /^\S+$/.test(action)) return;
  throw new WorkerHostError("invalid_value", `action ${JSON.stringify(action)}: expected one word, such as "start"`);
}
