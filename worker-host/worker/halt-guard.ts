import type { Scope } from "../base/scope.ts";
import { AbortError, type Standstill } from "../base/scope-owner.ts";
import type { CheckedSpec } from "../commands/command-spec.ts";
import { ALL_STOP, type HaltReason, STOP } from "../contract/command.ts";
import type { Peers } from "../mqtt/peers.ts";
import type { WorkerSpec } from "./channel.ts";

/** Whether all-stop is engaged, as this process has been told. */
export class Latch {
  #engaged = false;
  readonly #callbacks = new Set<() => void>();

  get engaged(): boolean {
    return this.#engaged;
  }

  /** Engages or clears it; whoever is engaged again stops again. */
  set(engaged: boolean): void {
    this.#engaged = engaged;
    if (engaged) for (const callback of [...this.#callbacks]) callback();
  }

  /** Calls `callback` whenever it is engaged from now on; the function that it gives back forgets that. */
  whenEngaged(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => {
      this.#callbacks.delete(callback);
    };
  }
}

interface HaltGuardOptions {
  spec: WorkerSpec;
  latch: Latch;
  /** Called when all-stop or a lock-out begins, and when all-stop is engaged once more. */
  onHalt: (why: HaltReason) => void;
}

/** What keeps a worker from moving while it is up: all-stop, and a lock-out. */
export class HaltGuard implements Standstill {
  readonly #unlatch: () => void;
  readonly #callbacks = new Set<() => void>();

  constructor(private readonly options: HaltGuardOptions) {
    this.#unlatch = options.latch.whenEngaged(() => this.#begin("all_stop"));
  }

  get holding(): HaltReason | undefined {
    const { spec, latch } = this.options;
    if (latch.engaged) return "all_stop";
    return spec.lockedOut === undefined ? undefined : "lock_out";
  }

  whenHeld(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => {
      this.#callbacks.delete(callback);
    };
  }

  /** Why a command may not run now, in words. */
  barred({ safe }: CheckedSpec): string | undefined {
    const { spec, latch } = this.options;
    if (spec.lockedOut !== undefined)
      return `it is locked out (${spec.lockedOut}), until the host is told "release ${spec.id}"`;
    if (latch.engaged && !safe) return "all-stop is engaged: only stop and safe commands run, until all_clear";
    return undefined;
  }

  /** It takes no command but `stop` until it is released; `undefined` releases it. */
  lockOut(reason: string | undefined): void {
    this.options.spec.lockedOut = reason;
    if (reason !== undefined) this.#begin("lock_out");
  }

  #begin(why: HaltReason): void {
    for (const callback of [...this.#callbacks]) callback();
    this.options.onHalt(why);
  }

  /** It is of no use any more. */
  release(): void {
    this.#unlatch();
  }
}

export interface SendGuardOptions {
  /** The name of this worker's host. */
  hostName: string;
  standstill: Standstill;
  /** How often everything that runs was ended. */
  stops: { readonly count: number };
  peers: Pick<Peers, "takesInStandstill" | "topicOf">;
  /** Where in the worker's own files this is called from, for people. */
  place: () => string;
  warn: (text: string) => void;
}

/** Why nothing is sent, for people. */
const HOLDS = { all_stop: "all-stop is engaged", lock_out: "it is locked out" } as const;

/**
 * Decides what a worker may send: from a scope that a stop has ended nothing but a stop and what is safe; while all-stop
 * or a lock-out holds, only what its receiver would take.
 */
export class SendGuard {
  #warnedOfEnded = false;
  /** What was not sent, and told, since something began to hold. */
  readonly #told = new Set<string>();
  /** How often each target was told to stop. */
  readonly #stopsTo = new Map<string, number>();
  /** At which stop the state was set by what belongs to it. */
  #stateSetAt: number | undefined;

  constructor(private readonly options: SendGuardOptions) {
    options.standstill.whenHeld(() => this.#told.clear());
  }

  /** Whether a command may be sent in any case: it stops something, or harms nothing. */
  isFree(target: string, action: string, safe = false): boolean {
    return safe || action === STOP || (target === this.options.hostName && action === ALL_STOP);
  }

  /** As `refusal`, for a command to a prop. One to a host moves nothing. */
  commandRefusal(scope: Scope, target: string, action: string, free: boolean): Promise<never> | undefined {
    const isWord = target === this.options.hostName && !scope.ended;
    return this.refusal(scope, `the command "${action}" to ${target}`, free || isWord);
  }

  /** As `enter`, for a message: gives a promise that rejects, in an ended scope as that of a `sleep` there. */
  refusal(scope: Scope, what: string, free: boolean): Promise<never> | undefined {
    try {
      this.enter(scope, what, free);
      return undefined;
    } catch (error) {
      if (!scope.ended) return Promise.reject(error);
      const refused = scope.refuse();
      // A message that is not sent may be awaited, or not.
      refused.catch(() => undefined);
      return refused;
    }
  }

  /**
   * For what moves something, or may; `free`: it harms nothing.
   *
   * @throws AbortError where the scope has ended
   */
  enter(scope: Scope, what: string, free: boolean): void {
    if (free) return;
    if (scope.ended) {
      this.#tellOfEnded(scope);
      throw new AbortError(`${scope.where} was stopped`);
    }
    scope.move(what);
  }

  #tellOfEnded(scope: Scope): void {
    if (this.#warnedOfEnded) return;
    this.#warnedOfEnded = true;
    const { place, warn } = this.options;
    warn(
      scope.outside
        ? `a callback came after its worker had ended, at ${place()}: close in stop() what calls it, such as a socket`
        : `${scope.where} went on after it was stopped, at ${place()}: use hold(…), this.until(promise) or { safe: true }`,
    );
  }

  /** Why what isn't safe may not go out of this scope now, in words; `undefined` where it may. */
  held(scope: Scope): string | undefined {
    const { holding } = this.options.standstill;
    return holding === undefined || scope.stopping ? undefined : HOLDS[holding];
  }

  /** Why a command may not go out now, in words; `undefined` where it may. Waits for the target's description. */
  async heldCommand(scope: Scope, target: string, action: string): Promise<string | undefined> {
    const why = this.held(scope);
    if (why === undefined || target === this.options.hostName) return undefined;
    if (await this.options.peers.takesInStandstill(target, action)) return undefined;
    return scope.ended ? "it was stopped" : this.held(scope);
  }

  /**
   * Where a command goes. While that is asked for, the scope may end, or its target be told to stop, which must not come
   * before it: then it gives `undefined`, and nothing is to be sent.
   */
  topicOf(scope: Scope, target: string, action: string): string | Promise<string | undefined> {
    const stops = () => this.#stopsTo.get(target) ?? 0;
    if (this.isFree(target, action)) this.#stopsTo.set(target, stops() + 1);
    const topic = this.options.peers.topicOf(target, action);
    if (typeof topic === "string") return topic;
    const [ended, before] = [scope.ended, stops()];
    return topic.then((found) => (scope.ended === ended && stops() === before ? found : undefined));
  }

  /** Tells people of something that was not sent, once in each standstill. */
  tell(text: string): void {
    if (this.#told.has(text)) return;
    this.#told.add(text);
    this.options.warn(text);
  }

  /** Whether a new state counts: not out of an ended scope, once what belongs to the stop has set one. */
  takesState(scope: Scope): boolean {
    if (scope.stopping) this.#stateSetAt = this.options.stops.count;
    else if (scope.ended && (this.#stateSetAt ?? 0) > (scope.stopsBefore ?? Number.POSITIVE_INFINITY)) {
      this.#tellOfEnded(scope);
      return false;
    }
    return true;
  }
}
