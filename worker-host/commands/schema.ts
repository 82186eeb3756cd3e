import { isDeepStrictEqual } from "node:util";
import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec";
import { HIDDEN } from "../base/log.ts";
import { quote } from "../contract/command.ts";
import { describeError, WorkerHostError } from "../contract/errors.ts";
import { alternatives, type JsonSchema, layers } from "../contract/json-schema.ts";

/** A zod schema, or any other Standard Schema that gives its JSON Schema. */
export type Schema<Output = unknown> = StandardSchemaV1<unknown, Output> & StandardJSONSchemaV1<unknown, Output>;

/** The type of what a schema lets through. */
export type InferOutput<S extends Schema> = StandardSchemaV1.InferOutput<S>;

/** One thing that is wrong with a value. */
export interface Fault {
  /** The way to it, from the value's root. */
  keys: readonly PropertyKey[];
  /** `duration_ms: expected number, got "5s"` */
  text: string;
}

/** A value that its schema lets through, or all that is wrong with it. */
export type Validated<T> = { value: T; faults?: never } | { value?: never; faults: Fault[] };

/** The JSON Schema of what `schema` takes, or of what it gives; `what` names it in the error. */
export function jsonSchemaOf(schema: Schema, what: string, side: "input" | "output" = "input"): JsonSchema {
  try {
    // zod throws at a type that JSON has no word for unless told otherwise.
    return schema["~standard"].jsonSchema[side]({
      target: "draft-2020-12",
      libraryOptions: { unrepresentable: "any" },
    }) as JsonSchema;
  } catch (cause) {
    throw new WorkerHostError(
      "load_failed",
      `${what} is no schema that gives its JSON Schema: write it with "z" from "worker-host"`,
      { cause },
    );
  }
}

/** Whether `value` can be asked for its JSON Schema and can validate. */
export function isSchema(value: unknown): value is Schema {
  const standard = (value as Partial<Schema> | null | undefined)?.["~standard"];
  return typeof standard?.validate === "function" && typeof standard.jsonSchema?.input === "function";
}

/**
 * Validates at once where the schema can; a schema with asynchronous checks gives a promise. A check that throws is a fault.
 *
 * @param shown the value as faults may quote it
 */
export function validate<T>(
  schema: Schema<T>,
  value: unknown,
  json: JsonSchema,
  shown: unknown = value,
): Validated<T> | Promise<Validated<T>> {
  const explain = (done: StandardSchemaV1.Result<T>): Validated<T> =>
    done.issues ? { faults: done.issues.map((issue) => explainIssue(issue, shown, json)) } : { value: done.value };
  const failed = (error: unknown): Validated<T> => {
    // Its message may quote a part of the value.
    const quoted = isDeepStrictEqual(value, shown);
    const why = quoted ? describeError(error) : error instanceof Error ? error.name : "it threw";
    return { faults: [{ keys: [], text: `its schema can't check this: ${why}` }] };
  };
  try {
    const result = schema["~standard"].validate(value);
    return result instanceof Promise ? result.then(explain).catch(failed) : explain(result);
  } catch (error) {
    return failed(error);
  }
}

function explainIssue({ message, path = [] }: StandardSchemaV1.Issue, value: unknown, json: JsonSchema): Fault {
  const keys = path.map((step) => (typeof step === "object" ? step.key : step));
  const found = at(value, keys);
  // What zod says of the type that it found says less than the value itself.
  const expectation = message.replace(/^Invalid input: /, "").replace(/, received .*$/, "");
  const place = keys.length > 0 ? `${showKeys(keys)}: ` : "";
  const isSecret = isMarked(json, keys, "secret");
  const got = isSecret ? "something else" : found === undefined ? "nothing" : quote(withoutSecrets(found, json, keys));
  return { keys, text: `${place}${expectation}, got ${got}` };
}

function at(value: unknown, keys: readonly PropertyKey[]): unknown {
  return keys.reduce<unknown>(
    (inner, key) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, key) : undefined),
    value,
  );
}

/** `targets[0].ms` */
export function showKeys(keys: readonly PropertyKey[]): string {
  return keys
    .map((key, index) => (typeof key === "number" ? `[${key}]` : `${index > 0 ? "." : ""}${String(key)}`))
    .join("");
}

/** The schemas of what stands at `key` in a value of `schema`. */
function inside(schema: JsonSchema, key: PropertyKey, root: JsonSchema): JsonSchema[] {
  return alternatives(schema, root).flatMap((one) => {
    if (typeof key === "number") {
      const item = one.prefixItems?.[key] ?? one.items;
      return typeof item === "object" ? [item] : [];
    }
    const own = Object.hasOwn(one.properties ?? {}, key) ? one.properties?.[String(key)] : undefined;
    return own ? [own] : typeof one.additionalProperties === "object" ? [one.additionalProperties] : [];
  });
}

