import { AsyncLocalStorage } from "node:async_hooks";
import { AFTER_OFF_MS } from "../contract/limits.ts";
import { type Clock, msOf, type Span } from "./clock.ts";
import { deferred, isPromiseLike } from "./promises.ts";
import { AbortError, type ScopeKind, type ScopeOwner, type Task } from "./scope-owner.ts";

const current = new AsyncLocalStorage<Scope>();

/**
 * What a piece of a worker started and what ends with it: tasks, timers and `hold`s. A worker has one, each of its
 * commands has one inside it, and each task inside that.
 */
export class Scope {
  /** The scope that the running code was started in, however many `await`s ago. */
  static current(): Scope | undefined {
    return current.getStore();
  }

  /** The scope that the running code was started in, where that is of the same owner and not left; else this one. */
  get ofCaller(): Scope {
    const running = current.getStore();
    return running?.owner === this.owner && running.clock.monotonic() < running.#leftFrom ? running : this;
  }

  /** Where a task belongs that is begun in here: what `start()` begins goes on after it. */
  get ofTasks(): Scope {
    return this.kind === "start" && this.parent ? this.parent : this;
  }

  #endedWith: AbortError | undefined;
  #controller: AbortController | undefined;
  #rejectedOnce = false;
  /** From when on a callback that its code left behind is outside of it. */
  #leftFrom = Number.POSITIVE_INFINITY;
  /** It is a run that began while all-stop or a lock-out held. */
  readonly #inStandstill: boolean;
  // Every command has a scope, and few have any of these: they are made on first use.
  #atEnd: Set<() => void> | undefined;
  #children: Set<Scope> | undefined;
  #whenIdle: (() => void)[] | undefined;
  /** How many calls run in here. */
  #running = 0;
  /** How many calls will never be over: they wait for what never comes, having outlived the scope's end. */
  #abandoned = 0;
  #turningOff = 0;
  /** The `sleep`s and `hold`s that run in here. */
  #waits: string[] | undefined;
  /** Called when that happens to what runs in here. */
  onAbandoned = ignore;
  /** The stop that ends it is the next one after so many; `undefined` where none does. */
  #stopsBefore: number | undefined;
  /** How many stops there were when the start of a worker first moved something. */
  #movedAfter: number | undefined;
  /** What a task moved first: `hold`. */
  #moved: string | undefined;
  /** It is a command's, or inside one. */
  readonly inCommand: boolean;
  /** It belongs to a stopping: nothing that is said in it is held back. */
  readonly stopping: boolean;

  /** @param where what runs in here: `do_fire`, `ticker` */
  constructor(
    readonly owner: ScopeOwner,
    readonly clock: Clock,
    readonly parent?: Scope,
    readonly where: string = parent?.where ?? "",
    readonly kind?: ScopeKind,
  ) {
    this.inCommand = kind === "command" || parent?.inCommand === true;
    this.stopping = kind === "stopping" || parent?.stopping === true;
    this.#inStandstill = kind === "run" && !this.stopping && owner.standstill?.holding !== undefined;
    if (kind === "command" || kind === "run") this.#endsWithStop();
  }

