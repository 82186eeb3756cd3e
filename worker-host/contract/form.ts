import { faultOf, type Shape } from "./json-check.ts";
import { isExact, jsonIn, msIn, printable } from "./payload.ts";

/** One input of a form: a property of the arguments, or the arguments themselves. */
export interface Field {
  /** The property; `undefined`: the whole of the arguments. */
  key: string | undefined;
  label: string;
  about: string;
  /** `words` is a text, or the number that it is; `span` is ms, or a text such as `5s`. */
  kind: "number" | "span" | "text" | "words" | "choice" | "json";
  /** What its value has to be. */
  shape: Shape;
  /** What a `choice` is between. */
  choices: readonly unknown[];
  required: boolean;
  /** What stands in it at first. */
  text: string;
  /** What it takes, in words: `0 to 5000 ms; 750 if left empty`. */
  hint: string;
}

const MOST_FIELDS = 50;
const MOST_CHOICES = 200;
const LONGEST_WORDS = 300;
/** A comma is refused: it stands for a fraction here, and for thousands there. */
const NUMBER = /^-?(\d+(\.\d*)?|\.\d+)$/;

/** The inputs for arguments of a shape. */
export function fieldsFor(shape: Shape, optional: boolean): Field[] {
  // Of several ways to write it, the one in which each value has a name.
  const [named = {}, another] = [shape, ...(shape.anyOf ?? [])].filter((part) => part.properties);
  const { properties, required = [] } = named;
  if (!properties || another) return [fieldOf(undefined, shape, !optional)];
  return [...properties].slice(0, MOST_FIELDS).map(([key, part]) => fieldOf(key, part, required.includes(key)));
}

function fieldOf(key: string | undefined, whole: Shape, isRequired: boolean): Field {
  const shape = simplestOf(whole);
  const choices = choicesOf(shape);
  const kind = choices ? "choice" : kindOf(shape);
  const given = whole.default ?? shape.default;
  const text = defaultIn(given, kind, whole);
  // A property with a default is told to be required by schemas of what comes out, not of what is sent.
  const required = isRequired && given === undefined;
  const empty = required || kind === "choice" ? "" : text === "" ? "may be left empty" : `${text} if left empty`;
  return {
    key,
    label: (whole.title ?? key?.replaceAll("_", " ") ?? "value").slice(0, 60),
    about: (whole.description ?? shape.description)?.slice(0, LONGEST_WORDS) ?? "",
    kind,
    shape: whole,
    choices: choices ?? [],
    required,
    text,
    hint: [hintOf(shape, kind, whole.unit ?? shape.unit ?? ""), empty]
      .filter((words) => words !== "")
      .join("; ")
      .slice(0, LONGEST_WORDS),
  };
}

/** A default as it stands in an input; one that an input can't show, or that would be refused, is none. */
function defaultIn(given: unknown, kind: Field["kind"], shape: Shape): string {
  if (given === undefined) return "";
  const text = kind === "choice" || kind === "json" ? JSON.stringify(given) : String(given);
  const isFine = text === printable(text) && readField({ kind, shape, required: false }, text).fault === undefined;
  return isFine ? text : "";
}

/** Of the ways to write a value, one that needs no JSON: `750` rather than `{"ms": 750}`. */
function simplestOf(shape: Shape): Shape {
  const parts = shape.anyOf?.filter((part) => choicesOf(part) !== undefined || kindOf(part) !== "json") ?? [];
  const [first = shape] = parts;
  if (parts.length < 2) return first;
  // Several of them stay together, so that each can be written.
  return { anyOf: parts };
}

const SIMPLE: ReadonlySet<string> = new Set(["number", "integer", "string"]);

function kindOf({ types, isSpan, anyOf }: Shape): Field["kind"] {
  const parts = anyOf ?? [{ types, isSpan }];
  const all = new Set(parts.flatMap((part) => part.types ?? ["any"]));
  all.delete("null");
  if (all.size === 0 || [...all].some((type) => !SIMPLE.has(type))) return "json";
  if (!all.has("string")) return "number";
  if (all.size === 1) return "text";
  return parts.every((part) => part.isSpan || !part.types?.includes("string")) ? "span" : "words";
}

