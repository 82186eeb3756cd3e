import { HEED_MS, OFF_MS } from "../bounds.ts";
import type { HappeningOf, Violation } from "./happenings.ts";

interface Span {
  from: number;
  to?: number;
}

/** The host engages before it says so: what is refused a little earlier is refused rightly. */
const BEFORE_SHOWN_MS = 2_000;

/** All-stop, as far as it is known from outside: when it may have held, and when it certainly did. */
export class Latch {
  readonly #possible: Span[] = [];
  readonly #certain: Span[] = [];
  /** What is on, by board. */
  readonly #on = new Map<string, { pin: number; since: number }>();
  readonly #reported = new Set<string>();
  #shown = false;

  constructor(
    private readonly violate: (violation: Violation) => void,
    /** Whether a board was cut off or stood still in that time: then it heard nothing, or could do nothing. */
    private readonly wasAway: (board: string, from: number, to: number) => boolean,
  ) {}

  /** Whether it was last shown as engaged. */
  get shown(): boolean {
    return this.#shown;
  }

  told({ at, engaged }: HappeningOf<"all_stop_told">): void {
    if (engaged) this.#openPossible(at);
    else this.#endCertain(at);
  }

  show({ at, engaged, live }: HappeningOf<"all_stop_shown">): void {
    this.#shown = engaged;
    if (engaged) {
      this.#openPossible(at - BEFORE_SHOWN_MS);
      // What a broker had kept says nothing of now; the host says it again when it is there.
      if (live && !this.#openIn(this.#certain)) this.#certain.push({ from: at + HEED_MS });
    } else {
      this.#endCertain(at);
      const open = this.#openIn(this.#possible);
      if (open) open.to = at;
    }
  }

  /** Whether a command that was open in that time may have been refused or aborted for it. */
  mayHold(from: number, to: number): boolean {
    return this.#possible.some((span) => span.from <= to && (span.to ?? Number.POSITIVE_INFINITY) >= from);
  }

  /** Whether it held then, for all who were connected. */
  holds(at: number): boolean {
    return this.#certain.some(({ from, to }) => from <= at && at < (to ?? Number.POSITIVE_INFINITY));
  }

  output({ at, board, pin, value }: HappeningOf<"output">): void {
    if (value === 0) {
      this.#on.delete(board);
      this.#reported.delete(board);
    } else if (!this.#on.has(board)) this.#on.set(board, { pin, since: at });
  }

  look(now: number): void {
    const span = this.#openIn(this.#certain);
    if (!span || now < span.from + OFF_MS) return;
    for (const [board, { pin, since }] of this.#on) {
      if (now < since + OFF_MS || this.#reported.has(board)) continue;
      if (this.wasAway(board, span.from - OFF_MS, now)) continue;
      this.#reported.add(board);
      const found = `pin ${pin} of ${board} has been on for ${now - since} ms, ${now - span.from} ms after "engaged"`;
      this.violate({ rule: "all_stop", text: `expected every actuator off while all-stop is engaged; ${found}` });
    }
  }

  #openPossible(from: number): void {
    if (!this.#openIn(this.#possible)) this.#possible.push({ from });
  }

  #endCertain(at: number): void {
    const open = this.#openIn(this.#certain);
    if (open) open.to = at;
  }

  #openIn(spans: Span[]): Span | undefined {
    const last = spans.at(-1);
    return last?.to === undefined ? last : undefined;
  }
}
