import fc from "fast-check";
import { expect, test } from "vitest";
import { Topics } from "../worker-host/contract/topics.ts";
import { argsOf, readDescription } from "../worker-host/host/home-assistant/described.ts";
import { Devices } from "../worker-host/host/home-assistant/entities.ts";
import { takeDevice } from "./harness/home-assistant.ts";
import { rounds } from "./harness/rounds.ts";

const devices = new Devices(new Topics("halloween"), "1.0.0");

const name = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("start", "stop", "__proto__", "a/b", "{{ x }}"));
const bound = fc.oneof(fc.double(), fc.integer({ min: -300, max: 300 }), fc.constantFrom(1e300, null, "1"));
const schema = fc.letrec((tie) => ({
  any: fc.oneof({ depthSize: "small" }, tie("one"), tie("several"), fc.jsonValue()),
  several: fc.record({ anyOf: fc.array(tie("any"), { maxLength: 5 }) }),
  one: fc.record(
    {
      type: fc.oneof(
        fc.constantFrom("number", "integer", "string", "boolean", "object", "null"),
        fc.array(fc.constantFrom("number", "null"), { maxLength: 2 }),
      ),
      minimum: bound,
      maximum: bound,
      exclusiveMinimum: bound,
      exclusiveMaximum: bound,
      multipleOf: bound,
      minLength: bound,
      maxLength: bound,
      default: fc.jsonValue(),
      enum: fc.array(fc.oneof(fc.string(), fc.jsonValue())),
      const: fc.jsonValue(),
      $ref: fc.constantFrom("#", "#/$defs/a", "x"),
      $defs: fc.record({ a: tie("any") }),
      properties: fc.dictionary(fc.string(), tie("any"), { maxKeys: 3 }),
    },
    { requiredKeys: [] },
  ),
})).any;
const widget = fc.record(
  { label: fc.string({ unit: "binary" }), icon: fc.oneof(fc.string(), fc.constant("mdi:ghost")), hidden: fc.boolean() },
  { requiredKeys: [] },
);
const described = fc.record(
  {
    contract: fc.constant(1),
    name,
    area: name,
    class: fc.oneof(name, fc.jsonValue()),
    board: fc.oneof(fc.constant("esp32"), fc.jsonValue()),
    commands: fc.oneof(
      fc.jsonValue(),
      fc.dictionary(name, fc.record({ args: schema, args_optional: fc.boolean(), widget }, { requiredKeys: [] })),
    ),
    telemetry: fc.dictionary(
      name,
      fc.record(
        { type: fc.constantFrom("number", "boolean", "object", "string", 3), unit: name, widget },
        { requiredKeys: [] },
      ),
    ),
  },
  { requiredKeys: ["contract"] },
);

/** What Home Assistant is told of a prop that describes itself so. */
function told(description: unknown) {
  const read = readDescription(Buffer.from(JSON.stringify(description)));
  const device = devices.prop({ id: "fogger", about: {}, described: read.described });
  return takeDevice(JSON.stringify(device));
}

test("whatever is described, Home Assistant takes it, and each entity has an id of its own", () => {
  fc.assert(
    fc.property(described, (description) => {
      const { components } = told(description);
      const ids = Object.values(components).map((one) => ("unique_id" in one ? one.unique_id : ""));
      expect(new Set(ids).size).toBe(ids.length);
    }),
    { numRuns: rounds(100) },
  );
});

test("any bytes are a description, or are none for a reason", () => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), fc.json().map(Buffer.from)), (bytes) => {
      const { described: read, fault } = readDescription(bytes);
      expect(read === undefined).toBe(typeof fault === "string");
    }),
  );
});

test("thousands of commands and values are no more than two hundred entities or so", () => {
  const many = (count: number, entry: object) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`n${i}`, entry]));
  const { components } = told({ contract: 1, commands: many(2000, {}), telemetry: many(2000, {}) });
  expect(Object.keys(components).length).toBeLessThanOrEqual(202);
});

test("a schema that multiplies with each level is given up", () => {
  const doubling: Record<string, object> = {};
  for (let i = 0; i < 60; i++)
    doubling[`d${i}`] = { anyOf: [{ $ref: `#/$defs/d${i + 1}` }, { $ref: `#/$defs/d${i + 1}` }] };
  expect(argsOf({ $ref: "#/$defs/d0", $defs: doubling }, false)).toEqual({});
});

test.each([
  [
    { type: "integer", minimum: 0, maximum: 255 },
    { kind: "number", min: 0, max: 255, step: 1 },
  ],
  [
    { type: "number", minimum: 0, maximum: 1 },
    { kind: "number", min: 0, max: 1, step: 0.01 },
  ],
  [
    { type: "number", exclusiveMinimum: 0, maximum: 500 },
    { kind: "number", min: 1, max: 500, step: 1 },
  ],
  [
    { type: "number", minimum: 0, maximum: 90, multipleOf: 15 },
    { kind: "number", min: 0, max: 90, step: 15 },
  ],
  [
    { type: ["integer", "null"], minimum: 1, maximum: 4 },
    { kind: "number", min: 1, max: 4, step: 1 },
  ],
  [{ type: "number", minimum: 0 }, undefined],
  [{ type: "integer", minimum: -9007199254740991, maximum: 9007199254740991 }, undefined],
  [
    { type: "string", enum: ["a", "b"] },
    { kind: "select", options: ["a", "b"] },
  ],
  [{ anyOf: [{ const: "a" }, { const: "b" }, { type: "null" }] }, { kind: "select", options: ["a", "b"] }],
  [
    { anyOf: [{ anyOf: [{ const: "a" }, { const: "b" }] }, { const: "c" }] },
    { kind: "select", options: ["a", "b", "c"] },
  ],
  [{ enum: [1, 2] }, undefined],
  [{ type: "boolean" }, { kind: "switch" }],
  [
    { type: "string", maxLength: 9 },
    { kind: "text", min: 0, max: 9 },
  ],
  [{ anyOf: [{ type: "number", minimum: 0, maximum: 9 }, { type: "string" }] }, undefined],
  [{ type: "object", properties: {} }, undefined],
])("args %j are entered as %j", (args, entry) => {
  expect(argsOf(args, false).entry).toEqual(entry);
});

test.each([
  [undefined, false, {}],
  [{ type: "string" }, true, {}],
  [{ type: "string" }, false, undefined],
  [{ type: "number", default: 3 }, false, {}],
  [{ $ref: "#/$defs/ms", default: 3, $defs: { ms: { type: "number" } } }, false, {}],
  [{ type: "object", properties: { ms: { default: 3 } } }, false, { args: {} }],
  [{ type: "object", properties: { ms: { type: "number" } } }, false, undefined],
  [{ type: "object", properties: { ms: { default: 3 } }, required: ["x"] }, false, undefined],
])("args %j, which may be left out: %j, are usually %j", (args, optional, usual) => {
  expect(argsOf(args, optional).usual).toEqual(usual);
});
