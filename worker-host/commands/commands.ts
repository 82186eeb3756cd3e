import { AbortError } from "../base/abort-error.ts";
import { countCommand } from "../base/counts.ts";
import type { Scope } from "../base/scope.ts";
import { coerceText } from "../contract/coerce.ts";
import {
  ALL_STOP,
  type Command,
  type ParsedCommand,
  parseCommand,
  quote,
  quoteBytes,
  STOP,
} from "../contract/command.ts";
import type { CommandDescription } from "../contract/description.ts";
import { describeError, WorkerHostError } from "../contract/errors.ts";
import type { Topics } from "../contract/topics.ts";
import type { Message } from "../mqtt/wire.ts";
import { Answers, type AnswersOptions } from "./answers.ts";
import { CommandRuns, RefusedError } from "./command-runs.ts";
import type { CommandSpec, RunningCommand } from "./command-spec.ts";
import { assertEnd, type CommandEntry, describeEntry, endOf } from "./command-table.ts";
import { OnTimes } from "./on-times.ts";
import { CommandInScope, ownRequest, type Request } from "./request.ts";
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
  /** Why a command may not run now, in words; never asked of an urgent one. */
  barred?: (spec: CommandSpec) => string | undefined;
}

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
  /** We cleared a retained command, and one empty message is to come of that. */
  #clearing = false;
  readonly #onTimes: OnTimes<Known>;
  readonly #answers: Answers;
  #running = 0;
  #whenIdle: (() => void)[] = [];

  constructor(private readonly options: CommandsOptions) {
    this.#answers = new Answers(options);
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

  has(action: string): boolean {
    return this.#known.has(action);
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
    if (payload.length === 0 && (this.#clearing || retain)) {
      this.#clearing = false;
      return;
    }
    const { command, refusal, forgiven } = this.#parse(payload);
    if (retain) {
      this.#clearing = true;
      this.options.publish(topic, "", { qos: 1, retain: true });
      this.options.warn(`retained command refused: ${quoteBytes(payload)}; publish commands without the retain flag`);
      if (command === undefined || !this.options.urgent.has(command.action)) return;
    }
    if (forgiven !== undefined) this.options.warn(`${command.action} obeyed, though ${forgiven}`);
    if (refusal !== undefined) this.options.warn(refusal);
    else this.#dispatch(this.#requestOf(command, message));
  }

  /** What has no all-stop of its own takes it for `stop`. */
  #parse(payload: Uint8Array): ParsedCommand {
    const parsed = parseCommand(payload);
    if (parsed.command?.action === ALL_STOP && !this.#known.has(ALL_STOP)) parsed.command.action = STOP;
    return parsed;
  }

  /** Takes a message from the topic of all props: `stop`, and what is marked `broadcast`. */
  receiveBroadcast(message: Message): void {
    if (message.retain) return;
    const { command } = this.#parse(message.payload);
    const wanted = command?.action === STOP || this.#known.get(command?.action ?? "")?.spec.broadcast === true;
    if (command && wanted) this.#dispatch(this.#requestOf(command, message));
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

  /** What is wrong with its arguments keeps nothing from being stopped. */
  #callStop(stop: Known, scope: Scope, reason: StopReason, command: Command): unknown {
    const call = ({ value, faults }: Validated<unknown>) => {
      if (faults && command.args !== undefined) {
        this.options.warn(`${STOP} obeyed without its args: ${faults.map(({ text }) => text).join("; ")}`);
        return this.#callStop(stop, scope, reason, { ...command, args: undefined });
      }
      return stop.handler(value, new CommandInScope(scope, command, value, reason));
    };
    const checked = this.#check(command, stop);
    return checked instanceof Promise ? checked.then(call) : call(checked);
  }

  #requestOf(command: Command, { responseTopic, correlationData }: Message): Request {
    // MQTT 5's own response topic comes before its twin in the payload.
    const replyTo = responseTopic ?? command.replyTo;
    return {
      command: replyTo === undefined ? command : { ...command, replyTo },
      receivedAt: this.options.now(),
      ...(correlationData ? { correlationData } : {}),
      ...(this.options.urgent.has(command.action) ? { must: true } : {}),
    };
  }

  #dispatch(request: Request): void {
    const { action, expiresAt, replyTo, reason } = request.command;
    const { topics, stop, urgent } = this.options;
    if (replyTo !== undefined && !topics.isReply(replyTo)) {
      const fault = `a reply can't go to ${quote(replyTo)}; expected ${topics.reply("<id>", "<name>")}`;
      if (!urgent.has(action)) {
        this.options.warn(`${quote(action)} refused: ${fault}`);
        return;
      }
      this.options.warn(`${action} obeyed without a reply: ${fault}`);
      delete request.command.replyTo;
    }
    // A sender's clock may be wrong.
    if (expiresAt !== undefined && expiresAt < request.receivedAt && !urgent.has(action)) {
      this.#answers.refuse(
        request,
        `${quote(action)} refused: it expired ${Math.round(request.receivedAt - expiresAt)} ms ago`,
      );
      return;
    }
    if (stop && action === STOP) {
      this.#answer(request, STOP, stop(reason ?? "stop", reason ? "mqtt" : "command", request.command));
      return;
    }
    const known = this.#known.get(action);
    if (known) this.#admit(request, known);
    else if (this.#others) this.#admitChecked(request, this.#others.knownAs(action), { value: request.command.args });
    else this.#answers.refuse(request, `unknown action ${quote(action)}; known: ${this.#names()}`);
  }

  #barred({ command: { action, id }, must }: Request, spec: CommandSpec): string | undefined {
    const { urgent, barred, seen } = this.options;
    if (must || urgent.has(action)) return undefined;
    const again = id !== undefined && seen.has(id) ? `a command with the id ${quote(id)} has run already` : undefined;
    const why = again ?? barred?.(spec);
    return why === undefined ? undefined : `${quote(action)} refused: ${why}`;
  }

  #names(): string {
    const own = this.options.stop ? [STOP] : [];
    return [...new Set([...this.#known.keys(), ...own])].sort().join(", ");
  }

  /** Starts it if its args are what its schema expects: at once, unless the schema has asynchronous checks. */
  #admit(request: Request, known: Known): void {
    const checked = this.#check(request.command, known);
    if (checked instanceof Promise) {
      void checked.then((done) => this.#admitChecked(request, known, done));
    } else this.#admitChecked(request, known, checked);
  }

  #admitChecked(request: Request, known: Known, { value, faults }: Validated<unknown>): void {
    if (request.must && faults) {
      this.#withoutArgs(request, known, faults);
      return;
    }
    const refusal = request.must ? undefined : known.runs.refusal;
    const fault = faults ? faults.map(({ text }) => text).join("; ") : refusal;
    const name = this.#known.has(known.action) ? known.action : quote(known.action);
    const barred = this.#barred(request, known.spec);
    const why = barred ?? (fault === undefined ? undefined : `${name} refused: ${fault}`);
    if (why !== undefined) {
      this.#answers.refuse(request, why);
      return;
    }
    const { id } = request.command;
    if (id !== undefined) this.options.seen.take(id);
    this.#run(request, known, value);
  }

  /** Runs a stop whose args don't fit. */
  #withoutArgs(request: Request, known: Known, faults: Fault[]): void {
    const { command } = request;
    this.options.warn(`${known.action} obeyed without its args: ${faults.map(({ text }) => text).join("; ")}`);
    if (command.args === undefined) this.#run(request, known, undefined);
    else this.#admit({ ...request, command: { ...command, args: undefined } }, known);
  }

  /** Ends what a command has had on for as long as it may be. */
  #endLongest({ action, spec, runs }: Known): void {
    // The one that is to do so may have been removed since.
    const end = this.#known.has(endOf(spec)) ? endOf(spec) : STOP;
    const why = `on for its longest, ${spec.maxOnMs} ms`;
    this.options.warn(`${action} was ${why}: ran ${end}`);
    runs.abortAll(`it was ${why}`);
    const request = ownRequest(end, this.options.now());
    const { stop } = this.options;
    if (stop && end === STOP) this.#answer(request, STOP, stop("max_on", "command", request.command));
    else this.#dispatch(request);
  }

  #check(command: Command, { spec, argsJson }: Known): Validated<unknown> | Promise<Validated<unknown>> {
    if (!spec.args || !argsJson) return { value: command.args };
    if (!command.text || typeof command.args !== "string") return validate(spec.args, command.args, argsJson);
    const { value, refusal } = coerceText(command.args, argsJson);
    if (refusal !== undefined) return { faults: [{ keys: [], text: refusal }] };
    return validate(spec.args, value, argsJson);
  }

  #run(request: Request, known: Known, args: unknown): void {
    const { action, runs, handler } = known;
    let ended: (() => void)[] = [];
    const running = runs.run((own) => {
      ended = this.#onTimes.endedBy(action);
      this.#onTimes.begin(known);
      return handler(args, new CommandInScope(own, request.command, args));
    }, request.must);
    this.#answer(request, action, running, () => {
      for (const callOff of ended) callOff();
    });
  }

  /** Tells the sender what has come of a command that runs. */
  #answer(request: Request, action: string, running: Promise<unknown>, onDone = () => {}): void {
    const began = this.options.now();
    this.#running++;
    running.then(
      (result) => {
        onDone();
        this.#ended(began);
        this.#answers.reply(request, { status: "ok", result });
      },
      (error: unknown) => this.#failed(request, action, began, error),
    );
  }

  #failed(request: Request, action: string, began: number, error: unknown): void {
    if (error instanceof RefusedError) {
      this.#ended();
      this.#answers.refuse(request, `${action} refused: ${error.message}`);
      return;
    }
    this.#ended(began);
    const aborted = error instanceof AbortError;
    // What is wrong with its stopping the worker has been told once, however many wanted it.
    if (!aborted && !(this.options.stop && action === STOP)) this.options.scope.owner.report(error, action);
    this.#answers.reply(request, {
      status: "error",
      error: aborted ? `aborted: ${error.message}` : describeError(error),
    });
  }

  /** @param began when one that ran did, which is counted with what it waited for its turn */
  #ended(began?: number): void {
    const { counts, now } = this.options;
    if (counts && began !== undefined) countCommand(counts, now() - began);
    this.#running--;
    if (this.#running === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }
}
