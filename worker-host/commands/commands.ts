import { type Counts, countCommand } from "../base/counts.ts";
import { andThen } from "../base/promises.ts";
import type { Scope } from "../base/scope.ts";
import { AbortError } from "../base/scope-owner.ts";
import {
  ALL_STOP,
  type Command,
  isEmergencyStop,
  type ParsedCommand,
  parseCommand,
  quote,
  quoteBytes,
  STOP,
} from "../contract/command.ts";
import type { CommandDescription } from "../contract/description.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { coerceText } from "../contract/json-schema.ts";
import type { Topics } from "../contract/topics.ts";
import type { Message } from "../mqtt/wire.ts";
import {
  Answers,
  type AnswersOptions,
  CommandInScope,
  CommandRuns,
  OnTimes,
  type Outcome,
  RefusedError,
  type Request,
} from "./command-runs.ts";
import {
  assertEnd,
  type CheckedSpec,
  type CommandEntry,
  describeEntry,
  endOf,
  type RunningCommand,
} from "./command-spec.ts";
import { type Fault, type Validated, validate } from "./schema.ts";
import type { SeenIds } from "./seen-ids.ts";
import type { StopPath, StopReason } from "./stopping.ts";

export interface CommandsOptions extends AnswersOptions {
  scope: Scope;
  topics: Topics;
  /** The prop's own word for what it is doing. */
  state?: () => string | undefined;
  /** Called when a command has come or gone. */
  onChange?: () => void;
  /** Ends what runs, and runs `switchOff`, for the command `stop`; without it, that is an action like any other. */
  stop?: (reason: StopReason, path: StopPath, command: Command) => Promise<unknown>;
  /** Actions that are never too late, nor refused for the retain flag: whoever wants something stopped gets it. */
  urgent: ReadonlySet<string>;
  /** The ids of those that ran; none runs twice. */
  seen: SeenIds;
  /** Where commands are counted. */
  counts?: Counts;
  /** Why a command may not run now, in words; never asked of an urgent one. */
  barred?: (spec: CheckedSpec) => string | undefined;
}

/** How a command is run, where it isn't as a message wants it. */
export interface HowToRun {
  /** What it is called in, and ends with; the worker if not given. */
  from?: Scope;
  /** Nothing that runs, and no state, is a reason to refuse it: it ends what a command switched on. */
  must?: boolean;
  /** It came on the admin topic. */
  admin?: boolean;
  /** Of a `stop`. */
  reason?: StopReason;
}

type Settle = (outcome: Outcome) => void;

type Fallback = (action: string, args: unknown, command: RunningCommand) => unknown;

interface Known extends CommandEntry {
  runs: CommandRuns;
}

/**
 * Runs commands. They start in the order of their arrival and, unless their mode says otherwise, run side by side; an
 * error in one goes to the scope's owner and to the sender, and ends nothing.
 */
export class Commands {
  readonly #known = new Map<string, Known>();
  /** What runs those without an entry. */
  #others: { runs: CommandRuns; knownAs: (action: string) => Known } | undefined;
  /** The topics off which we took a retained command: one empty message is to come of that. */
  readonly #clearing = new Set<string>();
  readonly #onTimes: OnTimes<Known>;
  readonly #answers: Answers;
  #running = 0;
  #whenIdle: (() => void)[] = [];

