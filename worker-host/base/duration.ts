import { z } from "zod";

const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", 1000],
  ["min", 60_000],
  ["h", 3_600_000],
]);

const TEXT = /^(\d+(?:\.\d+)?)\s*(ms|s|min|h)$/;

/** A schema for a time span: `500`, `"5s"` or `"2min"` in a config or a command, and ms, a number, in the worker. */
export function duration() {
  const error = 'expected ms, or a text such as "5s" or "2min"';
  return z
    .union([z.number().nonnegative({ error }), z.string().regex(TEXT, { error })], { error })
    .transform(toMs)
    .refine(Number.isFinite, { error });
}

function toMs(value: number | string): number {
  if (typeof value === "number") return value;
  const [, count, unit = ""] = TEXT.exec(value) ?? [];
  return Number(count) * (UNITS_MS.get(unit) ?? Number.NaN);
}
