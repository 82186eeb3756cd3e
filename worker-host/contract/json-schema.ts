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
