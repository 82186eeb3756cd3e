import type { CommandSpec } from "./command-spec.ts";
import { AbortError, type Scope } from "./scope.ts";

/** How many of one command run or wait at once, where its spec says nothing. */
const DEFAULT_MAX = 10;

/** What of one command runs and what waits, by its mode. */
export class CommandRuns {
  readonly #running = new Set<Scope>();
  readonly #waiting: ((reason?: AbortError) => void)[] = [];

  constructor(
    private readonly spec: CommandSpec,
    private readonly parent: Scope,
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
  async run<T>(work: (scope: Scope) => T): Promise<Awaited<T>> {
    const { mode = "parallel" } = this.spec;
    if (mode === "restart") this.abortAll("restarted");
    if (mode === "queued" && this.#running.size > 0) {
      const reason = await new Promise<AbortError | undefined>((resolve) => this.#waiting.push(resolve));
      if (reason) throw reason;
    }
    return this.#run(work);
  }

  async #run<T>(work: (scope: Scope) => T): Promise<Awaited<T>> {
    const scope = this.parent.child();
    this.#running.add(scope);
    const cancelTimeout = this.#limit(scope);
    const running = scope.track(() => work(scope));
    // What it spawned counts as a part of it; what waits for ever after an abort doesn't.
    scope.onceIdle(() => {
      cancelTimeout();
      this.#running.delete(scope);
      if (this.#running.size === 0) this.#waiting.shift()?.();
    });
    return running;
  }

  #limit(scope: Scope): () => void {
    const { timeoutMs } = this.spec;
    if (timeoutMs === undefined) return () => {};
    return scope.clock.after(timeoutMs, () => scope.end(new AbortError(`it took longer than ${timeoutMs} ms`)));
  }

  /** Aborts what runs, and what waits: `hold`s turn off, sleeps reject. */
  abortAll(why = "stopped"): void {
    const reason = new AbortError(why);
    for (const next of this.#waiting.splice(0)) next(reason);
    for (const scope of [...this.#running]) scope.end(reason);
  }
}
