import { z } from "zod";
import type { Span } from "../base/clock.ts";
import { duration } from "../base/duration.ts";
import { type Command, STOP } from "../contract/command.ts";
import type { CommandDescription, Widget } from "../contract/description.ts";
import { type ErrorCode, WorkerHostError } from "../contract/errors.ts";
import type { JsonSchema } from "../contract/json-schema.ts";
import { defined } from "../contract/payload.ts";
import {
  assertDefaults,
  type InferOutput,
  jsonSchemaOf,
  publicSchema,
  type Schema,
  type Validated,
  validate,
} from "./schema.ts";
import type { StopReason } from "./stopping.ts";

/** What a command does while it still runs, in Home Assistant's words for scripts. */
export type CommandMode = "parallel" | "single" | "restart" | "queued";

/** A command as its handler gets it. */
export interface RunningCommand extends Omit<Command, "reason"> {
  /** Aborted by `stop`, a restart, the timeout, and the worker's end. */
  readonly signal: AbortSignal;
  /** For `do_stop` and what runs with it: why. While all-stop or a lock-out holds, it is that, whatever came. */
  readonly reason?: StopReason;
}

/** A time span: ms, or `"5s"`; or what gives it, from the worker's config as it is now. */
// biome-ignore lint/suspicious/noExplicitAny: whatever its config is
export type ConfiguredSpan = Span | ((config: any) => Span);

/** What `@command` says of a `do_` method. */
export interface CommandSpec<Args = unknown, Returns = unknown> {
  /** For people. */
  description?: string;
  /** What the arguments must be; a text is read as this expects it. */
  args?: Schema<Args>;
  /** What the method returns: the compiler holds it to that, and the description tells of it. */
  returns?: Schema<Returns>;
  /** `parallel` if not given. */
  mode?: CommandMode;
  /**
   * How many may run at once, 256 if not given, and 1 with `single` or a cooldown; with `queued`, run or wait, 10 if not
   * given. With `restart` it doesn't count.
   */
  max?: number;
  /** Aborts the command after so long. */
  timeoutMs?: ConfiguredSpan;
  /** It is refused for so long after the end of its last run, however that ended. */
  cooldownMs?: ConfiguredSpan;
  /**
   * What it switches on is on for so long at most, from the begin of its last run: then it is aborted, if it still
   * runs, and `onMaxOn` is run, unless that or `stop` has been run since.
   */
  maxOnMs?: ConfiguredSpan;
  /** The command that switches off what this one switches on; `stop` if not given. */
  onMaxOn?: string;
  /** It is refused unless `this.state` is this, or one of these. */
  requiresState?: string | readonly string[];
  /** It is accepted from the topic of all props. */
  broadcast?: boolean;
  /** It may run while all-stop is engaged; the description says so. */
  safe?: boolean;
  /** How a page may show it. */
  widget?: Widget;
}

/** A spec with its time spans in ms. */
export interface CheckedSpec extends Omit<CommandSpec, "timeoutMs" | "cooldownMs" | "maxOnMs"> {
  timeoutMs?: number;
  cooldownMs?: number;
  maxOnMs?: number;
}

/** A method with the context's `do_` name, taking what the schema lets through. */
type Handler<This, Args, Returns> = (this: This, args: Args, command: RunningCommand) => Returns | Promise<Returns>;

type Decorator<Args, Returns> = <This>(
  method: Handler<This, Args, Returns>,
  context: ClassMethodDecoratorContext<This, Handler<This, Args, Returns>>,
) => void;

const SPEC = Symbol("worker-host command");

/**
 * Describes a `do_` method: `@command({ description: "Fog for a while", args: z.number().max(5000) })`. A parameter that
 * doesn't fit the schema is a compile error.
 */
export function command<Args extends Schema, Returns extends Schema>(
  spec: Omit<CommandSpec, "args" | "returns"> & { args: Args; returns: Returns },
): Decorator<InferOutput<Args>, InferOutput<Returns>>;
export function command<Args extends Schema>(
  spec: Omit<CommandSpec, "args" | "returns"> & { args: Args },
): Decorator<InferOutput<Args>, unknown>;
export function command<Returns extends Schema>(
  spec: Omit<CommandSpec, "args" | "returns"> & { returns: Returns },
): // biome-ignore lint/suspicious/noExplicitAny: without a schema the arguments are what was sent
Decorator<any, InferOutput<Returns>>;
export function command(
  spec: Omit<CommandSpec, "args" | "returns">,
): // biome-ignore lint/suspicious/noExplicitAny: as above
Decorator<any, unknown>;
export function command(spec: CommandSpec): Decorator<unknown, unknown> {
  return (method, context) => {
    assertMethod(method, context);
    Object.defineProperty(method, SPEC, { value: spec });
    context.addInitializer(function () {
      assertInPlace(this, context.name, spec);
    });
  };
}

/**
 * Throws where the limits would be put on anything but the method that runs. A compiler with `experimentalDecorators`
 * calls a decorator with the class's prototype and the method's name.
 *
 * @throws WorkerHostError `invalid_value`
 */
