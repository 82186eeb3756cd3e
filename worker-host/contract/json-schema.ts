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
}

/** The alternatives that a value may satisfy, references followed, each with a type of its own. */
export function alternatives(schema: JsonSchema, root: JsonSchema = schema, depth = 0): JsonSchema[] {
  // A schema may refer to itself.
  if (depth > 16) return [schema];
  const deeper = (inner: JsonSchema) => alternatives(inner, root, depth + 1);
  if (schema.$ref !== undefined) {
    const name = schema.$ref.replace(/^#\/\$defs\//, "");
    const target = schema.$ref === "#" ? root : root.$defs?.[name];
    return target ? deeper(target) : [schema];
  }
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return several.flatMap(deeper);
  if (schema.allOf) return schema.allOf.flatMap(deeper);
  if (Array.isArray(schema.type)) return schema.type.map((type: string) => ({ ...schema, type }));
  return [schema];
}
