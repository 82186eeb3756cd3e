import type { CommandSpec } from "./command-spec.ts";
import { AbortError, type Scope } from "./scope.ts";

/** How many of one command run or wait at once, where its spec says nothing. */
const DEFAULT_MAX = 10;

/** What of one command runs and what waits, by its mode. */
export class CommandRuns {
  readonly #running = new Set<Scope>();
  readonly #waiting: { start: () => void; abort: (reason: AbortError) => void }[] = [];

  constructor(
    private readonly spec: CommandSpec,
    private readonly parent: Scope,
    /** What runs, for people: `do_fire`. */
    private readonly where: string,
  ) {}

  /** Why one more may not come now, in words. */
  get refusal(): string | undefined {
    const { mode = "parallel", max } = this.spec;
    const most = max ?? (mode === "parallel" ? Number.POSITIVE_INFINITY : mode === "single" ? 1 : DEFAULT_MAX);
    const count = this.#running.size + this.#waiting.length;
    if (mode === "restart" || count < most) return undefined;
    return mode === "queued" ? `busy: ${count} of them run or wait, and ${most} may` : "busy: it is still running";
  }

  /** Runs `work` in a scope of its own: now, or with `queued` when the one before is over. */
  run<T>(work: (scope: Scope) => T): Promise<Awaited<T>> {
    const { mode } = this.spec;
    if (mode === "restart") this.abortAll("restarted");
    return mode === "queued" && this.#running.size > 0 ? this.#runLater(work) : this.#runNow(work);
  }

  #runLater<T>(work: (scope: Scope) => T): Promise<Awaited<T>> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ start: () => resolve(this.#runNow(work)), abort: reject });
    });
  }

  #runNow<T>(work: (scope: Scope) => T): Promise<Awaited<T>> {
    const scope = this.parent.child(this.where, true);
    this.#running.add(scope);
    const cancelTimeout = this.#limit(scope);
    const running = scope.track(() => work(scope));
    // What it spawned counts as a part of it; what waits for ever after an abort doesn't.
    scope.onceIdle(() => {
      cancelTimeout?.();
      this.#running.delete(scope);
      if (this.#running.size === 0) this.#waiting.shift()?.start();
    });
    return running;
  }

  #limit(scope: Scope): (() => void) | undefined {
    const { timeoutMs } = this.spec;
    if (timeoutMs === undefined) return undefined;
    return scope.clock.after(timeoutMs, () => scope.end(new AbortError(`it took longer than ${timeoutMs} ms`)));
  }

  /** Aborts what runs, and what waits: `hold`s turn off, sleeps reject. */
  abortAll(why = "stopped"): void {
    const reason = new AbortError(why);
    for (const { abort } of this.#waiting.splice(0)) abort(reason);
    for (const scope of [...this.#running]) scope.end(reason);
  }
}