function assertMethod(method: unknown, context: unknown): void {
  const { kind, name } = Object(context) as { kind?: unknown; name?: unknown };
  if (kind === "method" && typeof method === "function") return;
  const legacy = kind === undefined;
  throw new WorkerHostError(
    "invalid_value",
    legacy
      ? `@command of ${String(context)}: this code was compiled with "experimentalDecorators", under which its limits don't hold: take that out of the tsconfig.json it is compiled with`
      : `@command of ${String(name)}: expected a method such as do_fire(), got a ${String(kind)}`,
  );
}

/**
 * Throws where another decorator put a function of its own in the place of a command's method, and so its limits are lost.
 *
 * @throws WorkerHostError `load_failed`
 */
function assertInPlace(worker: unknown, name: PropertyKey, spec: CommandSpec): void {
  for (let holder: unknown = worker; holder; holder = Object.getPrototypeOf(holder)) {
    const method: unknown = Object.getOwnPropertyDescriptor(holder, name)?.value;
    if (typeof method === "function" && specOf(method) === spec) return;
  }
  throw new WorkerHostError(
    "load_failed",
    `@command of ${String(name)}: another decorator put a function in the place of its method, which has none of its limits: write @command first, above the others`,
  );
}

/** What `@command` said of a method. */
export function specOf(method: object): CommandSpec | undefined {
  return Reflect.get(method, SPEC) as CommandSpec | undefined;
}

const ms = duration().pipe(z.number().positive());
const word = z.string().regex(/^\S+$/, { error: "expected one word" });

const spec = z.strictObject({
  description: z.string().optional(),
  mode: z.enum(["parallel", "single", "restart", "queued"]).optional(),
  max: z.number().int().positive().optional(),
  timeoutMs: ms.optional(),
  cooldownMs: duration().optional(),
  maxOnMs: ms.optional(),
  onMaxOn: word.optional(),
  requiresState: z
    .union([word, z.array(word).nonempty()], { error: 'expected a state, such as "armed", or a list of them' })
    .optional(),
  broadcast: z.boolean().optional(),
  safe: z.boolean().optional(),
  widget: z.unknown().optional(),
});

const specJson = jsonSchemaOf(spec, "the spec of a command");

const LIMITS = ["timeoutMs", "cooldownMs", "maxOnMs"] as const;

/** The limits that hang on the worker's config, as they are with this one. */
function limitsAt(given: CommandSpec, config: unknown): Pick<CommandSpec, (typeof LIMITS)[number]> {
  return Object.fromEntries(
    LIMITS.flatMap((limit) => {
      const span = given[limit];
      // What gives nothing would be no limit at all.
      return typeof span === "function" ? [[limit, span(config) ?? null]] : [];
    }),
  );
}

/**
 * A spec with its time spans in ms.
 *
 * @throws WorkerHostError `load_failed` where it says what none can, besides its schemas
 */
function checkSpec(action: string, { args, returns, ...given }: CommandSpec, config: unknown): CheckedSpec {
  const checked = validate(spec, { ...given, ...limitsAt(given, config) }, specJson);
  if (checked instanceof Promise) throw new TypeError("a check of a spec is asynchronous");
  const faults = (checked.faults ?? []).map(({ text }) => text);
  if (given.onMaxOn !== undefined && given.maxOnMs === undefined) faults.push("onMaxOn is for maxOnMs: add that");
  if (faults.length > 0) throw new WorkerHostError("load_failed", `the command "${action}": ${faults.join("; ")}`);
  return {
    ...(checked.value as Omit<CheckedSpec, "args" | "returns">),
    ...(args && { args }),
    ...(returns && { returns }),
  };
}

/** One command that a worker knows. */
export interface CommandEntry {
  action: string;
  spec: CheckedSpec;
  /** What that is with another config of the worker's, where it hangs on that; throws as `entryOf`. */
  specWith?: (config: unknown) => CheckedSpec;
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

/**
 * @param config the worker's
 * @throws WorkerHostError `load_failed` where the spec says what none can, or a schema has no JSON Schema
 */
export function entryOf(
  action: string,
  given: CommandSpec,
  handler: CommandEntry["handler"],
  config?: unknown,
): CommandEntry {
  const spec = checkSpec(action, given, config);
  const hangs = LIMITS.some((limit) => typeof given[limit] === "function");
  const { args, returns } = spec;
  assertDefaults(args, `the schema of the args of "${action}"`);
  const argsJson = args ? jsonSchemaOf(args, `the schema of the args of "${action}"`) : undefined;
  const returnsJson = returns ? jsonSchemaOf(returns, `the schema of what "${action}" returns`, "output") : undefined;
  const specWith = hangs ? { specWith: (next: unknown) => checkSpec(action, given, next) } : {};
  return { action, spec, ...specWith, argsJson, returnsJson, handler };
}

/** A command as the description tells of it. */
export function describeEntry(entry: CommandEntry): CommandDescription {
  const { spec, argsJson, returnsJson } = entry;
  const bare = withoutArgs(entry);
  const { description, mode, max, timeoutMs, cooldownMs, maxOnMs, onMaxOn, requiresState, broadcast, safe, widget } =
    spec;
  return {
    ...defined({ description }),
    ...(argsJson ? { args: publicSchema(argsJson) } : {}),
    ...(bare && !bare.faults ? { args_optional: true } : {}),
    ...(returnsJson ? { returns: publicSchema(returnsJson) } : {}),
    ...defined({ mode, max, timeout_ms: timeoutMs, cooldown_ms: cooldownMs, max_on_ms: maxOnMs, on_max_on: onMaxOn }),
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
