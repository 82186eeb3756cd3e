import { backoffMs, msOf, type Span } from "../base/clock.ts";
import { isAbort, type Scope } from "../base/scope.ts";
import { LOOP_BACKOFF_MAX_MS, LOOP_BACKOFF_MIN_MS } from "./limits.ts";

export interface LoopOptions {
  scope: Scope;
  /** How long it pauses after each call, in ms. */
  intervalMs: Span;
  call: () => unknown;
  report: (error: unknown) => void;
}

/** Calls a function again and again, each time a while after its last call has ended, until its scope ends. */
export class Loop {
  #started = false;
  #paused = false;
  #calling = false;
  #failures = 0;
  #cancel = () => {};
  readonly #intervalMs: number;

  /** @throws WorkerHostError `invalid_value` */
  constructor(private readonly options: LoopOptions) {
    this.#intervalMs = msOf("static loopIntervalMs is %", options.intervalMs, Number.MAX_VALUE);
    options.scope.whenEnded(() => this.#cancel());
  }

  /** Makes the first call, unless it was paused before. */
  start(): void {
    this.#started = true;
    this.#callIn(0);
  }

  /** No further call; one that is under way runs to its end. */
  pause(): void {
    this.#paused = true;
    this.#cancel();
  }

  /** Calls again at once, if it was paused. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#cancel();
    this.#callIn(0);
  }

  /**
   * Pauses now, and resumes in `ms`; a later `pause` or `resume` takes the place of that.
   *
   * @throws WorkerHostError `invalid_value`
   */
  resumeIn(span: Span): void {
    const ms = msOf("resumeLoopIn(%)", span, Number.MAX_VALUE);
    this.pause();
    this.#cancel = this.options.scope.clock.after(ms, () => this.resume());
  }

  #callIn(ms: number): void {
    const { scope } = this.options;
    // What is scheduled while it is paused is its resumption.
    if (!this.#started || this.#paused || this.#calling || scope.ended) return;
    this.#cancel();
    this.#cancel = scope.clock.after(ms, () => void this.#call());
  }

  async #call(): Promise<void> {
    const { scope } = this.options;
    this.#calling = true;
    let failed = false;
    await scope.spawn(
      async (own) => {
        failed = !(await this.#succeeds(own));
      },
      "loop",
      "run",
    ).done;
    this.#calling = false;
    this.#failures = failed ? this.#failures + 1 : 0;
    const ms = this.#intervalMs;
    const pauseMs = backoffMs(this.#failures, Math.max(LOOP_BACKOFF_MIN_MS, ms), Math.max(LOOP_BACKOFF_MAX_MS, ms));
    this.#callIn(failed ? pauseMs : ms);
  }

  async #succeeds(scope: Scope): Promise<boolean> {
    try {
      await this.options.call();
      return true;
    } catch (error) {
      if (isAbort(error, scope)) return true;
      this.options.report(error);
      return false;
    }
  }
}
