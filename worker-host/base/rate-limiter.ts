import type { Clock } from "./clock.ts";

/** So many may be said in one go, if not said otherwise … */
const BURST = 20;
/** … and then one in so many ms. */
const EVERY_MS = 500;

/** Passes on what is said, but no more than people can read: what is left out is counted, and that is said too. */
export class RateLimiter {
  #room: number;
  #since: number;
  #leftOut = 0;
  #last = "";

  constructor(
    private readonly clock: Clock,
    private readonly tell: (text: string, error?: unknown) => void,
    private readonly burst = BURST,
  ) {
    this.#room = burst;
    this.#since = clock.monotonic();
  }

  /** @param error what it is about, where it is said at once */
  say(text: string, error?: unknown): void {
    const now = this.clock.monotonic();
    this.#room = Math.min(this.burst, this.#room + (now - this.#since) / EVERY_MS);
    this.#since = now;
    if (this.#room >= 1 && this.#leftOut === 0) {
      this.#room--;
      this.tell(text, error);
      return;
    }
    if (this.#leftOut === 0) this.clock.after(2 * EVERY_MS, () => this.#sum());
    this.#leftOut++;
    this.#last = text;
  }

  #sum(): void {
    this.tell(this.#leftOut === 1 ? this.#last : `${this.#leftOut} more were left out; the last: ${this.#last}`);
    this.#leftOut = 0;
  }
}
