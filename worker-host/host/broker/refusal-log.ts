import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { printable } from "../../contract/printable.ts";

/** Takes what was refused: `key` is the kind of refusal and, where it matters, the address; `text` is for people. */
export type Refuse = (key: string, text: string) => void;

const EVERY_MS = 10_000;
/** From then on, all other keys count as one: the memory of addresses is bounded. */
const MAX_KEYS = 100;
const OTHERS = "others";

interface Repeated {
  more: number;
  last: string;
  cancel: () => void;
}

/** Logs the first refusal of a key at once, and the number of its repetitions every 10 s. */
export class RefusalLog {
  readonly #repeated = new Map<string, Repeated>();

  constructor(
    private readonly log: Logger,
    private readonly clock: Clock,
  ) {}

  readonly refuse: Refuse = (wanted, text) => {
    const key = this.#repeated.has(wanted) || this.#repeated.size < MAX_KEYS ? wanted : OTHERS;
    const known = this.#repeated.get(key);
    if (known) {
      known.more++;
      known.last = text;
      return;
    }
    this.log.warn(text);
    this.#watch(key, text);
  };

  stop(): void {
    for (const { cancel } of this.#repeated.values()) cancel();
    this.#repeated.clear();
  }

  #watch(key: string, last: string): void {
    const cancel = this.clock.after(EVERY_MS, () => this.#sum(key));
    this.#repeated.set(key, { more: 0, last, cancel });
  }

  #sum(key: string): void {
    const { more = 0, last = "" } = this.#repeated.get(key) ?? {};
    this.#repeated.delete(key);
    if (more === 0) return;
    this.log.warn(`${last} (${more} more such in the last ${EVERY_MS / 1000} s)`);
    this.#watch(key, last);
  }
}

/** A client id for a line of the log. */
export function shown(id: string | null | undefined): string {
  return id ? `the client "${printable(id.slice(0, 60))}"` : "a client";
}
