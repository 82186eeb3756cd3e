import { describeError, messageOf, WorkerHostError } from "./errors.ts";

/**
 * A value as it goes over the wire: text as it is, numbers and booleans as text, bytes as they are, dates as ISO 8601,
 * errors as `TypeError: message`, all else as JSON.
 *
 * @throws WorkerHostError `invalid_value` where the value has no such form (a function, a circular object, a `Map`).
 */
export function encodePayload(value: unknown): string | Uint8Array {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
    case "boolean":
    case "bigint":
      return String(value);
    case "undefined":
      return "null";
    case "function":
    case "symbol":
      throw new WorkerHostError(
        "invalid_value",
        `a ${typeof value} can't be published: give a text, number, boolean or object`,
      );
    default:
      return encodeObject(value as object | null);
  }
}

function encodeObject(value: object | null): string | Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof Error) return describeError(value);
  if (value instanceof Map || value instanceof Set) {
    const [name, instead] = value instanceof Map ? ["Map", "Object.fromEntries(map)"] : ["Set", "[...set]"];
    throw new WorkerHostError("invalid_value", `a ${name} can't be published, since JSON has none: give ${instead}`);
  }
  try {
    if (value instanceof Date) return value.toISOString();
    return JSON.stringify(value) ?? "null";
  } catch (cause) {
    throw new WorkerHostError(
      "invalid_value",
      `${value instanceof Date ? "a date" : "an object"} can't be published: ${messageOf(cause)}`,
      {
        cause,
      },
    );
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The text of a payload, `undefined` where its bytes are not UTF-8. */
export function decodeText(payload: Uint8Array): string | undefined {
  try {
    return utf8.decode(payload);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/** What a text payload means: a number, a boolean, `null` or JSON where it is one, else the text itself. */
export function parsePayload(text: string): unknown {
  if (!/^[-\d.tfn{["]/.test(text)) return text;
  const value = jsonIn(text);
  return value === undefined ? text : value;
}

/** What a payload means as JSON; `undefined` where it is none, or its bytes are not UTF-8. */
export function jsonOf(payload: Uint8Array): unknown {
  const text = decodeText(payload);
  return text === undefined ? undefined : jsonIn(text);
}

/** What may hold a number that JavaScript can't. */
const SUSPECT = /\d{16}|\d[eE][-+]?\d{3}/;
/** A text of JSON, to its end where it has none, or a number. */
const TEXT_OR_NUMBER = /"(?:[^"\\]|\\[\s\S])*"?|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/g;

/** Whether JavaScript's number says what these digits say: not those of a long tag, nor what is too large or too small. */
export function isExact(digits: string): boolean {
  const number = Number(digits);
  if (/^[-+]?\d{16}/.test(digits) && String(number) !== digits) return false;
  return Number.isFinite(number) && (number !== 0 || !/[1-9]/.test(digits.replace(/e.*/i, "")));
}

/**
 * As `JSON.parse`, but a number that JavaScript would make another one of, such as the digits of a tag, is their text.
 *
 * @param plain what `JSON.parse` gives
 * @throws SyntaxError
 */
export function parseJson(text: string, plain: unknown = JSON.parse(text)): unknown {
  if (!SUSPECT.test(text)) return plain;
  return JSON.parse(text.replace(TEXT_OR_NUMBER, (each) => (each[0] === '"' || isExact(each) ? each : `"${each}"`)));
}

/** What a text means as JSON; `undefined` where it is none. Of numbers as `parseJson`. */
export function jsonIn(text: string): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", 1000],
  ["min", 60_000],
  ["h", 3_600_000],
]);

/** A time span as a text: `5s`, `2min`. */
export const SPAN_TEXT = /^(\d+(?:\.\d+)?)\s*(ms|s|min|h)$/;

/** The ms of a time span, given in ms or as a text; `undefined` where it is none. */
export function msIn(span: unknown): number | undefined {
  if (typeof span === "number") return span >= 0 ? span : undefined;
  const [, count, unit = ""] = (typeof span === "string" && SPAN_TEXT.exec(span)) || [];
  return count === undefined ? undefined : Number(count) * (UNITS_MS.get(unit) ?? Number.NaN);
}

/** Whether objects and lists are nested more than `levels` deep; one that contains itself is. */
export function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1));
}

/**
 * What a terminal would obey, or show elsewhere than it stands: controls (C0, DEL, C1), signs that turn the direction of
 * writing or can't be seen, separators of lines, and halves of surrogate pairs.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Surrogate}]/gu;

const SHORT: ReadonlyMap<string, string> = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

/** A text from outside on one line, with what a terminal would obey written out: `\u001b[2J`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (sign) => SHORT.get(sign) ?? escaped(sign));
}

/** The same for a text of several lines. */
export function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

/** The same for a text of JSON: it stays JSON, and means the same. */
export function printableJson(json: string): string {
  return json.replace(UNPRINTABLE, escaped);
}

function escaped(sign: string): string {
  return Array.from({ length: sign.length }, (_, index) => {
    return `\\u${sign.charCodeAt(index).toString(16).padStart(4, "0")}`;
  }).join("");
}

/** The entries that have a value: an optional property is left out, where an explicit `undefined` would be another thing. */
export function defined<T extends object>(entries: T): { [Key in keyof T]?: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]?: Exclude<T[Key], undefined>;
  };
}
