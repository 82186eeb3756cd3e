import { WorkerHostError } from "../contract/errors.ts";

/** Time, handed in by whoever runs a worker, so that a test can hand in its own. */
export interface Clock {
  /** ms since 1970, for moments that are told: somebody may set this clock. */
  now(): number;
  /** ms on a clock that nothing sets, for spans of time. */
  monotonic(): number;
  /** Calls `callback` once, `ms` from now; the function it gives back cancels that. */
  after(ms: number, callback: () => void): () => void;
}

/** `setTimeout` takes a delay of more than 31 bits for 1 ms. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, callback) {
    let timer: NodeJS.Timeout;
    const wait = (left: number) => {
      const next = Math.min(left, MAX_TIMEOUT_MS);
      timer = setTimeout(() => (left > next ? wait(left - next) : callback()), next);
    };
    wait(ms);
    return () => clearTimeout(timer);
  },
};

/** Waits `ms`. */
export function delay(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}

/** What `work` gives, or `undefined` where it isn't done in `ms`. A late failure of `work` is let go. */
export async function within<T>(clock: Clock, ms: number, work: Promise<T>): Promise<{ value: T } | undefined> {
  let cancel = () => {};
  const timeout = new Promise<undefined>((resolve) => {
    cancel = clock.after(ms, () => resolve(undefined));
  });
  try {
    return await Promise.race([work.then((value) => ({ value })), timeout]);
  } finally {
    cancel();
  }
}

/** A time span: ms, or a text such as `"5s"` or `"2min"`. */
export type Span = number | string;

const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", 1000],
  ["min", 60_000],
  ["h", 3_600_000],
]);

export const SPAN_TEXT = /^(\d+(?:\.\d+)?)\s*(ms|s|min|h)$/;

/** The ms of a span; `undefined` where it is none. */
export function msIn(span: unknown): number | undefined {
  if (typeof span === "number") return span >= 0 ? span : undefined;
  const [, count, unit = ""] = (typeof span === "string" && SPAN_TEXT.exec(span)) || [];
  return count === undefined ? undefined : Number(count) * (UNITS_MS.get(unit) ?? Number.NaN);
}

/**
 * The ms of a span that an author gave.
 *
 * @param what it was given to, for the error: `sleep(%)`
 * @param most so long at most, and finite; for ever if not given
 * @throws WorkerHostError `invalid_value`
 */
export function msOf(what: string, span: Span, most = Number.POSITIVE_INFINITY): number {
  const ms = msIn(span);
  if (ms !== undefined && ms <= most) return ms;
  const text = `${what.replace("%", () => String(span))}: expected a number of ms, 0 or more, or a text such as "5s" or "2min"`;
  throw new WorkerHostError("invalid_value", text);
}

/** How long to wait before the next try, in ms: twice as long after each failure in a row, within these bounds. */
export function backoffMs(failuresBefore: number, minMs: number, maxMs: number): number {
  return Math.min(maxMs, minMs * 2 ** failuresBefore);
}