  constructor(private readonly options: CommandsOptions) {
    this.#answers = new Answers(options, (error, action) => {
      // What is wrong with its stopping the worker has been told once, however many wanted it.
      if (!options.stop || action !== STOP) options.scope.owner.report(error, action);
    });
    this.#onTimes = new OnTimes(options.scope, (known) => this.#endLongest(known));
  }

  /** Takes what has no entry. */
  addFallback(handle: Fallback): void {
    const runs = new CommandRuns({}, this.options.scope, "onCommand");
    const knownAs = (action: string): Known => ({
      action,
      spec: {},
      argsJson: undefined,
      returnsJson: undefined,
      handler: (args, command) => handle(action, args, command),
      runs,
    });
    this.#others = { runs, knownAs };
  }

  /** @throws WorkerHostError `invalid_value` where there is one for that action, or none that is its `onMaxOn` */
  add(...entries: CommandEntry[]): void {
    const all = new Map<string, CommandEntry>(this.#known);
    for (const entry of entries) {
      if (all.has(entry.action)) {
        throw new WorkerHostError("invalid_value", `there is a command "${entry.action}" already: remove it first`);
      }
      all.set(entry.action, entry);
    }
    for (const entry of entries) assertEnd(entry, all, "invalid_value");
    const { scope, state } = this.options;
    for (const entry of entries) {
      const runs = new CommandRuns(entry.spec, scope, `do_${entry.action}`, state);
      this.#known.set(entry.action, { ...entry, runs });
    }
    this.options.onChange?.();
  }

  /**
   * What takes in the limits that hang on the worker's config, as they are with this one.
   *
   * @throws WorkerHostError `load_failed` where one is none
   */
  limitsWith(config: unknown): () => void {
    const next = [...this.#known.values()].flatMap(({ spec, specWith }) =>
      specWith ? [[spec, specWith(config)] as const] : [],
    );
    return () => {
      for (const [spec, now] of next) Object.assign(spec, now);
      if (next.length > 0) this.options.onChange?.();
    };
  }

  has(action: string): boolean {
    return this.#known.has(action);
  }

  /** Whether anything of the worker's own runs at a stop. */
  get stops(): boolean {
    return this.#known.has(STOP) || this.#others !== undefined;
  }

  /** What of it runs goes on to its end. Gives whether it was there. */
  remove(action: string): boolean {
    const removed = this.#known.delete(action);
    if (removed) this.options.onChange?.();
    return removed;
  }

  describe(): Record<string, CommandDescription> {
    const known = [...this.#known.values()].sort((a, b) => (a.action < b.action ? -1 : 1));
    return Object.fromEntries(known.map((entry) => [entry.action, describeEntry(entry)]));
  }

  /** Fulfils when none runs. */
  async idle(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  /** Takes a message from the topic of its own commands, a worker's or the host's. */
  receive(message: Message): void {
    const { topic, payload, retain } = message;
    // A retained command was taken off the broker, by us or by somebody else.
    if (payload.length === 0 && (this.#clearing.delete(topic) || retain)) return;
    const { command, refusal, forgiven } = this.#parse(payload);
    if (retain) {
      this.#clearing.add(topic);
      this.options.publish(topic, "", { qos: 1, retain: true });
      const isObeyed = command !== undefined && this.options.urgent.has(command.action);
      const fate = isObeyed ? "obeyed this once, and cleared" : "refused";
      this.options.warn(`retained command ${fate}: ${quoteBytes(payload)}; publish commands without the retain flag`);
      if (!isObeyed) return;
    }
    if (forgiven !== undefined) this.options.warn(`${command.action} obeyed, though ${forgiven}`);
    if (refusal !== undefined) this.options.warn(refusal);
    else this.#take(command, message);
  }

  /** What has no all-stop of its own takes it for `stop`, and an `emergency_stop` for the graver one that it knows. */
  #parse(payload: Uint8Array): ParsedCommand {
    const parsed = parseCommand(payload);
    const { command } = parsed;
    if (!command || this.#known.has(command.action)) return parsed;
    const isEmergency = isEmergencyStop(command);
    if (isEmergency) command.args = undefined;
    if (isEmergency || command.action === ALL_STOP) command.action = this.#known.has(ALL_STOP) ? ALL_STOP : STOP;
    return parsed;
  }

  /** Takes a message from the topic of all props: `stop`, and what is marked `broadcast`. */
  receiveBroadcast(message: Message): void {
    if (message.retain) return;
    const { command } = this.#parse(message.payload);
    const wanted = command?.action === STOP || this.#known.get(command?.action ?? "")?.spec.broadcast === true;
    if (command && wanted) this.#take(command, message);
  }

  /** Aborts the running commands, for `stop`: their `hold`s turn off, their sleeps reject, their `maxOnMs` is over. */
  abortAll(why?: string): void {
    for (const { runs } of this.#known.values()) runs.abortAll(why);
    this.#others?.runs.abortAll(why);
    this.#onTimes.callOff();
  }

  /** Runs what every stop runs, and `do_stop` if there is one, in `scope`; gives what that gives. */
  async switchOff(
    scope: Scope,
    reason: StopReason,
    command: Command = { action: STOP, args: undefined },
  ): Promise<unknown> {
    const first = [...this.#known.values()].filter(({ withStop }) => withStop);
    const calls = first.map(async ({ action, handler }) => {
      await handler(undefined, new CommandInScope(scope, { action, args: undefined }, undefined, reason));
    });
    const stop = this.#known.get(STOP) ?? this.#others?.knownAs(STOP);
    const stopped = (async () => (stop ? this.#callStop(stop, scope, reason, command) : undefined))();
    // One that fails holds up none of the others.
    await Promise.allSettled([...calls, stopped]);
    await Promise.all(calls);
    return stopped;
  }

  #callStop(stop: Known, scope: Scope, reason: StopReason, command: Command): unknown {
    return andThen(this.#forgive(command, stop), ({ value }) =>
      stop.handler(value, new CommandInScope(scope, command, value, reason)),
    );
  }

  /** Executes a command that a message brought, and answers it. */
  #take(command: Command, { topic, responseTopic, correlationData }: Message): void {
    // MQTT 5's own response topic comes before its twin in the payload.
    const replyTo = responseTopic ?? command.replyTo;
    const request: Request = {
      command: replyTo === undefined ? command : { ...command, replyTo },
      receivedAt: this.options.clock.monotonic(),
      ...(correlationData ? { correlationData } : {}),
    };
    const { action, expiresAt } = command;
    const urgent = this.options.urgent.has(action);
    if (replyTo !== undefined && !this.options.topics.isReply(replyTo)) {
      const fault = `a reply can't go to ${quote(replyTo)}; expected ${this.options.topics.reply("<id>", "<name>")}`;
      if (!urgent) {
        this.options.warn(`${quote(action)} refused: ${fault}`);
        return;
      }
      this.options.warn(`${action} obeyed without a reply: ${fault}`);
      delete request.command.replyTo;
    }
    // A sender's clock may be wrong.
    const lateMs = urgent || expiresAt === undefined ? 0 : this.options.clock.now() - expiresAt;
    const settle = this.#answering(request);
    if (lateMs > 0) settle(this.#refuse(`${quote(action)} refused: it expired ${Math.round(lateMs)} ms ago`));
    else this.#execute(request.command, { admin: topic === this.options.topics.adminCommand }, settle);
  }

  #answering(request: Request): Settle {
    return (outcome) => this.#answers.answer(request, outcome);
  }

  /**
   * Runs a command where nothing is against it, its args included. Gives what came of it: a promise only where its
   * schema, its handler or its turn has to be waited for. Never throws.
   */
  execute(command: Command, how: HowToRun): Outcome | Promise<Outcome> {
    let known: Outcome | undefined;
    let settle: Settle = (outcome) => {
      known = outcome;
    };
    this.#execute(command, how, (outcome) => settle(outcome));
    if (known) return known;
    return new Promise((resolve) => {
      settle = resolve;
    });
  }

  /** As `execute`; makes no promise that a message's command doesn't need. */
  #execute(command: Command, how: HowToRun, settle: Settle): void {
    const { action, reason } = command;
    const { stop, urgent, scope } = this.options;
    if (stop && action === STOP) {
      const run = () => stop(how.reason ?? reason ?? "stop", reason ? "mqtt" : "command", command);
      this.#follow(action, run, settle);
      return;
    }
    const known = this.#known.get(action) ?? this.#others?.knownAs(action);
    if (!known) {
      settle(this.#refuse(`unknown action ${quote(action)}; known: ${this.#names()}`));
      return;
    }
    const { from = scope, must = urgent.has(action), admin = false } = how;
    void andThen(must ? this.#forgive(command, known) : this.#check(command, known), ({ value, faults }) => {
      const why = must ? undefined : this.#objection(command, known, admin, faults);
      if (why !== undefined) {
        settle(this.#refuse(why));
        return;
      }
      if (command.id !== undefined) this.options.seen.take(command.id);
      this.#run(command, known, value, { from, must }, settle);
    });
  }

  #refuse(why: string): Outcome {
    if (this.options.counts) this.options.counts.refused++;
    return { status: "refused", why };
  }

  /** Why a command may not run now, in words. */
  #objection({ action, id }: Command, known: Known, admin: boolean, faults: Fault[] | undefined): string | undefined {
    const { topics, barred, seen } = this.options;
    const elsewhere =
      known.admin && !admin ? `it is taken on ${topics.adminCommand} alone, which is for the role "author"` : undefined;
    const again = id !== undefined && seen.has(id) ? `a command with the id ${quote(id)} has run already` : undefined;
    const why = elsewhere ?? again ?? barred?.(known.spec);
    if (why !== undefined) return `${quote(action)} refused: ${why}`;
    const fault = faults ? textOf(faults) : known.runs.refusal;
    return fault === undefined ? undefined : `${this.#known.has(action) ? action : quote(action)} refused: ${fault}`;
  }

  #names(): string {
    const own = this.options.stop ? [STOP] : [];
    return [...new Set([...this.#known.keys(), ...own])].sort().join(", ");
  }

  /** Ends what a command has had on for as long as it may be. */
  #endLongest({ action, spec, runs }: Known): void {
    // The one that is to do so may have been removed since.
    const end = this.#known.has(endOf(spec)) ? endOf(spec) : STOP;
    const why = `on for its longest, ${spec.maxOnMs} ms`;
    this.options.warn(`${action} was ${why}: ran ${end}`);
    runs.abortAll(`it was ${why}`);
    const command: Command = { action: end, args: undefined };
    const settle = this.#answering({ command, receivedAt: this.options.clock.monotonic() });
    this.#execute(command, { must: true, reason: "max_on" }, settle);
  }

  #check(command: Command, { spec, argsJson }: Known): Validated<unknown> | Promise<Validated<unknown>> {
    if (!spec.args || !argsJson) return { value: command.args };
    if (!command.text || typeof command.args !== "string") return validate(spec.args, command.args, argsJson);
    const { value, refusal } = coerceText(command.args, argsJson);
    if (refusal !== undefined) return { faults: [{ keys: [], text: refusal }] };
    return validate(spec.args, value, argsJson);
  }

  /** As `#check`, for what must run: what is wrong with its args keeps nothing from being stopped. */
  #forgive(command: Command, known: Known): Validated<unknown> | Promise<Validated<unknown>> {
    return andThen(this.#check(command, known), ({ value, faults }) => {
      if (!faults || command.args === undefined) return { value };
      this.options.warn(`${command.action} obeyed without its args: ${textOf(faults)}`);
      return this.#forgive({ ...command, args: undefined }, known);
    });
  }

  #run(command: Command, known: Known, args: unknown, { from, must }: HowToRun, settle: Settle): void {
    const { action, runs, handler } = known;
    let ended: (() => void)[] = [];
    const run = (failed: (error: unknown) => void) => {
      const work = (own: Scope) => {
        own.onAbandoned = () => failed(own.signal.reason);
        ended = this.#onTimes.endedBy(action);
        this.#onTimes.begin(known);
        return handler(args, new CommandInScope(own, command, args));
      };
      return runs.run(work, from, must);
    };
    this.#follow(action, run, settle, () => {
      for (const callOff of ended) callOff();
    });
  }

  /** Counts a command that runs, and tells `settle` what came of it, once. */
  #follow(action: string, run: (failed: (error: unknown) => void) => unknown, settle: Settle, onDone = () => {}): void {
    const began = this.options.clock.monotonic();
    this.#running++;
    let runs = true;
    const over = (outcome: Outcome) => {
      if (!runs) return;
      runs = false;
      this.#ended(outcome.status === "refused" ? undefined : began);
      settle(outcome);
    };
    const done = (result: unknown) => {
      if (runs) onDone();
      over({ status: "done", result });
    };
    const failed = (error: unknown) => over(this.#failure(action, error));
    let result: unknown;
    try {
      result = run(failed);
    } catch (error) {
      failed(error);
      return;
    }
    if (result instanceof Promise) void result.then(done, failed);
    else done(result);
  }

  #failure(action: string, error: unknown): Outcome {
    if (error instanceof RefusedError) return this.#refuse(`${action} refused: ${error.message}`);
    return error instanceof AbortError ? { status: "aborted", error } : { status: "failed", error };
  }

  /** @param began when one that ran did, which is counted with what it waited for its turn */
  #ended(began?: number): void {
    const { counts, clock } = this.options;
    if (counts && began !== undefined) countCommand(counts, clock.monotonic() - began);
    this.#running--;
    if (this.#running === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }
}

function textOf(faults: Fault[]): string {
  return faults.map(({ text }) => text).join("; ");
}
