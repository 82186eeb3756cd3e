import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { duration } from "../../worker-host/base/duration.ts";
import { fieldsFor, readForm } from "../../worker-host/contract/form.ts";
import { faultOf, readShape } from "../../worker-host/contract/json-check.ts";
import { jsonIn, SPAN_TEXT } from "../../worker-host/contract/payload.ts";

const check = (schema: unknown, value: unknown) => faultOf(value, readShape(schema));

test("each rule refuses in words, with where in the value", () => {
  const schema = {
    type: "object",
    properties: {
      ms: { type: "integer", minimum: 0, maximum: 5000 },
      mode: { enum: ["soft", "hard", null] },
      name: { type: "string", minLength: 2, maxLength: 4 },
      list: { type: "array", items: { type: "number", exclusiveMaximum: 10 }, maxItems: 2 },
      pair: { prefixItems: [{ type: "string" }, { $ref: "#/$defs/on" }], items: false },
      either: { anyOf: [{ type: "number" }, { const: "auto" }] },
      both: { allOf: [{ type: "number" }, { minimum: 5 }] },
    },
    required: ["ms"],
    additionalProperties: false,
    $defs: { on: { type: "boolean" } },
  };
  for (const [value, fault] of [
    [{ ms: 5 }, undefined],
    [{ ms: 5, mode: null, name: "abc", list: [1, 2], pair: ["a", true], either: "auto", both: 7 }, undefined],
    [5, "expected object"],
    [{}, "ms: it is missing"],
    [{ ms: -1 }, "ms: at least 0"],
    [{ ms: 5001 }, "ms: at most 5000"],
    [{ ms: 1.5 }, "ms: expected integer"],
    [{ ms: "5" }, "ms: expected integer"],
    [{ ms: 1, mode: "loud" }, "mode: expected soft or hard or null"],
    [{ ms: 1, name: "a" }, "name: at least 2 letters"],
    [{ ms: 1, name: "abcde" }, "name: at most 4 letters"],
    [{ ms: 1, list: [1, 10] }, "list[1]: less than 10"],
    [{ ms: 1, list: [1, 2, 3] }, "list: at most 2 items"],
    [{ ms: 1, pair: ["a", 1] }, "pair[1]: expected boolean"],
    [{ ms: 1, pair: ["a", true, 1] }, "pair[2]: at most 2 items"],
    [{ ms: 1, either: "x" }, "either: expected number, or either: expected auto"],
    [{ ms: 1, both: 3 }, "both: at least 5"],
    [{ ms: 1, more: 3 }, "more: there is no such key"],
    [{ ms: 1, constructor: 3 }, "constructor: there is no such key"],
  ] as const) {
    expect(check(schema, value), JSON.stringify(value)).toBe(fault);
  }
});

test("what zod takes is taken, whatever is tried", () => {
  const types = [
    z.number().int().min(0).max(5000),
    z.enum(["a", "b"]),
    z.object({ x: z.number(), y: z.string().optional() }),
    z.strictObject({ a: z.array(z.boolean()).max(2) }),
    z.union([z.number(), z.string().max(3)]),
    z.tuple([z.number(), z.string()]),
    z.record(z.string(), z.number()),
    z.null(),
  ];
  fc.assert(
    fc.property(fc.constantFrom(...types), fc.jsonValue(), (type, value) => {
      const isTaken = type.safeParse(value).success;
      expect(check(z.toJSONSchema(type, { io: "input" }), value) === undefined).toBe(isTaken);
    }),
  );
});

test("a schema by a stranger never throws, and ends soon", () => {
  const twice = { anyOf: [{ $ref: "#" }, { $ref: "#" }, { $ref: "#" }] };
  expect(check(twice, 5)).toBeUndefined();
  let deep: unknown = {};
  for (let i = 0; i < 5_000; i++) deep = { items: deep, properties: { a: deep } };
  expect(check(deep, [[[[]]]])).toBeUndefined();
  for (const odd of [null, 5, "x", [], { type: 5 }, { $ref: {} }, { $ref: "#/$defs/__proto__" }, { properties: [1] }])
    expect(check(odd, { a: 1 })).toBeUndefined();
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (schema, value) => {
      const shape = readShape(schema);
      faultOf(value, shape);
      readForm(fieldsFor(shape, true), ["", "1", "x"]);
    }),
  );
});

