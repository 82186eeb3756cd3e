import { randomUUID } from "node:crypto";
import { now } from "./verbs.ts";

/** A press that a browser has held up for longer is another one. */
const SEEN_MS = 60_000;
const MOST_SEEN = 1_000;

interface Seen {
  at: number;
  engaged: Promise<void>;
}

/** The presses of all-stop: one that comes on two ways engages it once. */
export class Presses {
  readonly #seen = new Map<string, Seen>();

  /** @param engage fulfils when all-stop is engaged */
  constructor(private readonly engage: (by: string | undefined) => Promise<void>) {}

  /** Fulfils when the press has engaged all-stop, with when it came first; one without an id is always new. */
  async take(id: string = randomUUID(), by?: string): Promise<number> {
    for (const [old, { at }] of this.#seen) {
      if (this.#seen.size < MOST_SEEN && now() - at < SEEN_MS) break;
      this.#seen.delete(old);
    }
    const seen = this.#seen.get(id) ?? { at: now(), engaged: this.engage(by) };
    this.#seen.set(id, seen);
    try {
      await seen.engaged;
    } catch (error) {
      // It is to be engaged when it comes again.
      if (this.#seen.get(id) === seen) this.#seen.delete(id);
      throw error;
    }
    return seen.at;
  }
}
