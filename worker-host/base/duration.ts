import { z } from "zod";
import { msIn, SPAN_TEXT } from "../contract/payload.ts";
import { msOf, type Span } from "./clock.ts";

const error = 'expected ms, or a text such as "5s" or "2min"';

const read = () =>
  z
    .union([z.number().nonnegative({ error }), z.string().regex(SPAN_TEXT, { error })], { error })
    .transform((span) => msIn(span))
    // What it gives is a number, also for those who look at the schema alone.
    .pipe(z.number({ error }));

type Read = ReturnType<typeof read>;

/** A schema for a time span, whose default may be written as it is in a config. */
export type Duration = Read & { default(span: Span | (() => Span)): z.ZodPrefault<Read> };

/** A schema for a time span: `500`, `"5s"` or `"2min"` in a config or a command, and ms, a number, in the worker. */
export function duration(): Duration {
  return withTextDefault(read());
}

/** The same for what `describe`, `meta` and others make of it. */
function withTextDefault(schema: Read): Duration {
  // Of a schema that makes one value of another, zod tells no default; this one is taken as if it had been sent.
  const [toDefault, clone] = [schema.prefault.bind(schema), schema.clone.bind(schema)];
  const msOfDefault = (span: Span) => msOf("duration().default(%)", span);
  return Object.assign(schema, {
    default: (span: Span | (() => Span)) =>
      typeof span === "function" ? toDefault(() => msOfDefault(span())) : toDefault(msOfDefault(span)),
    clone: (...how: Parameters<Read["clone"]>) => withTextDefault(clone(...how)),
  });
}
