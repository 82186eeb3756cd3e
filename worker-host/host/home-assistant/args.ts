/** What a command's arguments are, as far as Home Assistant has something to enter them with. */
export interface Args {
  /** What is sent to run it with what its author takes for usual; none where it can't be run so. */
  usual?: { args?: Record<string, never> };
  /** What a person can enter. */
  entry?:
    | { kind: "number"; min: number; max: number; step: number }
    | { kind: "select"; options: string[] }
    | { kind: "switch" }
    | { kind: "text"; min: number; max: number };
}

/** Of an object from the network. */
export type Fields = Readonly<Record<string, unknown>>;

/** A schema from the network may refer to itself, or grow with each level. */
const MOST_ALTERNATIVES = 100;
const DEEPEST = 4;

/** Nobody looks through more. */
const MOST_OPTIONS = 200;

/** Home Assistant's states are no longer than this. */
const LONGEST_STATE = 255;

/** Home Assistant's numbers have no finer step. */
const FINEST_STEP = 0.001;

/** Reads the JSON Schema of a command's args, whoever wrote it; `optional` where it may be sent without. */
export function argsOf(schema: unknown, optional: boolean): Args {
  if (schema === undefined) return { usual: {} };
  const root = fieldsOf(schema);
  const all = alternatives(root, root, 0).filter(({ type }) => type !== "null");
  const usual =
    optional || "default" in root || all.length === 0 ? {} : all.every(isFilledIn) ? { args: {} } : undefined;
  const entry = entryFor(all);
  return { ...(usual ? { usual } : {}), ...(entry ? { entry } : {}) };
}

/** Whether it is an object that may be empty, since each of its properties has a default. */
function isFilledIn({ type, properties, required }: Fields): boolean {
  if (type !== "object" || (Array.isArray(required) && required.length > 0)) return false;
  return Object.values(fieldsOf(properties)).every((property) => "default" in fieldsOf(property));
}

function entryFor(all: Fields[]): Args["entry"] {
  const options = all.flatMap((one) =>
    Array.isArray(one.enum) ? one.enum : "const" in one ? [one.const] : [undefined],
  );
  if (options.length <= MOST_OPTIONS && options.length > 0 && options.every(isOption))
    return { kind: "select", options: [...new Set(options)] };
  const [one] = all;
  if (!one || all.length > 1 || options.some((option) => option !== undefined)) return undefined;
  if (one.type === "boolean") return { kind: "switch" };
  if (one.type === "string") return textEntry(one);
  return one.type === "number" || one.type === "integer" ? numberEntry(one) : undefined;
}

function isOption(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= LONGEST_STATE;
}

function textEntry({ minLength, maxLength }: Fields): Args["entry"] {
  const max = Math.min(LONGEST_STATE, whole(maxLength) ?? LONGEST_STATE);
  const min = whole(minLength) ?? 0;
  return min < max ? { kind: "text", min, max } : undefined;
}

function whole(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

/** None without both bounds: a slider needs them. */
function numberEntry(one: Fields): Args["entry"] {
  const low = bound(one.minimum) ?? bound(one.exclusiveMinimum);
  const high = bound(one.maximum) ?? bound(one.exclusiveMaximum);
  if (low === undefined || high === undefined) return undefined;
  const step = stepOf(one, high - low);
  const min = bound(one.minimum) === undefined ? low + step : low;
  const max = bound(one.maximum) === undefined ? high - step : high;
  return min < max ? { kind: "number", min, max, step } : undefined;
}

/** A bound that somebody set: a whole number's own ends are none. */
function bound(value: unknown): number | undefined {
  return typeof value === "number" && Math.abs(value) < Number.MAX_SAFE_INTEGER ? value : undefined;
}

/** About a hundred steps from end to end, and 1 at most. */
function stepOf({ type, multipleOf }: Fields, range: number): number {
  if (typeof multipleOf === "number" && multipleOf >= FINEST_STEP && multipleOf <= range) return multipleOf;
  if (type === "integer" || range >= 100) return 1;
  return Number(Math.max(FINEST_STEP, 10 ** Math.floor(Math.log10(range / 100))).toFixed(3));
}

/** The alternatives that a value may satisfy, references followed; `[{}]`, which is none of ours, where there are too many. */
function alternatives(schema: Fields, root: Fields, depth: number): Fields[] {
  if (depth > DEEPEST) return [{}];
  const { $ref, anyOf, oneOf, type } = schema;
  if (typeof $ref === "string") {
    const defs = fieldsOf(root.$defs);
    const name = $ref.replace(/^#\/\$defs\//, "");
    return alternatives(fieldsOf(Object.hasOwn(defs, name) ? defs[name] : undefined), root, depth + 1);
  }
  const several = anyOf ?? oneOf;
  if (Array.isArray(several)) {
    if (several.length > MOST_ALTERNATIVES) return [{}];
    // One level of them is what people write; more could multiply.
    return several.flatMap((one) => alternatives(fieldsOf(one), root, Math.max(depth + 1, DEEPEST)));
  }
  if (Array.isArray(type)) return type.slice(0, MOST_ALTERNATIVES).map((one: unknown) => ({ ...schema, type: one }));
  return [schema];
}

/** None where it is no object. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}
