import type { Clock } from "../base/clock.ts";
import type { Scope } from "../base/scope.ts";
import { AbortError } from "../base/scope-owner.ts";
import { timer } from "../base/timers.ts";
import { type Command, formatReply, type Reply } from "../contract/command.ts";
import { describeError } from "../contract/errors.ts";
import { MOST_QUEUED, MOST_RUNS } from "../contract/limits.ts";
import { defined } from "../contract/payload.ts";
import type { PublishOptions } from "../mqtt/wire.ts";
import { type CheckedSpec, type CommandEntry, endOf, type RunningCommand } from "./command-spec.ts";
import type { StopReason } from "./stopping.ts";

/** A command that has arrived, and how to answer it. */
export interface Request {
  command: Command;
  /** On the monotonic clock. */
  receivedAt: number;
  correlationData?: Uint8Array;
}

/** What came of a command: what its handler gave, why it was not run, what ended it early, or what its handler threw. */
export type Outcome =
  | { status: "done"; result: unknown }
  | { status: "refused"; why: string }
  | { status: "aborted"; error: AbortError }
  | { status: "failed"; error: unknown };

/** A command as its handler gets it; its signal is made when somebody asks for it. */
export class CommandInScope implements RunningCommand {
  readonly action: string;
  readonly args: unknown;
  declare readonly text?: true;
  declare readonly id?: string;
  declare readonly replyTo?: string;
  declare readonly expiresAt?: number;
  declare readonly reason?: StopReason;
  readonly #scope: Scope;

  constructor(scope: Scope, { action, text, id, replyTo, expiresAt }: Command, args: unknown, reason?: StopReason) {
    this.#scope = scope;
    this.action = action;
    this.args = args;
    if (text !== undefined) this.text = text;
    if (id !== undefined) this.id = id;
    if (replyTo !== undefined) this.replyTo = replyTo;
    if (expiresAt !== undefined) this.expiresAt = expiresAt;
    if (reason !== undefined) this.reason = reason;
  }

  get signal(): AbortSignal {
    return this.#scope.signal;
  }
}

export interface AnswersOptions {
  /** Who answers. */
  from: string;
  clock: Pick<Clock, "now" | "monotonic">;
  /** Tells people of a command that was not run. */
  warn: (text: string) => void;
  publish: (topic: string, payload: string, options: PublishOptions) => void;
  /** Takes out of an error what nobody may see. */
  clean?: (text: string) => string;
}

/** What people, and the senders of commands, hear of them. */
export class Answers {
  /** @param report tells people of an error in a command */
  constructor(
    private readonly options: AnswersOptions,
    private readonly report: (error: unknown, action: string) => void,
  ) {}

  answer(request: Request, outcome: Outcome): void {
    switch (outcome.status) {
      case "done":
        this.#reply(request, { status: "ok", result: outcome.result });
        return;
      case "refused":
        this.options.warn(outcome.why);
        this.#reply(request, { status: "error", error: outcome.why, refused: true });
        return;
      case "aborted":
        this.#reply(request, { status: "error", error: `aborted: ${outcome.error.message}` });
        return;
      case "failed":
        this.report(outcome.error, request.command.action);
        this.#reply(request, { status: "error", error: describeError(outcome.error) });
    }
  }

  /** Does nothing where no reply is wanted. */
  #reply({ command, correlationData, receivedAt }: Request, reply: Omit<Reply, "id" | "from" | "ms">): void {
    const { replyTo, id } = command;
    if (replyTo === undefined) return;
    const { from, clock, clean } = this.options;
    const cleaned = reply.error === undefined ? {} : { error: clean?.(reply.error) ?? reply.error };
    const ms = Math.round(clock.monotonic() - receivedAt);
    const whole: Reply = { ...defined({ id }), from, ...reply, ...cleaned, ms };
    this.options.publish(replyTo, formatReply(whole), { qos: 1, ...(correlationData ? { correlationData } : {}) });
  }
}

/** How long what commands switched on has been on, for those that say how long it may be. */
export class OnTimes<Entry extends CommandEntry> {
  readonly #running = new Map<string, { end: string; callOff: () => void }>();

  /** @param onLongest called when it has been on for so long */
  constructor(
    private readonly scope: Scope,
    private readonly onLongest: (entry: Entry) => void,
  ) {}

