import { defined, SPAN_TEXT } from "./payload.ts";

/**
 * A JSON Schema as it is read of a description, for the page, its server and Home Assistant: references are followed, and
 * what can't be read is left out. The worker itself has the last word.
 */
export interface Shape {
  /** A value of any of these; of any type if not given. */
  types?: readonly string[];
  title?: string;
  description?: string;
  default?: unknown;
  /** Ours: what a number counts, such as `ms` or `%`. */
  unit?: string;
  /** A text is a time span, as `duration()` takes it; no other pattern is looked at. */
  isSpan?: true;
  /** The values that there are; `const` is one. */
  enum?: readonly unknown[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  /** Not checked: the step of an input. */
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  properties?: ReadonlyMap<string, Shape>;
  required?: readonly string[];
  /** Of the properties that aren't named; `false`: there are none. */
  others?: Shape | false;
  prefixItems?: readonly Shape[];
  items?: Shape | false;
  anyOf?: readonly Shape[];
  allOf?: readonly Shape[];
}

/** Of an object from the network. */
export type Fields = Partial<Readonly<Record<string, unknown>>>;

/** A schema may refer to itself, and a stranger may have written it: deeper, or with more parts, it says nothing. */
const MOST_LEVELS = 8;
const MOST_PARTS = 500;
const MOST_STEPS = 100_000;
const NUMBERS = [
  ...(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"] as const),
  ...(["minLength", "maxLength", "minItems", "maxItems"] as const),
];

/** Reads a schema, whatever it is. */
export function readShape(schema: unknown): Shape {
  const root = fieldsOf(schema);
  let parts = 0;

  function read(value: unknown, level: number): Shape {
    const fields = fieldsOf(value);
    if (level > MOST_LEVELS || ++parts > MOST_PARTS) return {};
    const inner = (one: unknown) => read(one, level + 1);
    const list = (many: unknown) => (Array.isArray(many) ? many.slice(0, MOST_PARTS).map(inner) : undefined);
    const said = { title: textIn(fields.title), description: textIn(fields.description), default: fields.default };
    if (typeof fields.$ref === "string") return { ...inner(targetOf(root, fields.$ref)), ...defined(said) };
    const types = typeof fields.type === "string" ? [fields.type] : textsIn(fields.type);
    const properties = Object.entries(fieldsOf(fields.properties)).slice(0, MOST_PARTS);
    const anyOf = list(fields.anyOf) ?? list(fields.oneOf);
    const all: { [Key in keyof Shape]: Shape[Key] | undefined } = {
      ...said,
      types: types && types.length > 0 ? types : undefined,
      unit: textIn(fields.unit),
      isSpan: fields.pattern === SPAN_TEXT.source || undefined,
      enum: Array.isArray(fields.enum) ? fields.enum : Object.hasOwn(fields, "const") ? [fields.const] : undefined,
      properties: properties.length > 0 ? new Map(properties.map(([key, one]) => [key, inner(one)])) : undefined,
      required: textsIn(fields.required),
      others: orFalse(fields.additionalProperties, inner),
      prefixItems: list(fields.prefixItems),
      items: orFalse(fields.items, inner),
      anyOf: anyOf && anyOf.length > 0 ? anyOf : undefined,
      allOf: list(fields.allOf),
    };
    for (const key of NUMBERS) all[key] = numberIn(fields[key]);
    return defined(all);
  }

  return read(schema, 0);
}

function targetOf(root: Fields, reference: string): unknown {
  if (reference === "#") return root;
  const [, group = "", name = ""] = /^#\/(\$defs|definitions)\/([^/]+)$/.exec(reference) ?? [];
  const definitions = fieldsOf(root[group]);
  return Object.hasOwn(definitions, name) ? definitions[name] : undefined;
}

function orFalse(value: unknown, read: (value: unknown) => Shape): Shape | false | undefined {
  if (value === false) return false;
  return typeof value === "object" && value !== null ? read(value) : undefined;
}

/** Why a value doesn't fit, in words, with where in it: `speed: at most 100`; `undefined` where it fits. */
export function faultOf(value: unknown, shape: Shape): string | undefined {
  let steps = 0;

  function check(one: unknown, { anyOf, allOf, ...own }: Shape, path: string): string | undefined {
    // Who has sent so much is answered by the worker.
    if (++steps > MOST_STEPS) return undefined;
    const fault = faultOfOne(one, own);
    if (fault !== undefined) return path === "" ? fault : `${path}: ${fault}`;
    for (const part of allOf ?? []) {
      const why = check(one, part, path);
      if (why !== undefined) return why;
    }
    if (anyOf) {
      const faults = anyOf.map((part) => check(one, part, path));
      // Those of its own type say more.
      const meant = faults.filter((_, index) => anyOf[index]?.types?.some((type) => isOf(type, one)));
      if (!faults.includes(undefined)) return [...new Set(meant.length > 0 ? meant : faults)].slice(0, 4).join(", or ");
    }
    if (Array.isArray(one)) return checkItems(one, own, path);
    return typeof one === "object" && one !== null ? checkProperties(one as Fields, own, path) : undefined;
  }

  function checkItems(list: unknown[], { prefixItems = [], items }: Shape, path: string): string | undefined {
    for (const [index, item] of list.entries()) {
      const part = prefixItems[index] ?? items;
      const at = `${path}[${index}]`;
      if (part === false) return `${at}: at most ${prefixItems.length} items`;
      const why = part && check(item, part, at);
      if (why !== undefined) return why;
    }
    return undefined;
  }

  function checkProperties(fields: Fields, { properties, required = [], others }: Shape, path: string) {
    const at = (key: string) => (path === "" ? key : `${path}.${key}`);
    const missing = required.find((key) => !Object.hasOwn(fields, key));
    if (missing !== undefined) return `${at(missing)}: it is missing`;
    for (const [key, one] of Object.entries(fields)) {
      const part = properties?.get(key) ?? others;
      if (part === false) return `${at(key)}: there is no such key`;
      const why = part && check(one, part, at(key));
      if (why !== undefined) return why;
    }
    return undefined;
  }

  return check(value, shape, "");
}

const SPAN_EXPECTED = "expected ms, or a time such as 5s or 2min";

/** What is wrong with a value itself, not with what is in it. */
function faultOfOne(value: unknown, shape: Shape): string | undefined {
  const { types, minimum, maximum, exclusiveMinimum, exclusiveMaximum } = shape;
  if (types && !types.some((type) => isOf(type, value))) return `expected ${types.join(" or ")}`;
  if (shape.enum && !shape.enum.some((one) => JSON.stringify(one) === JSON.stringify(value)))
    return `expected ${shape.enum.slice(0, 20).map(String).join(" or ")}`;
  if (typeof value === "number") {
    if (minimum !== undefined && value < minimum) return `at least ${minimum}`;
    if (maximum !== undefined && value > maximum) return `at most ${maximum}`;
    if (exclusiveMinimum !== undefined && value <= exclusiveMinimum) return `more than ${exclusiveMinimum}`;
    if (exclusiveMaximum !== undefined && value >= exclusiveMaximum) return `less than ${exclusiveMaximum}`;
  }
  if (typeof value === "string" && shape.isSpan && !SPAN_TEXT.test(value)) return SPAN_EXPECTED;
  if (typeof value === "string") return faultOfLength(value.length, shape.minLength, shape.maxLength, "letters");
  if (Array.isArray(value)) return faultOfLength(value.length, shape.minItems, shape.maxItems, "items");
  return undefined;
}

function faultOfLength(length: number, least: number | undefined, most: number | undefined, what: string) {
  if (least !== undefined && length < least) return `at least ${least} ${what}`;
  if (most !== undefined && length > most) return `at most ${most} ${what}`;
  return undefined;
}

function isOf(type: string, value: unknown): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return Number.isInteger(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type && (type !== "number" || Number.isFinite(value));
}

/** The fields of an object; none of anything else. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

const textIn = (value: unknown) => (typeof value === "string" ? value : undefined);
const numberIn = (value: unknown) => (typeof value === "number" ? value : undefined);
const textsIn = (value: unknown) =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : undefined;