test("a form has a field for each value, and means what is written in it, or says why not", () => {
  const shape = readShape(
    z.toJSONSchema(
      z.object({
        ms: z.number().int().min(0).max(5000).default(750).meta({ description: "How long", unit: "ms" }),
        mode: z.enum(["soft", "hard"]),
        loud: z.boolean().optional(),
        text: z.string().optional(),
        after: z.union([z.number(), z.string()]).optional(),
        steps: z.array(z.number()).optional(),
      }),
      { io: "input" },
    ),
  );
  const fields = fieldsFor(shape, false);
  expect(fields.map(({ key, kind, required, text, hint }) => [key, kind, required, text, hint])).toEqual([
    ["ms", "number", false, "750", "0 to 5000 ms; 750 if left empty"],
    ["mode", "choice", true, "", ""],
    ["loud", "choice", false, "", ""],
    ["text", "text", false, "", "may be left empty"],
    ["after", "words", false, "", "may be left empty"],
    ["steps", "json", false, "", "a JSON list; may be left empty"],
  ]);
  expect(fields[1]?.choices).toEqual(["soft", "hard"]);
  expect(readForm(fields, ["5", '"hard"', "true", "7", "2 s", "[1]"]).args).toEqual({
    ms: 5,
    mode: "hard",
    loud: true,
    text: "7",
    after: "2 s",
    steps: [1],
  });
  expect(readForm(fields, ["", '"soft"', "", "", "2.5", ""]).args).toEqual({ mode: "soft", after: 2.5 });
  expect(readForm(fields, ["", "", "", "", "", ""]).refusal).toBe("mode: it is missing");
  for (const odd of ["1,000", "1,5", "0x10", "1e3", "five", "--1", "Infinity", "1 000", "9".repeat(20)])
    expect(readForm(fields, [odd, '"soft"']).refusal, odd).toBe("ms: expected a number, such as 7 or 2.5");
  expect(readForm(fields, ["5", '"soft"', "", "", "", "[1"]).refusal).toBe("steps: expected JSON");
  const [one, ...more] = fieldsFor(readShape({ anyOf: [{ type: "number" }, { type: "object" }] }), true);
  expect([one?.key, one?.kind, more]).toEqual([undefined, "number", []]);
  expect(readForm([one as never], [" 7 "]).args).toBe(7);
  const referred = readShape({ $ref: "#/$defs/ms", title: "Span", default: 3, $defs: { ms: { type: "number" } } });
  expect(fieldsFor(referred, false)).toMatchObject([{ label: "Span", kind: "number", text: "3", required: false }]);
  const named = z.object({ ms: z.number().optional(), level: z.number() });
  const many = readShape(z.toJSONSchema(z.union([z.number(), z.tuple([z.number()]), named])));
  expect(fieldsFor(many, true).map(({ key, required }) => [key, required])).toEqual([
    ["ms", false],
    ["level", true],
  ]);
});

test("a default that no input can show, or that would be refused, is none", () => {
  for (const args of ['{"type":"number","default":1e999}', '{"type":"integer","maximum":5,"default":7}'])
    expect(fieldsFor(readShape(jsonIn(args)), true)).toMatchObject([
      { text: "", hint: expect.stringMatching(/may be left empty$/) },
    ]);
  for (const odd of ["two\nlines", "\u202Epots"])
    expect(fieldsFor(readShape({ type: "string", default: odd }), true)[0]?.text).toBe("");
  expect(fieldsFor(readShape({ type: "object", default: { a: 1 } }), true)[0]?.text).toBe('{"a":1}');
});

test("a time span has its unit, bounds and default beside it, takes ms and times with a unit, and nothing else", () => {
  const spanOf = (schema: z.ZodType) => {
    const [field] = fieldsFor(readShape(z.toJSONSchema(schema, { io: "input" })), true);
    if (!field) throw new Error("no field");
    return field;
  };
  const field = spanOf(duration().default("5s"));
  expect([field.kind, field.text, field.hint]).toEqual([
    "span",
    "5000",
    "ms, or a time such as 5s or 2min; 5000 if left empty",
  ]);
  for (const [text, value] of [
    ["20000", 20_000],
    [" 2.5 s ", 2500],
    ["2min", 120_000],
    ["", undefined],
  ] as const)
    expect(readForm([field], [text]).args, text).toBe(value);
  for (const odd of ["1,000", "1.000.000", "5 sec", "-1", "soon", "5s 3"])
    expect(readForm([field], [odd]).refusal, odd).toMatch(/expected ms, or a time|at least 0/);
  const bounded = {
    anyOf: [
      { type: "number", maximum: 5000 },
      { type: "string", pattern: SPAN_TEXT.source },
    ],
  };
  const [short] = fieldsFor(readShape(bounded), false);
  expect(short?.hint).toBe("at most 5000 ms, or a time such as 5s or 2min");
  expect(readForm([short as never], ["6s"]).refusal).toBe("at most 5000");
  expect(faultOf("1,000", readShape(bounded))).toBe("expected ms, or a time such as 5s or 2min");
  expect(faultOf("5s", readShape(bounded))).toBeUndefined();
  expect(spanOf(z.number().positive().max(100).meta({ unit: "%" })).hint).toBe(
    "more than 0, at most 100 %; may be left empty",
  );
});
