import { STOP } from "../contract/command.ts";
import type { CommandDescription } from "../contract/description.ts";
import { type ErrorCode, WorkerHostError } from "../contract/errors.ts";
import type { JsonSchema } from "../contract/json-schema.ts";
import type { CheckedSpec, CommandSpec, RunningCommand } from "./command-spec.ts";
import { jsonSchemaOf, publicSchema, type Validated, validate } from "./schema.ts";
import { assertDefaults } from "./schema-defaults.ts";
import { checkSpec } from "./spec-check.ts";

/** One command that a worker knows. */
export interface CommandEntry {
  action: string;
  spec: CheckedSpec;
  /** Of the args, where there is a schema. */
  argsJson: JsonSchema | undefined;
  /** Of the result, where there is a schema. */
  returnsJson: JsonSchema | undefined;
  handler: (args: unknown, command: RunningCommand) => unknown;
  /** Every `stop` runs it first. */
  withStop?: true;
  /** It is taken on the admin topic alone. */
  admin?: true;
}

/** @throws WorkerHostError `load_failed` where the spec says what none can, or a schema has no JSON Schema */
export function entryOf(action: string, given: CommandSpec, handler: CommandEntry["handler"]): CommandEntry {
  const spec = checkSpec(action, given);
  const { args, returns } = spec;
  assertDefaults(args, `the schema of the args of "${action}"`);
  const argsJson = args ? jsonSchemaOf(args, `the schema of the args of "${action}"`) : undefined;
  const returnsJson = returns ? jsonSchemaOf(returns, `the schema of what "${action}" returns`, "output") : undefined;
  return { action, spec, argsJson, returnsJson, handler };
}

/** A command as the description tells of it. */
export function describeEntry(entry: CommandEntry): CommandDescription {
  const { spec, argsJson, returnsJson } = entry;
  const bare = withoutArgs(entry);
  const { description, mode, max, timeoutMs, cooldownMs, maxOnMs, onMaxOn, requiresState, broadcast, safe, widget } =
    spec;
  return {
    ...(description === undefined ? {} : { description }),
    ...(argsJson ? { args: publicSchema(argsJson) } : {}),
    ...(bare && !bare.faults ? { args_optional: true } : {}),
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
    ...(entry.admin ? { admin: true } : {}),
    ...(widget ? { widget } : {}),
  };
}

/** The action that switches off what a command switches on. */
export function endOf({ onMaxOn = STOP }: CheckedSpec): string {
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
export function assertWithoutArgs(entry: CommandEntry, what: string, code: ErrorCode): void {
  const checked = withoutArgs(entry);
  if (!checked?.faults) return;
  const { action } = entry;
  const faults = checked.faults.map(({ text }) => text).join("; ");
  throw new WorkerHostError(
    code,
    `${what} is "${action}", which is then run without args: ${faults}; give its args a default`,
  );
}

/** What its schema says to no args at all; `undefined` where there is none, or it says so later. */
function withoutArgs({ spec, argsJson }: CommandEntry): Validated<unknown> | undefined {
  if (!spec.args || !argsJson) return undefined;
  const checked = validate(spec.args, undefined, argsJson);
  return checked instanceof Promise ? undefined : checked;
}

/** @throws WorkerHostError `invalid_value` where `action` is not one word */
export function assertAction(action: string): void {
  if (typeof action === "string" && /^\S+$/.test(action)) return;
  throw new WorkerHostError("invalid_value", `action ${JSON.stringify(action)}: expected one word, such as "start"`);
}
