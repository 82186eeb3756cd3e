import { MOST_JSON_LEVELS } from "./limits.ts";
import { isDeeperThan, isExact, parseJson as parseWhole } from "./payload.ts";

/** The parts of a JSON Schema (2020-12) that we read; a schema may have more. */
export interface JsonSchema {
  type?: string | readonly string[];
  description?: string;
  default?: unknown;
  const?: unknown;
  enum?: readonly unknown[];
  properties?: Readonly<Record<string, JsonSchema>>;
  additionalProperties?: JsonSchema | boolean;
  required?: readonly string[];
  items?: JsonSchema | boolean;
  prefixItems?: readonly JsonSchema[];
  anyOf?: readonly JsonSchema[];
  oneOf?: readonly JsonSchema[];
  allOf?: readonly JsonSchema[];
  $ref?: string;
  $defs?: Readonly<Record<string, JsonSchema>>;
  /** Ours: never shown. */
  secret?: boolean;
  /** Ours: changed in the file alone, not by `configure`. */
  author?: boolean;
}

/** What a schema refers to, or is made of; `undefined` where it stands for itself. */
function innerOf(schema: JsonSchema, root: JsonSchema): readonly JsonSchema[] | undefined {
  if (schema.$ref === undefined) return schema.anyOf ?? schema.oneOf ?? schema.allOf;
  const target = schema.$ref === "#" ? root : root.$defs?.[schema.$ref.replace(/^#\/\$defs\//, "")];
  return target && [target];
}

/** The alternatives that a value may satisfy, references followed, each with a type of its own. */
export function alternatives(schema: JsonSchema, root: JsonSchema = schema, depth = 0): JsonSchema[] {
  // A schema may refer to itself.
  if (depth > 16) return [schema];
  const inner = innerOf(schema, root);
  if (inner) return inner.flatMap((one) => alternatives(one, root, depth + 1));
  if (Array.isArray(schema.type)) return schema.type.map((type: string) => ({ ...schema, type }));
  return [schema];
}

/** All schemas that say something of one value: a schema, what it refers to, and what it is made of, at any depth. */
export function layers(schema: JsonSchema, root: JsonSchema = schema, depth = 0): JsonSchema[] {
  if (depth > 16) return [schema];
  return [schema, ...(innerOf(schema, root) ?? []).flatMap((one) => layers(one, root, depth + 1))];
}

/** What a text means under a schema, or why it means nothing, in words for its sender. */
type Coerced = { value: unknown; refusal?: never } | { value?: never; refusal: string };

const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ["on", true],
  ["true", true],
  ["yes", true],
  ["1", true],
  ["off", false],
  ["false", false],
  ["no", false],
  ["0", false],
]);

/** A decimal number as a person writes it; not hexadecimal, nor an empty text. */
const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;

/** `key=value`, where the value may stand in quotes. */
const PAIR = /([A-Za-z_][\w.-]*)=("(?:[^"\\]|\\.)*"|'[^']*'|\S*)(?:\s+|$)/y;

/**
 * Reads the arguments of a text command as its schema expects them: `750` as a number, `on` as a boolean, `x=1 y=2` or
 * JSON as an object. A text that doesn't fit stays a text, for the schema to refuse in its own words.
 */
export function coerceText(text: string, schema: JsonSchema, root: JsonSchema = schema, level = 0): Coerced {
  // A schema may refer to itself, and nobody writes so much into one line.
  if (level > 16) return { value: text };
  const options = alternatives(schema, root);
  const wanted = new Set(options.flatMap(({ type }) => (typeof type === "string" ? [type] : [])));
  const fixed = options.flatMap((one) => one.enum ?? (one.const === undefined ? [] : [one.const]));
  const chosen = fixed.find((value) => value !== null && typeof value !== "object" && String(value) === text);
  if (chosen !== undefined) return { value: chosen };
  if ((wanted.has("object") || wanted.has("array")) && /^[[{]/.test(text)) return parseJson(text);
  const number = wanted.has("number") || wanted.has("integer") ? numberIn(text) : undefined;
  if (number !== undefined) return { value: number };
  const boolean = wanted.has("boolean") ? BOOLEANS.get(text.toLowerCase()) : undefined;
  if (boolean !== undefined) return { value: boolean };
  if (wanted.has("null") && text === "null") return { value: null };
  if (wanted.has("string")) return { value: unquote(text) };
  const object = options.find(({ type }) => type === "object");
  if (object) {
    const pairs = parsePairs(text, object, root, level + 1);
    if (pairs) return pairs;
  }
  const words = text.split(/\s*,\s*|\s+/);
  const arrays = options.filter(({ type }) => type === "array");
  const array = arrays.find(({ prefixItems }) => prefixItems?.length === words.length) ?? arrays[0];
  return array ? parseItems(words, array, root, level + 1) : { value: text };
}

/** The number that a person wrote; `undefined` also where JavaScript would make another one of it. */
export function numberIn(text: string): number | undefined {
  return NUMBER.test(text) && isExact(text) ? Number(text) : undefined;
}

function parseJson(text: string): Coerced {
  try {
    const value = parseWhole(text);
    if (!isDeeperThan(value, MOST_JSON_LEVELS)) return { value };
    return { refusal: `the arguments are nested more than ${MOST_JSON_LEVELS} levels deep` };
  } catch (error) {
    return {
      refusal: `the arguments are not JSON (${(error as Error).message}); in a shell, put them in single quotes`,
    };
  }
}

/** `"two words"` means what is between its quotes. */
function unquote(text: string): string {
  return /^"[^"]*"$/.test(text) ? text.slice(1, -1) : text;
}

/** What stands between the quotes of a pair's value, if it has both; in double ones, `\"` is a quote. */
function unwrap(raw: string): string {
  if (/^"(?:[^"\\]|\\.)*"$/.test(raw)) return raw.slice(1, -1).replaceAll(/\\(.)/g, "$1");
  return /^'[^']*'$/.test(raw) ? raw.slice(1, -1) : raw;
}

function parsePairs(text: string, schema: JsonSchema, root: JsonSchema, level: number): Coerced | undefined {
  const entries: [string, unknown][] = [];
  const pair = new RegExp(PAIR);
  while (pair.lastIndex < text.length) {
    const [, key, raw] = pair.exec(text) ?? [];
    if (key === undefined || raw === undefined) return undefined;
    const value = unwrap(raw);
    const property = Object.hasOwn(schema.properties ?? {}, key) ? schema.properties?.[key] : undefined;
    const coerced: Coerced = property ? coerceText(value, property, root, level) : { value };
    if (coerced.refusal !== undefined) return { refusal: `${key}: ${coerced.refusal}` };
    entries.push([key, coerced.value]);
  }
  return { value: Object.fromEntries(entries) };
}

/** `1 2 3` or `1, 2, 3`. */
function parseItems(words: string[], schema: JsonSchema, root: JsonSchema, level: number): Coerced {
  const items: unknown[] = [];
  for (const [index, word] of words.entries()) {
    const item = schema.prefixItems?.[index] ?? (typeof schema.items === "object" ? schema.items : undefined);
    const coerced: Coerced = item ? coerceText(word, item, root, level) : { value: word };
    if (coerced.refusal !== undefined) return coerced;
    items.push(coerced.value);
  }
  return { value: items };
}