/** Whether what stands at `keys`, or holds it, is marked so: `.meta({ secret: true })`. */
export function isMarked(schema: JsonSchema, keys: readonly PropertyKey[], mark: "secret" | "author"): boolean {
  let here = [schema];
  for (const key of [...keys, undefined]) {
    if (here.some((one) => layers(one, schema).some((layer) => layer[mark] === true))) return true;
    if (key !== undefined) here = here.flatMap((one) => inside(one, key, schema));
  }
  return false;
}

/** A copy of what stands at `keys`, with a word in the place of what its schema marks as secret. */
function withoutSecrets(value: unknown, schema: JsonSchema, keys: readonly PropertyKey[]): unknown {
  if (isMarked(schema, keys, "secret")) return HIDDEN;
  if (Array.isArray(value)) return value.map((item, index) => withoutSecrets(item, schema, [...keys, index]));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, item]) => [key, withoutSecrets(item, schema, [...keys, key])]);
  return Object.fromEntries(entries);
}

/** The texts and numbers in `value` that its schema marks as secret. */
export function secretTexts(value: unknown, schema: JsonSchema): string[] {
  const look = (inner: unknown, keys: PropertyKey[]): string[] => {
    if (typeof inner === "object" && inner !== null) {
      const list = Array.isArray(inner);
      return Object.entries(inner).flatMap(([key, item]) => look(item, [...keys, list ? Number(key) : key]));
    }
    const isText = typeof inner === "string" || typeof inner === "number";
    return isText && isMarked(schema, keys, "secret") ? [String(inner)] : [];
  };
  return look(value, []);
}

/** Keywords whose value is a map of schemas by names. */
const MAPS: ReadonlySet<string> = new Set(["properties", "patternProperties", "$defs"]);
/** Keywords whose value is a value, or values, that the schema takes. */
const VALUES: ReadonlySet<string> = new Set(["default", "examples", "const", "enum"]);

/** A copy of a schema without the values that it names for what is secret, such as defaults. */
export function publicSchema(schema: JsonSchema): JsonSchema {
  const copy = (given: unknown, isSecret: boolean): unknown => {
    if (Array.isArray(given)) return given.map((one) => copy(one, isSecret));
    if (typeof given !== "object" || given === null) return given;
    const one = given as JsonSchema;
    const hides = isSecret || one.secret === true;
    const entries = Object.entries(one).flatMap(([key, value]) => {
      if (key === "$schema" || (hides && VALUES.has(key))) return [];
      if (MAPS.has(key)) {
        const inner = Object.entries(Object(value)).map(([name, each]) => [name, copy(each, hides)]);
        return [[key, Object.fromEntries(inner)]];
      }
      if (key === "default") return [[key, publicValues(value, one, schema)]];
      if (key === "examples" && Array.isArray(value))
        return [[key, value.map((each) => publicValues(each, one, schema))]];
      return [[key, VALUES.has(key) ? value : copy(value, hides)]];
    });
    return Object.fromEntries(entries);
  };
  return copy(schema, false) as JsonSchema;
}

/**
 * A copy of `value` with its schema's defaults, without what it marks as secret, and without what it doesn't know.
 *
 * @param root what the schema is a part of, for its references
 */
export function publicValues(value: unknown, schema: JsonSchema, root: JsonSchema = schema): unknown {
  const copy = (given: unknown, schemas: JsonSchema[]): unknown => {
    const options = schemas.flatMap((one) => alternatives(one, root));
    const all = schemas.flatMap((one) => layers(one, root));
    if (all.some(({ secret }) => secret === true)) return undefined;
    const inner = given === undefined ? all.find((one) => one.default !== undefined)?.default : given;
    if (Array.isArray(inner)) {
      return inner.map((item, index) =>
        copy(
          item,
          options.flatMap((one) => inside(one, index, root)),
        ),
      );
    }
    if (typeof inner !== "object" || inner === null) return inner;
    const names = new Set([...options.flatMap((one) => Object.keys(one.properties ?? {})), ...Object.keys(inner)]);
    const entries = [...names].flatMap((name) => {
      const known = options.flatMap((one) => inside(one, name, root));
      const open = options.some(({ properties }) => properties === undefined);
      if (known.length === 0 && !open) return [];
      const item = copy(Object.hasOwn(inner, name) ? Reflect.get(inner, name) : undefined, known);
      return item === undefined ? [] : [[name, item]];
    });
    return Object.fromEntries(entries);
  };
  return copy(value, [schema]);
}

