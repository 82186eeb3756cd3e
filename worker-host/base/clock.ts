import { WorkerHostError } from "../contract/errors.ts";
import { msIn } from "../contract/payload.ts";

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

const TIME_OF_DAY = /^([01]?\d|2[0-3]):([0-5]\d)$/;
const MIDNIGHT = "24:00";
const MINUTE_MS = 60_000;

/**
 * The minutes after midnight of a time of day that an author gave.
 *
 * @param what it was given to, for the error: `at(%)`
 * @throws WorkerHostError `invalid_value`
 */
function minutesOf(what: string, text: string): number {
  const [, hours, minutes] = (typeof text === "string" && TIME_OF_DAY.exec(text)) || [];
  if (hours !== undefined) return Number(hours) * 60 + Number(minutes);
  const expected = `expected a time of day, such as "18:00"${text === MIDNIGHT ? '; the next midnight is "00:00"' : ""}`;
  throw new WorkerHostError("invalid_value", `${what.replace("%", () => JSON.stringify(text))}: ${expected}`);
}

/** The day after so many days, at midnight, local time. */
function dayAfter(moment: number, days: number): Date {
  const date = new Date(moment);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + days);
}

/** The first moment of a day at which the clock on the wall shows so many minutes after midnight, or more. */
function momentOn(day: Date, minutes: number): number {
  const showsAsMuch = (moment: number) => {
    const date = new Date(moment);
    return date.getDate() === day.getDate() && date.getHours() * 60 + date.getMinutes() >= minutes;
  };
  // Of a time that is there twice, it is the first one; one that summer time skips comes out as a later one.
  let moment = new Date(day.getFullYear(), day.getMonth(), day.getDate(), 0, minutes).getTime();
  while (showsAsMuch(moment - MINUTE_MS)) moment -= MINUTE_MS;
  return moment;
}

/**
 * The next moment after `after`, in ms since 1970, that is at a time of day, local time.
 *
 * @throws WorkerHostError `invalid_value`
 */
export function nextAt(after: number, timeOfDay: string): number {
  const minutes = minutesOf("at(%)", timeOfDay);
  const moments = [0, 1, 2].map((days) => momentOn(dayAfter(after, days), minutes));
  return moments.find((moment) => moment > after) as number;
}

/**
 * Whether `now`, in ms since 1970, is between two times of day, local time; the second may be on the next day, and `24:00`.
 *
 * @throws WorkerHostError `invalid_value`
 */
export function isWithin(now: number, from: string, until: string): boolean {
  const start = minutesOf("within(%, …)", from);
  const end = until === MIDNIGHT ? 24 * 60 : minutesOf("within(…, %)", until);
  if (start === end)
    throw new WorkerHostError(
      "invalid_value",
      `within("${from}", "${until}"): expected two different times of day; all day is "00:00", "24:00"`,
    );
  return [-1, 0].some((days) => {
    const day = dayAfter(now, days);
    const last = end > start ? day : dayAfter(now, days + 1);
    return momentOn(day, start) <= now && now < momentOn(last, end);
  });
}

/** How long to wait before the next try, in ms: twice as long after each failure in a row, within these bounds. */
export function backoffMs(failuresBefore: number, minMs: number, maxMs: number): number {
  return Math.min(maxMs, minMs * 2 ** failuresBefore);
}
