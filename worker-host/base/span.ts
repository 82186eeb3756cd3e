import { WorkerHostError } from "../contract/errors.ts";

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
