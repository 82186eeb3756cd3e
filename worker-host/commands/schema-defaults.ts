import { quote } from "../contract/command.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { showKeys } from "./schema.ts";

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
