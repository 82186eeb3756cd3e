import { expect, test } from "vitest";
import { coerceText, type JsonSchema } from "../../worker-host/contract/json-schema.ts";

test.each([
  [`a="two words" b='it is'`, { a: "two words", b: "it is" }],
  [String.raw`a="say \"boo\"" b='c:\fog'`, { a: 'say "boo"', b: String.raw`c:\fog` }],
  [`a='tis b="abc`, { a: "'tis", b: '"abc' }],
  [`a=" b='`, { a: '"', b: "'" }],
])("of %j nothing is lost that is not in quotes", (text, value) => {
  expect(coerceText(text, { type: "object" })).toEqual({ value });
});

test("a schema that holds itself ends", () => {
  const list: JsonSchema = { type: "array", items: { $ref: "#" } };
  const map: JsonSchema = { type: "object", properties: { a: { $ref: "#" } } };
  expect(JSON.stringify(coerceText("x", list).value)).toMatch(/^\[+"x"\]+$/);
  expect(coerceText("a=a=1", map).value).toEqual({ a: { a: "1" } });
  expect(coerceText(`${"a=".repeat(30_000)}1`, map).value).toBeTypeOf("object");
});

test("JSON that is nested too deep is refused, and a number that is too large stays a text", () => {
  const deep = `${"[".repeat(30_000)}${"]".repeat(30_000)}`;
  expect(coerceText(deep, { type: "array" }).refusal).toBe("the arguments are nested more than 100 levels deep");
  expect(coerceText("1e999", { type: "number" }).value).toBe("1e999");
});