  /** A run begins: its command's time runs anew. */
  begin(entry: Entry): void {
    const { action, spec } = entry;
    const { maxOnMs } = spec;
    if (maxOnMs === undefined) return;
    this.#running.get(action)?.callOff();
    const cancel = timer(this.scope, maxOnMs, () => {
      this.#running.delete(action);
      this.onLongest(entry);
    });
    const time = {
      end: endOf(spec),
      callOff: () => {
        cancel();
        if (this.#running.get(action) === time) this.#running.delete(action);
      },
    };
    this.#running.set(action, time);
  }

  /** What calls off the times that run now and that `action` is the end of. */
  endedBy(action: string): (() => void)[] {
    if (this.#running.size === 0) return [];
    return [...this.#running.values()].filter(({ end }) => end === action).map(({ callOff }) => callOff);
  }

  callOff(): void {
    for (const { callOff } of [...this.#running.values()]) callOff();
  }
}

/** Rejects what had to wait, and may not run when its turn has come. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
}

/** What of one command runs and what waits, by its mode. */
export class CommandRuns {
  readonly #running = new Set<Scope>();
  readonly #waiting = new Set<{ start: () => void; abort: (reason: Error) => void }>();
  /** From the end of the last run on: until when, in ms since 1970, and what ends it earlier. */
  #cooling: { until: number; end: () => void } | undefined;

  /** @param state gives the prop's own word for what it is doing */
  constructor(
    private readonly spec: CheckedSpec,
    private readonly parent: Scope,
    /** What runs, for people: `do_fire`. */
    private readonly where: string,
    private readonly state: () => string | undefined = () => undefined,
  ) {}

  /** Why one more may not come now, in words. */
  get refusal(): string | undefined {
    return this.#wrongState() ?? this.#busy() ?? this.#coolingDown();
  }

  #wrongState(): string | undefined {
    const { requiresState } = this.spec;
    if (requiresState === undefined) return undefined;
    const states = typeof requiresState === "string" ? [requiresState] : requiresState;
    const state = this.state();
    if (state !== undefined && states.includes(state)) return undefined;
    return `it needs the state ${states.join(" or ")}, and ${state === undefined ? "no state has been set" : `the state is ${state}`}`;
  }

  #busy(): string | undefined {
    const { mode } = this.spec;
    const count = this.#running.size + this.#waiting.size;
    const most = this.#most;
    if (count < most) return undefined;
    if (mode === "queued") return `busy: ${count} of them run or wait, and ${most} may`;
    return most === 1 ? "busy: it is still running" : `busy: ${count} of them run, and ${most} may`;
  }

  get #most(): number {
    const { mode = "parallel", max, cooldownMs } = this.spec;
    // One takes the other's place: what counts is what was aborted and isn't over.
    if (mode === "restart") return MOST_RUNS;
    if (max !== undefined) return max;
    if (mode === "queued") return MOST_QUEUED;
    // Side by side, none would wait for the cooldown of the other.
    return mode === "single" || cooldownMs ? 1 : MOST_RUNS;
  }

  #coolingDown(): string | undefined {
    if (!this.#cooling) return undefined;
    return `cooling down: ${Math.max(1, Math.ceil(this.#cooling.until - this.parent.clock.monotonic()))} ms left`;
  }

  /**
   * Runs `work` in a scope inside `from`: now, or with `queued`, unless it must run, when its turn has come. Gives what
   * `work` gives, or a promise of that.
   *
   * @throws RefusedError where the state was another one by then; whatever `work` throws
   */
  run<T>(work: (scope: Scope) => T, from = this.parent, must = false): T | Promise<Awaited<T>> {
    const { mode } = this.spec;
    if (mode === "restart") this.abortAll("restarted");
    const later = mode === "queued" && this.#running.size > 0 && !must;
    return later ? this.#runLater(work, from) : this.#runNow(work, from);
  }

  #runLater<T>(work: (scope: Scope) => T, from: Scope): Promise<Awaited<T>> {
    return new Promise((resolve, reject) => {
      const leave = (settle: () => void) => {
        forget();
        this.#waiting.delete(waiting);
        settle();
      };
      const start = async (): Promise<Awaited<T>> => await this.#runNow(work, from);
      const waiting = {
        start: () => leave(() => resolve(start())),
        abort: (reason: Error) => leave(() => reject(reason)),
      };
      const forget = from.whenEnded(() => waiting.abort(from.signal.reason));
      this.#waiting.add(waiting);
    });
  }

  #runNow<T>(work: (scope: Scope) => T, from: Scope): T | Promise<Awaited<T>> {
    const scope = from.child(this.where, "command");
    this.parent.owner.began?.("command");
    this.#running.add(scope);
    this.#cooling?.end();
    this.#cooling = undefined;
    const cancelTimeout = this.#limit(scope);
    // What it spawned counts as a part of it; what waits for ever after an abort doesn't.
    scope.onceIdle(() => {
      cancelTimeout?.();
      this.#running.delete(scope);
      if (this.#running.size === 0) this.#coolDown();
    });
    const result = scope.enter(() => work(scope));
    if (!(result instanceof Promise)) scope.settled();
    else void result.finally(() => scope.settled()).catch(() => undefined);
    return result;
  }

  #coolDown(): void {
    const { cooldownMs } = this.spec;
    const { clock } = this.parent;
    const over = () => {
      this.#cooling = undefined;
      this.#startNext();
    };
    if (!cooldownMs) over();
    else this.#cooling = { until: clock.monotonic() + cooldownMs, end: timer(this.parent, cooldownMs, over) };
  }

  #startNext(): void {
    for (const next of this.#waiting) {
      const why = this.#wrongState();
      if (why === undefined) {
        next.start();
        return;
      }
      next.abort(new RefusedError(why));
    }
  }

  #limit(scope: Scope): (() => void) | undefined {
    const { timeoutMs } = this.spec;
    if (timeoutMs === undefined) return undefined;
    return scope.clock.after(timeoutMs, () => scope.end(new AbortError(`it took longer than ${timeoutMs} ms`)));
  }

  /** Aborts what runs, and what waits: `hold`s turn off, sleeps reject. */
  abortAll(why = "stopped"): void {
    const reason = new AbortError(why);
    for (const { abort } of this.#waiting) abort(reason);
    for (const scope of [...this.#running]) scope.end(reason);
  }
}
