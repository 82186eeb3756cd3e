import type { Shape } from "./json-check.ts";
import { jsonIn } from "./payload.ts";

/** One input of a form: a property of the arguments, or the arguments themselves. */
export interface Field {
  /** The property; `undefined`: the whole of the arguments. */
  key: string | undefined;
  label: string;
  about: string;
  /** `words` is a text, or the number that it is. */
  kind: "number" | "text" | "words" | "choice" | "json";
  /** What a `choice` is between. */
  choices: readonly unknown[];
  required: boolean;
  /** What stands in it at first. */
  text: string;
  /** What it takes, in words: `0 to 5000`. */
  hint: string;
}

const MOST_FIELDS = 50;
const MOST_CHOICES = 200;
const LONGEST_WORDS = 300;
/** A comma is refused: it stands for a fraction here, and for thousands there. */
const NUMBER = /^\s*-?(\d+(\.\d*)?|\.\d+)\s*$/;

/** The inputs for arguments of a shape. */
export function fieldsFor(shape: Shape, optional: boolean): Field[] {
  const { properties, required = [] } = shape;
  if (!properties || shape.anyOf) return [fieldOf(undefined, shape, !optional)];
  return [...properties].slice(0, MOST_FIELDS).map(([key, part]) => fieldOf(key, part, required.includes(key)));
}

function fieldOf(key: string | undefined, whole: Shape, required: boolean): Field {
  const shape = simplestOf(whole);
  const choices = choicesOf(shape);
  const kind = choices ? "choice" : kindOf(shape);
  const given = whole.default ?? shape.default;
  return {
    key,
    label: (whole.title ?? key?.replaceAll("_", " ") ?? "value").slice(0, 60),
    about: (whole.description ?? shape.description)?.slice(0, LONGEST_WORDS) ?? "",
    kind,
    choices: choices ?? [],
    // A property with a default is told to be required by schemas of what comes out, not of what is sent.
    required: required && given === undefined,
    text: given === undefined ? "" : kind === "text" || kind === "words" ? String(given) : JSON.stringify(given),
    hint: hintOf(shape, kind),
  };
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

function kindOf({ types, anyOf }: Shape): Field["kind"] {
  const all = new Set((anyOf ?? [{ types }]).flatMap((part) => part.types ?? ["any"]));
  all.delete("null");
  if (all.size === 0 || [...all].some((type) => !SIMPLE.has(type))) return "json";
  if (!all.has("string")) return "number";
  return all.size === 1 ? "text" : "words";
}

/** Primitive values to choose from; `undefined` where any may be written. */
function choicesOf({ enum: values, anyOf, types }: Shape): unknown[] | undefined {
  const all =
    values ?? (types?.length === 1 && types[0] === "boolean" ? [true, false] : anyOf?.flatMap((one) => one.enum ?? []));
  const isWhole = values !== undefined || !anyOf || anyOf.every((one) => one.enum);
  if (!all || all.length === 0 || all.length > MOST_CHOICES || !isWhole) return undefined;
  return all.some((value) => typeof value === "object" && value !== null) ? undefined : [...new Set(all)];
}

function hintOf({ minimum, maximum, maxLength, types }: Shape, kind: Field["kind"]): string {
  if (kind === "words") return "";
  if (kind === "text") return maxLength === undefined ? "" : `at most ${maxLength} letters`;
  if (kind === "json") return types?.includes("array") ? "a JSON list" : "JSON";
  // What z.int() says is no bound for people.
  const [low, high] = [minimum, maximum].map((bound) => (Math.abs(bound ?? Infinity) > 2 ** 52 ? undefined : bound));
  if (low !== undefined && high !== undefined) return `${low} to ${high}`;
  return low !== undefined ? `${low} or more` : high !== undefined ? `${high} or less` : "";
}

/** The arguments that a filled form means, or why it means none, in words. */
export type Filled = { args: unknown; refusal?: never } | { args?: never; refusal: string };

/** Reads a form: `texts` are what stands in each of its fields; a choice is its value as JSON, `""` none. */
export function readForm(fields: readonly Field[], texts: readonly string[]): Filled {
  const entries: [string, unknown][] = [];
  for (const [index, field] of fields.entries()) {
    const text = texts[index] ?? "";
    const at = field.key === undefined ? "" : `${field.label}: `;
    if (text.trim() === "" && !(field.kind === "text" && field.required)) {
      if (field.required) return { refusal: `${at}it is missing` };
      continue;
    }
    if (field.kind === "number" && !NUMBER.test(text)) return { refusal: `${at}expected a number` };
    const isText = field.kind === "text" || (field.kind === "words" && !NUMBER.test(text));
    const isNumber = field.kind === "number" || field.kind === "words";
    const value = isText ? text : isNumber ? Number(text) : jsonIn(text);
    if (value === undefined) return { refusal: `${at}expected JSON` };
    if (field.key === undefined) return { args: value };
    entries.push([field.key, value]);
  }
  return { args: fields.some(({ key }) => key !== undefined) ? Object.fromEntries(entries) : undefined };
}