/** Primitive values to choose from; `undefined` where any may be written. */
function choicesOf({ enum: values, anyOf, types }: Shape): unknown[] | undefined {
  const all =
    values ?? (types?.length === 1 && types[0] === "boolean" ? [true, false] : anyOf?.flatMap((one) => one.enum ?? []));
  const isWhole = values !== undefined || !anyOf || anyOf.every((one) => one.enum);
  if (!all || all.length === 0 || all.length > MOST_CHOICES || !isWhole) return undefined;
  return all.some((value) => typeof value === "object" && value !== null) ? undefined : [...new Set(all)];
}

function hintOf(shape: Shape, kind: Field["kind"], unit: string): string {
  const { maxLength, types } = shape;
  if (kind === "text") return maxLength === undefined ? "" : `at most ${maxLength} letters`;
  if (kind === "json") return types?.includes("array") ? "a JSON list" : "JSON";
  if (kind === "span")
    return `${rangeOf(shape).replace(/^at least 0$/, "")} ms, or a time such as 5s or 2min`.trimStart();
  return kind === "number" ? `${rangeOf(shape)} ${unit}`.trim() : "";
}

/** `0 to 5000`; of several ways to write a value, the number's. */
function rangeOf({ anyOf, ...own }: Shape): string {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } =
    anyOf?.find(({ types }) => types?.some((type) => type !== "string")) ?? own;
  // What z.int() says is no bound for people.
  const [low, high] = [minimum, maximum].map((bound) => (Math.abs(bound ?? Infinity) > 2 ** 52 ? undefined : bound));
  if (low !== undefined && high !== undefined) return `${low} to ${high}`;
  const least =
    exclusiveMinimum === undefined ? (low === undefined ? "" : `at least ${low}`) : `more than ${exclusiveMinimum}`;
  const most =
    exclusiveMaximum === undefined ? (high === undefined ? "" : `at most ${high}`) : `less than ${exclusiveMaximum}`;
  return [least, most].filter((words) => words !== "").join(", ");
}

/** What a field's text means: a value, or nothing where it is empty; or why it means none, in words. */
export interface Read {
  value?: unknown;
  fault?: string | undefined;
}

/** Reads one field; a choice is its value as JSON, `""` none. */
export function readField({ kind, required, shape }: Pick<Field, "kind" | "required" | "shape">, text: string): Read {
  const word = text.trim();
  if (word === "" && !(kind === "text" && required)) return required ? { fault: "it is missing" } : {};
  const number = NUMBER.test(word) && isExact(word) ? Number(word) : undefined;
  if (kind === "number" && number === undefined) return { fault: "expected a number, such as 7 or 2.5" };
  const value =
    kind === "text"
      ? text
      : kind === "choice" || kind === "json"
        ? jsonIn(text)
        : (number ?? (kind === "span" ? msIn(word) : text));
  if (value === undefined)
    return { fault: kind === "span" ? "expected ms, or a time such as 5s or 2min" : "expected JSON" };
  return { value, fault: faultOf(value, shape) };
}

/** The arguments that a filled form means, or why it means none, in words. */
export type Filled = { args: unknown; refusal?: never } | { args?: never; refusal: string };

/** Reads a form: `texts` are what stands in each of its fields. */
export function readForm(fields: readonly Field[], texts: readonly string[]): Filled {
  const entries: [string, unknown][] = [];
  for (const [index, field] of fields.entries()) {
    const { value, fault } = readField(field, texts[index] ?? "");
    if (fault !== undefined) return { refusal: field.key === undefined ? fault : `${field.label}: ${fault}` };
    if (field.key === undefined) return { args: value };
    if (value !== undefined) entries.push([field.key, value]);
  }
  return { args: fields.length > 0 ? Object.fromEntries(entries) : undefined };
}
