import { type Clock, within } from "../base/clock.ts";
import { isAbort, Scope } from "../base/scope.ts";
import { AbortError, type ScopeOwner } from "../base/scope-owner.ts";
import { timer } from "../base/timers.ts";
import { type Command, type HaltReason, quote } from "../contract/command.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { MAX_STOP_TIMEOUT_MS, STOP_TIMEOUT_MS } from "../contract/limits.ts";
import { msIn } from "../contract/payload.ts";

/** Why a worker ends. */
export type EndReason = "reload" | "end";

/** Why a worker is to stop what it does, as `do_stop` finds it in `command.reason`. */
export type StopReason = HaltReason | EndReason | "stop" | "max_on";

/** By which path a stop came: the host tells of one all-stop, or lock-out, directly, and by MQTT. */
export type StopPath = "host" | "mqtt" | "command";

/**
 * What a class's `static stopTimeoutMs` says.
 *
 * @throws WorkerHostError `load_failed`
 */
export function stopTimeoutOf(Class: { stopTimeoutMs?: unknown } | undefined): number {
  const span = Class?.stopTimeoutMs ?? STOP_TIMEOUT_MS;
  const ms = msIn(span) ?? 0;
  if (ms > 0 && ms <= MAX_STOP_TIMEOUT_MS) return ms;
  const text = `static stopTimeoutMs is ${quote(span)}: expected a number of ms, above 0, ${MAX_STOP_TIMEOUT_MS} at most`;
  throw new WorkerHostError("load_failed", text);
}

/** The words that what was ended by it rejects with. */
export const STOPPED_BY: Readonly<Record<StopReason, string>> = {
  stop: "stopped",
  all_stop: "all-stop",
  lock_out: "locked out",
  max_on: "stopped",
  reload: "the worker stops",
  end: "the worker stops",
};

export interface StoppingOptions {
  owner: ScopeOwner;
  clock: Clock;
  /** How long `do_stop` may take, in ms. */
  timeoutMs: () => number;
  /** Ends all that runs. */
  endRuns: (reason: StopReason) => void;
  /** How many runs, tasks, holds, programs and messages to what isn't ours have begun so far. */
  begun: () => number;
  /** How many of them were commands, or moved something. */
  moved: () => number;
  /** Tells people of something. */
  warn: (text: string) => void;
  /** Runs what every stop runs, `do_stop` last. */
  switchOff: (scope: Scope, reason: StopReason, command?: Command) => unknown;
  /** Runs `onAllStop`, where there is one. */
  onAllStop: () => unknown;
}

/** One time that `do_stop` runs. */
interface Round {
  reason: StopReason;
  /** As it was entered. */
  begun: number;
  done: Promise<unknown>;
  /** The one after it, why there is one, and whether `onAllStop` has been called for it. */
  next?: { reason: StopReason; told: boolean; done: Promise<unknown> };
}

/** Where a stop is for the safety of people, what is graver comes first. */
function gravityOf(reason: StopReason): number {
  return reason === "all_stop" ? 2 : reason === "lock_out" ? 1 : 0;
}

/**
 * Has a worker stop what it does, one stop at a time: while `do_stop` runs, further stops join it, and nothing aborts it.
 * It runs once more after that only where something began meanwhile, or where a graver reason came.
 */
export class Stopping {
  /** What belongs to a stop runs in here; the worker's end ends it, and nothing else does. */
  readonly scope: Scope;
  #round: Round | undefined;
  /** An all-stop, or a lock-out, that came by one path alone so far, and how much had moved then. */
  #halfTold: { reason: StopReason; path: StopPath; moved: number; done: Promise<unknown> } | undefined;

  constructor(private readonly options: StoppingOptions) {
    this.scope = new Scope(options.owner, options.clock, undefined, "do_stop", "stopping");
  }

  /**
   * Ends all that runs, then has `do_stop` run; gives what that gives.
   *
   * @throws whatever `do_stop` throws; Error where it has not ended in its time
   */
  stop(reason: StopReason, path: StopPath, command?: Command): Promise<unknown> {
    const { owner, endRuns, moved } = this.options;
    const why = owner.standstill?.holding ?? reason;
    endRuns(why);
    const told = this.#halfTold;
    this.#halfTold = undefined;
    const isTheSame = told?.reason === why && path !== "command" && told.path !== path && told.moved === moved();
    if (isTheSame) return told.done;
    const done = this.#join(why, command);
    if (gravityOf(why) > 0 && path !== "command") this.#halfTold = { reason: why, path, moved: moved(), done };
    return done;
  }

  #join(why: StopReason, command?: Command): Promise<unknown> {
    const round = this.#round;
    if (!round) return this.#enter(why, command);
    const graver = gravityOf(why) > gravityOf(round.next?.reason ?? round.reason);
    if (graver) this.#tellOfAllStop();
    if (round.next) {
      if (graver) Object.assign(round.next, { reason: why, told: true });
      return round.next.done;
    }
    if (!graver && this.options.begun() === round.begun) return round.done;
    const next = { reason: why, told: graver, done: Promise.resolve<unknown>(undefined) };
    next.done = round.done.catch(ignore).then(() => this.#enter(next.reason, command, next.told));
    next.done.catch(ignore);
    round.next = next;
    return next.done;
  }

  /** @param told `onAllStop` has been called for it */
  #enter(reason: StopReason, command?: Command, told = false): Promise<unknown> {
    const { owner, begun, switchOff } = this.options;
    const scope = this.scope.child("do_stop");
    const work = scope.track(() => switchOff(scope, reason, command));
    work.catch((error: unknown) => {
      if (!isAbort(error, scope)) owner.report(error, "do_stop");
    });
    if (reason === "all_stop" && !told) this.#tellOfAllStop();
    const round: Round = { reason, begun: begun(), done: this.#bounded(scope, work) };
    this.#round = round;
    const over = () => {
      if (this.#round === round) this.#round = undefined;
    };
    round.done.then(over, over);
    return round.done;
  }

  #tellOfAllStop(): void {
    const { owner, onAllStop } = this.options;
    const scope = this.scope.child("onAllStop()");
    scope.track(onAllStop).catch((error: unknown) => owner.report(error, "onAllStop()"));
    this.#leaveLater(scope);
  }

  async #bounded(scope: Scope, work: Promise<unknown>): Promise<unknown> {
    const { clock, timeoutMs, warn } = this.options;
    const ms = timeoutMs();
    this.#leaveLater(scope);
    const ended = await within(clock, ms, work);
    if (ended) return ended.value;
    const text = `do_stop has not ended in ${ms / 1000} s: left behind`;
    warn(text);
    throw new Error(text);
  }

  /** What a stop begins, and doesn't wait for, has its time too; a later step would come when nobody expects it. */
  #leaveLater(scope: Scope): void {
    timer(this.scope, this.options.timeoutMs(), () => {
      scope.leave();
      scope.end(new AbortError("the time of this stop is over"));
    });
  }

  /** Fulfils when no `do_stop` runs any more. */
  async over(): Promise<void> {
    for (let round = this.#round; round; round = this.#round) {
      await round.done.catch(ignore);
      await round.next?.done.catch(ignore);
    }
  }

  /** The worker is gone: what a stop left behind ends too. */
  end(reason: AbortError): void {
    this.scope.end(reason);
  }
}

const ignore = () => {};