/** The keys of `value` that its schema does not know, each with the ones that it knows there. */
export function unknownKeys(value: unknown, schema: JsonSchema): { keys: PropertyKey[]; known: string[] }[] {
  const look = (
    inner: unknown,
    schemas: JsonSchema[],
    keys: PropertyKey[],
  ): { keys: PropertyKey[]; known: string[] }[] => {
    if (typeof inner !== "object" || inner === null) return [];
    const options = schemas.flatMap((one) => alternatives(one, schema));
    const known = options.flatMap((one) => Object.keys(one.properties ?? {}));
    const closed =
      known.length > 0 && options.every(({ additionalProperties: rest }) => rest === undefined || rest === false);
    return Object.entries(inner).flatMap(([name, item]) => {
      const key = Array.isArray(inner) ? Number(name) : name;
      if (closed && !Array.isArray(inner) && !known.includes(name)) return [{ keys: [...keys, name], known }];
      return look(
        item,
        options.flatMap((one) => inside(one, key, schema)),
        [...keys, key],
      );
    });
  };
  return look(value, [schema], []);
}

/** What is looked at of a zod schema; other Standard Schemas say nothing of themselves. */
interface ZodLike {
  _zod: { def: Record<string, unknown> & { type: string } };
  safeParse(value: unknown): { success: boolean; error?: { issues: readonly { message: string }[] } };
}

type Keys = readonly PropertyKey[];

/**
 * A default takes the place of what a schema gives, and is not checked by it: text for a number would reach the worker.
 *
 * @param what names the schema in the error
 * @throws WorkerHostError `load_failed` where a default isn't what its schema gives
 */
export function assertDefaults(schema: unknown, what: string): void {
  const faults = [...faultsIn(schema, [], new Set())];
  if (faults.length > 0) throw new WorkerHostError("load_failed", `${what}: ${faults.join("; ")}`);
}

function* faultsIn(schema: unknown, keys: Keys, seen: Set<ZodLike>): Generator<string> {
  if (!isZod(schema) || seen.has(schema)) return;
  seen.add(schema);
  const { def } = schema._zod;
  if (def.type === "default") {
    const fault = misfit(def.innerType, def.defaultValue);
    const place = keys.length > 0 ? `${showKeys(keys)}: ` : "";
    if (fault !== undefined) yield `${place}the default is ${quote(def.defaultValue)}: ${fault}`;
  }
  for (const [key, inner] of Object.entries(shapeOf(def))) yield* faultsIn(inner, [...keys, key], seen);
  for (const inner of [def.innerType, def.element, def.valueType, def.in, def.out, ...listOf(def.options)])
    yield* faultsIn(inner, keys, seen);
}

/** Why a value can't be what a schema gives, in words; `undefined` where it can, or where only running it would tell. */
function misfit(schema: unknown, value: unknown): string | undefined {
  if (!isZod(schema)) return undefined;
  const { def } = schema._zod;
  switch (def.type) {
    case "optional":
    case "default":
    case "prefault":
      return value === undefined ? undefined : misfit(def.innerType, value);
    case "nullable":
      return value === null ? undefined : misfit(def.innerType, value);
    case "readonly":
    case "nonoptional":
    case "catch":
      return misfit(def.innerType, value);
    case "pipe":
      return misfit(def.out, value);
    case "object": {
      if (typeof value !== "object" || value === null) return "expected object";
      const faults = Object.entries(shapeOf(def)).map(([key, inner]) => {
        const fault = misfit(inner, Reflect.get(value, key));
        return fault && `${key}: ${fault}`;
      });
      return faults.find((fault) => fault !== undefined);
    }
    case "array":
      if (!Array.isArray(value)) return "expected array";
      return value.map((item) => misfit(def.element, item)).find((fault) => fault !== undefined);
    case "union": {
      const faults = listOf(def.options).map((option) => misfit(option, value));
      return faults.includes(undefined) ? undefined : faults[0];
    }
    case "number":
    case "int":
    case "bigint":
    case "boolean":
    case "string":
    case "enum":
    case "literal":
      return misfitOfLeaf(schema, value);
    default:
      return undefined;
  }
}

function misfitOfLeaf(schema: ZodLike, value: unknown): string | undefined {
  try {
    const { success, error } = schema.safeParse(value);
    return success ? undefined : (error?.issues[0]?.message ?? "it doesn't fit").replace(/^Invalid input: /, "");
  } catch {
    // Its checks are asynchronous.
    return undefined;
  }
}

function isZod(schema: unknown): schema is ZodLike {
  return typeof (schema as Partial<ZodLike> | null | undefined)?._zod?.def?.type === "string";
}

function shapeOf({ shape }: Record<string, unknown>): object {
  return typeof shape === "object" && shape !== null ? shape : {};
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