  #endsWithStop(): void {
    if (!this.stopping) this.#stopsBefore ??= this.owner.stops?.count;
  }

  /** Aborted when this scope ends while something runs in it. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    const reason = this.#ended();
    if (reason && !this.#controller.signal.aborted) this.#controller.abort(reason);
    return this.#controller.signal;
  }

  get ended(): boolean {
    return this.#ended() !== undefined;
  }

  #ended(): AbortError | undefined {
    const ended = this.#endedWith ?? this.#stopped() ?? (this.parent ? this.parent.#ended() : undefined);
    if (ended || !this.#inStandstill || this.owner.standstill?.holding) return ended;
    // What began meanwhile moves nothing once people have said that all is clear.
    return new AbortError("it began while all-stop or a lock-out held");
  }

  /** A stop reaches also what nothing was waiting in: code that goes on after a promise that isn't ours. */
  #stopped(): AbortError | undefined {
    const { stops } = this.owner;
    if (this.#stopsBefore === undefined || !stops || this.#stopsBefore >= stops.count) return undefined;
    return stops.reason;
  }

  /** Which stops were before it, by their count, where a stop ends it. */
  get stopsBefore(): number | undefined {
    return this.#stopsBefore ?? this.parent?.stopsBefore;
  }

  /** Whether it is a worker's own: no command, handler or task, which a stop could end. */
  get outside(): boolean {
    return this.parent === undefined && this.kind === undefined;
  }

  /**
   * Says that something begins in here that moves, or may: from now on the next stop ends the task that it is in.
   *
   * @throws what the owner says to that outside of all that a stop could end
   */
  move(what: string): void {
    if (this.stopping) return;
    if (this.outside && this.owner.outside) throw this.owner.outside(what);
    this.owner.began?.("move");
    for (let scope: Scope | undefined = this; scope; scope = scope.parent) {
      if (scope.#stopsBefore !== undefined) return;
      if (scope.kind !== "task" && scope.kind !== "start") continue;
      scope.#moved = what;
      if (scope.kind === "task") scope.#endsWithStop();
      else scope.#movedAfter ??= this.owner.stops?.count;
      return;
    }
  }

  /** Ends each call of a handler in here and each task that has moved something; `onTask` is told of these. */
  endRuns(reason: AbortError, onTask: (where: string, moved: string) => void): void {
    for (const child of [...(this.#children ?? [])]) {
      if (child.#stopsBefore === undefined) child.endRuns(reason, onTask);
      else {
        if (child.#moved !== undefined && !child.#endedWith) onTask(child.where, child.#moved);
        child.end(reason);
      }
    }
  }

  /**
   * Whether a call of the method `where` in here is a plain one, and no command: in what belongs to a stopping, in what a
   * `hold` switches on and off with, and in that method's own command while it runs.
   */
  callsPlainly(where: string): boolean {
    if (this.stopping) return true;
    for (let scope: Scope | undefined = this; scope; scope = scope.parent) {
      if (scope.kind === "switching" || (scope.kind === "command" && scope.where === where && scope.busy)) return true;
    }
    return false;
  }

  /** Calls `fn` in this scope. */
  run<T>(fn: () => T, where = this.where): T {
    this.owner.entered?.(where);
    return current.run(this, fn);
  }

  /** A scope inside this one. */
  child(where = this.where, kind?: ScopeKind): Scope {
    return new Scope(this.owner, this.clock, this, where, kind);
  }

  /** Its code has come to its end: in so many ms, callbacks that it left behind with others don't belong to it any more. */
  leave(inMs = 0): void {
    this.#leftFrom = this.clock.monotonic() + inMs;
    if (this.#movedAfter === undefined) return;
    // A stop that came meanwhile ends what it left behind, too.
    this.#stopsBefore = this.#movedAfter;
    const stopped = this.#stopped();
    if (stopped) this.end(stopped);
  }

  /** Ends this scope and all inside it: their `hold`s turn off, their sleeps reject, their signals abort. */
  end(reason = new AbortError("ended")): void {
    if (this.#endedWith) return;
    this.#endedWith = reason;
    for (const child of [...(this.#children ?? [])]) child.end(reason);
    for (const callback of [...(this.#atEnd ?? [])]) this.#call(callback);
    this.#atEnd?.clear();
    this.#controller?.abort(reason);
    this.#update();
  }

  /** One that throws must not keep the others from turning off. */
  #call(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.owner.report(error, "what was to end with it");
    }
  }

  /** Fulfils when nothing runs in this scope any more. */
  async idle(): Promise<void> {
    while (this.busy) await new Promise<void>((resolve) => this.onceIdle(resolve));
  }

  /** Calls `callback` once, the next time that nothing runs in this scope any more. */
  onceIdle(callback: () => void): void {
    this.#whenIdle ??= [];
    this.#whenIdle.push(callback);
  }

  /**
   * Waits `ms`.
   *
   * @throws AbortError when the scope ends. A scope that has ended rejects once; a later sleep in it never settles, so
   * that a loop which catches everything doesn't spin.
   */
  sleep(span: Span): Promise<void> {
    const ms = msOf("sleep(%)", span);
    if (this.ended) return this.refuse();
    return new Promise((resolve, reject) => {
      const over = this.#wait("sleep");
      const cancel = after(this.clock, ms, () => {
        forget();
        over();
        this.owner.entered?.(this.where);
        resolve();
      });
      const forget = this.whenEnded(() => {
        cancel();
        over();
        this.#rejectedOnce = true;
        reject(this.#ended());
      });
    });
  }

  /** Notes that one begins; what it gives is called at its end. Counted in commands alone. */
  #wait(what: string): () => void {
    if (this.kind !== "command") return ignore;
    this.#waits ??= [];
    this.#waits.push(what);
    return () => {
      this.#waits?.splice(this.#waits.indexOf(what), 1);
    };
  }

  /** Called when what a command gives is known: whatever of it still runs was not awaited. */
  settled(): void {
    const [what] = this.ended ? [] : (this.#waits ?? []);
    if (what !== undefined) this.owner.outlived?.(this.where, what);
  }

  /** What a call in here is given once it has ended: a promise that rejects with `AbortError`, and later ones that never settle. */
  refuse(): Promise<never> {
    if (this.#rejectedOnce) {
      this.#abandon();
      return new Promise(() => {});
    }
    this.#rejectedOnce = true;
    return Promise.reject(this.#ended());
  }

  #abandon(): void {
    this.#abandoned += this.#running;
    this.#running = 0;
    this.#update();
    this.onAbandoned();
  }

  /** Runs `task` as a scope of its own inside this one; an error in it goes to the owner. */
  spawn(
    task: Promise<unknown> | ((scope: Scope) => unknown),
    where = "a spawned task",
    kind: "run" | "task" = "task",
  ): Task {
    const scope = this.child(where, kind);
    if (!scope.stopping) this.owner.began?.("run");
    if (scope.ended && typeof task === "function") return { cancel: () => {}, done: Promise.resolve() };
    const abandoned = deferred();
    scope.onAbandoned = abandoned.resolve;
    const work = scope.track(() => (typeof task === "function" ? task(scope) : task));
    const finished = work.then(ignore, (error: unknown) => {
      if (!isAbort(error, scope)) this.owner.report(error, where);
    });
    return { cancel: () => scope.end(), done: Promise.race([finished, abandoned.promise]) };
  }

  /** Calls `fn` as a handler is called, and gives what it gives. */
  asRun<T>(fn: () => T, where: string): Promise<Awaited<T>> {
    const scope = this.child(where, "run");
    if (!scope.stopping) this.owner.began?.("run");
    return scope.track(fn);
  }

  /** As `enter`, giving a promise in any case. */
  track<T>(fn: () => T, where = this.where): Promise<Awaited<T>> {
    try {
      return Promise.resolve(this.enter(fn, where));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Calls `fn` in this scope, which counts as busy until what it gives is settled. Every command comes through here: no
   * promise is made that nobody needs.
   */
  enter<T>(fn: () => T, where = this.where): T | Promise<Awaited<T>> {
    this.#running++;
    this.#update();
    let result: T;
    try {
      result = this.run(fn, where);
    } catch (error) {
      this.#leave();
      throw error;
    }
    if (!isPromiseLike(result)) {
      this.#leave();
      return result;
    }
    const settled = Promise.resolve(result);
    settled.then(this.#leave, this.#leave);
    return settled;
  }

  readonly #leave = (): void => {
    if (this.#abandoned > 0) this.#abandoned--;
    else this.#running--;
    this.#update();
  };

  /**
   * Calls `on`, waits `ms`, calls `off`. `off` is called whatever happens: at once when the scope ends, and when `on`
   * throws. Outside of commands it is called at once when all-stop or a lock-out begins, and while it holds, `on` is not
   * called; the hold takes its time all the same.
   *
   * @throws AbortError when the scope ends before `ms` are over.
   */
  async hold(span: Span, on: () => unknown, off: () => unknown): Promise<void> {
    const ms = msOf("hold(%)", span);
    if (this.ended) return this.refuse();
    const standstill = this.inCommand || this.stopping ? undefined : this.owner.standstill;
    if (standstill?.holding) return this.sleep(ms);
    this.move("hold");
    const over = this.#wait("hold");
    const released = this.owner.held?.();
    let turnedOff: Promise<void> | undefined;
    const turnOff = () => {
      turnedOff = this.#turnOff(off);
      // Whoever awaits the hold hears of a failure below; until then it is not an unhandled one.
      turnedOff.then(released, ignore);
    };
    const turnOffOnce = () => {
      if (!turnedOff) turnOff();
    };
    const forget = this.whenEnded(turnOffOnce);
    const unlatch = standstill?.whenHeld(turnOffOnce);
    try {
      const switching = this.child(this.where, "switching");
      switching.onAbandoned = () => this.#abandon();
      const turningOn = switching.enter(on);
      try {
        if (turningOn instanceof Promise) await turningOn;
      } finally {
        // It ended while `on` was still turning on: what that did last must be undone again.
        if (turnedOff) turnOff();
      }
      if (!this.ended) await this.sleep(ms);
    } finally {
      forget();
      unlatch?.();
      turnOffOnce();
      await turnedOff;
      over();
    }
    const ended = this.#ended();
    if (ended) throw ended;
  }

  /** Calls `off` in a scope that has not ended, so that it may sleep between its steps. */
  async #turnOff(off: () => unknown): Promise<void> {
    this.#turningOff++;
    this.#update();
    const scope = new Scope(this.owner, this.clock, undefined, this.where, "stopping");
    try {
      await scope.run(off);
    } finally {
      // What it doesn't wait for may go on for a while.
      scope.leave(AFTER_OFF_MS);
      this.#turningOff--;
      this.#update();
    }
  }

  /** Calls `callback` once, when the scope ends; the function that it gives back forgets that. */
  whenEnded(callback: () => void): () => void {
    this.#atEnd ??= new Set();
    this.#atEnd.add(callback);
    this.#update();
    return () => {
      this.#atEnd?.delete(callback);
      this.#update();
    };
  }

  /** Whether anything runs in here. */
  get busy(): boolean {
    return this.#running + this.#turningOff + (this.#atEnd?.size ?? 0) + (this.#children?.size ?? 0) > 0;
  }

  #adopt(child: Scope): void {
    this.#children ??= new Set();
    if (this.#children.has(child)) return;
    this.#children.add(child);
    this.#update();
  }

  #release(child: Scope): void {
    if (this.#children?.delete(child)) this.#update();
  }

  /** A parent knows only the scopes in which something runs, so that a finished one costs nothing. */
  #update(): void {
    if (this.busy) {
      if (this.parent) this.parent.#adopt(this);
      return;
    }
    if (this.parent) this.parent.#release(this);
    const waiting = this.#whenIdle;
    this.#whenIdle = undefined;
    for (const callback of waiting ?? []) callback();
  }
}

const ignore = () => {};

/** As the clock's own; never where `ms` is `Infinity`. */
function after(clock: Clock, ms: number, callback: () => void): () => void {
  return ms === Number.POSITIVE_INFINITY ? ignore : clock.after(ms, callback);
}

/** Whether `error` is no more than word of an end: of the scope, or of a command that was called in it. */
export function isAbort(error: unknown, scope: Scope): boolean {
  return error instanceof AbortError || (scope.ended && error instanceof Error && error.name === "AbortError");
}
