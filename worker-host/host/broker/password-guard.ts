import type { Clock } from "../../base/clock.ts";

/** How long an address waits after a wrong password. */
const PAUSE_MS = 1_000;
/** So many of one address may wait. */
const MOST_WAITING = 20;

/** Looks at a password, and gives whether it was right. */
export type Look = () => boolean;

/** Slows down guessing: after a wrong password, the next one from that address is looked at a second later, one by one. */
export class PasswordGuard {
  /** By address, who waits. */
  readonly #waiting = new Map<string, Look[]>();
  readonly #cancels = new Map<string, () => void>();

  constructor(private readonly clock: Clock) {}

  /** Looks at once, or when it is this one's turn. Gives `false`, and never looks, where too many wait. */
  take(address: string, look: Look): boolean {
    const waiting = this.#waiting.get(address);
    if (!waiting) {
      if (!look()) this.#pause(address, []);
      return true;
    }
    if (waiting.length >= MOST_WAITING) return false;
    waiting.push(look);
    return true;
  }

  stop(): void {
    for (const cancel of this.#cancels.values()) cancel();
    this.#cancels.clear();
    this.#waiting.clear();
  }

  #pause(address: string, waiting: Look[]): void {
    this.#waiting.set(address, waiting);
    this.#cancels.set(
      address,
      this.clock.after(PAUSE_MS, () => this.#next(address, waiting)),
    );
  }

  #next(address: string, waiting: Look[]): void {
    this.#waiting.delete(address);
    this.#cancels.delete(address);
    for (let look = waiting.shift(); look; look = waiting.shift()) {
      if (look()) continue;
      this.#pause(address, waiting);
      return;
    }
  }
}
