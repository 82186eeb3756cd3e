import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { duration } from "../../worker-host/base/duration.ts";
import {
  formatCommand,
  formatReply,
  parseCommand,
  parseReply,
  quote,
  type Reply,
} from "../../worker-host/contract/command.ts";
import { describeError, WorkerHostError } from "../../worker-host/contract/errors.ts";
import { coerceText, type JsonSchema } from "../../worker-host/contract/json-schema.ts";
import { MAX_COMMAND_BYTES } from "../../worker-host/contract/limits.ts";
import { decodeText, encodePayload, parsePayload } from "../../worker-host/contract/payload.ts";
import { rounds } from "../harness/rounds.ts";

const RUNS = { numRuns: rounds(500) };

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** Any text that UTF-8 can carry. */
const text = fc.string({ unit: "binary" });

/** Also halves of letters, and what regular expressions and parsers trip over. */
const oddText = fc.oneof(
  text,
  fc.string({
    unit: fc.constantFrom(..."{}[]\"'\\=,: \n\t\ufeff\u2028\ud800\udfffa10-.e\u0000", "null", "true", "é👻"),
  }),
);

const word = text.filter((one) => /^\S+$/.test(one));

/** A key that means something to JavaScript. */
const trap = fc.constantFrom("__proto__", "constructor", "prototype", "toString", "valueOf", "hasOwnProperty", "then");

const json = fc.oneof(fc.jsonValue({ stringUnit: "binary" }), fc.dictionary(trap, fc.jsonValue()));

/** As JSON has it: -0 is 0. */
const carried = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/** `[[[…]]]`, up to what a command can hold. */
const deep = fc
  .tuple(fc.constantFrom(["[", "]"], ['{"a":', "}"]), fc.integer({ min: 0, max: 10_000 }))
  .map(([[open = "", close = ""], levels]) => `${open.repeat(levels)}1${close.repeat(levels)}`);

/** What nobody should throw, publish or name a topic with, but can. */
const anything = fc.oneof(
  fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withNullPrototype: true,
    withObjectString: true,
    withSet: true,
    withSparseArray: true,
    withTypedArray: true,
  }),
  fc.anything().map((thrown) => ({
    toJSON() {
      throw thrown;
    },
  })),
  fc.anything().map((value) => ({ toString: value, valueOf: value })),
  fc.string().map(Symbol),
  fc.func(fc.anything()),
  deep.map((one) => JSON.parse(one)),
);

describe("a command", () => {
  const mutated = fc
    .tuple(fc.record({ action: word, args: json, id: json, reply_to: json, expires_at: json }), fc.nat(), oddText)
    .map(([fields, at, put]) => {
      const printed = JSON.stringify(fields);
      const place = at % printed.length;
      return printed.slice(0, place) + put + printed.slice(place + (at % 3));
    });
  const nested = fc
    .tuple(fc.constantFrom("action", "args", "id", "reply_to", "expires_at", "x"), deep)
    .map(([key, value]) => `{"action": "x", "${key}": ${value}}`);

  test("is one, or is refused in words, whatever the bytes", () => {
    const payload = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.oneof(oddText, mutated, nested).map(bytesOf));
    fc.assert(
      fc.property(payload, (bytes) => {
        const { command, refusal } = parseCommand(bytes);
        expect(command === undefined).toBe(refusal !== undefined);
        if (refusal !== undefined) {
          expect(refusal).toMatch(/refused/);
          expect(refusal.length).toBeLessThan(400);
          return;
        }
        expect(command?.action).toMatch(/^\S+$/);
        for (const given of [command?.id, command?.replyTo]) expect(["string", "undefined"]).toContain(typeof given);
        expect(Number.isFinite(command?.expiresAt ?? 0)).toBe(true);
      }),
      RUNS,
    );
  });

  test("arrives as it was sent", () => {
    fc.assert(
      fc.property(word, json, oddText, fc.option(oddText, { nil: undefined }), (action, args, id, replyTo) => {
        const { command } = parseCommand(bytesOf(formatCommand(action, args, id, replyTo)));
        const expected = {
          action,
          args: carried(args) ?? undefined,
          id,
          ...(replyTo === undefined ? {} : { replyTo }),
        };
        expect(command).toEqual(expected);
      }),
      RUNS,
    );
  });

  test("is sent, or can't be in words, whatever its args are", () => {
    fc.assert(
      fc.property(anything, (args) => {
        expect(orRefusal(() => formatCommand("x", args, "a1"))).toSatisfy(isTextOr("invalid_value"));
      }),
      RUNS,
    );
  });

  test("as text is an action and the rest of the line", () => {
    const space = fc.string({ unit: fc.constantFrom(" ", "\t", "\n", "\r"), maxLength: 3 });
    const action = word.filter((one) => !one.startsWith("{"));
    const rest = text.map((one) => one.trim()).filter((one) => one !== "");
    fc.assert(
      fc.property(action, rest, space, space, (name, args, outside, between) => {
        const sent = `${outside}${name} ${between}${args}${outside}`;
        expect(parseCommand(bytesOf(sent))).toEqual({ command: { action: name, args, text: true } });
      }),
      RUNS,
    );
  });

  test("of more than 64 KiB is refused, whatever is in it", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5_000 }), fc.constantFrom("x", " ", "\u0000", "{"), (over, fill) => {
        const printed = formatCommand("fire", fill.repeat(10), "a1");
        const { refusal } = parseCommand(bytesOf(printed.padEnd(MAX_COMMAND_BYTES + over, fill)));
        expect(refusal).toContain(`at most ${MAX_COMMAND_BYTES}`);
      }),
    );
  });

  test("takes nothing from keys that mean something to JavaScript", () => {
    fc.assert(
      fc.property(fc.dictionary(trap, json), (traps) => {
        const known = Object.getOwnPropertyNames(Object.prototype);
        expect(parseCommand(bytesOf(JSON.stringify(traps))).refusal).toContain('no "action"');
        const inside = parseCommand(bytesOf(JSON.stringify({ __proto__: null, ...traps, action: "x" })));
        expect(inside).toEqual({ command: { action: "x", args: undefined } });
        expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(known);
      }),
    );
  });
});

test("any value can be quoted and described in few words", () => {
  fc.assert(
    fc.property(anything, (value) => {
      if (typeof value !== "bigint") expect(quote(value).length).toBeLessThan(70);
      expect(typeof describeError(value)).toBe("string");
    }),
    RUNS,
  );
});

describe("a payload", () => {
  test("is text or bytes, or the value has none, in words", () => {
    fc.assert(
      fc.property(anything, (value) => {
        expect(orRefusal(() => encodePayload(value))).toSatisfy(
          (got) => got instanceof Uint8Array || isTextOr("invalid_value")(got),
        );
      }),
      RUNS,
    );
  });

  test("means what was published", () => {
    fc.assert(
      fc.property(json, (value) => {
        const payload = encodePayload(value);
        const expected = typeof value === "string" ? value : carried(value);
        const sent = decodeText(bytesOf(String(payload)));
        if (typeof value !== "string") expect(parsePayload(sent ?? "")).toEqual(expected);
        else expect(payload).toBe(value);
      }),
      RUNS,
    );
  });

  test("is read, whatever the text, and is the text where it is no JSON", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          oddText,
          json.map((one) => JSON.stringify(one)),
        ),
        (one) => {
          const read = parsePayload(one);
          if (read !== one) expect(read).toEqual(JSON.parse(one));
          else expect(/^\s/.test(one) || !isJson(one)).toBe(true);
        },
      ),
      RUNS,
    );
    fc.assert(fc.property(deep, (one) => typeof parsePayload(one) !== "string"));
  });

  test("is UTF-8 that comes back as the same bytes, or none", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), text.map(bytesOf)), (bytes) => {
        const read = decodeText(bytes);
        const bare = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
        if (read === undefined) expect(Buffer.from(bytes).toString()).toContain("\ufffd");
        else expect(Buffer.from(bytesOf(read)).equals(bare)).toBe(true);
      }),
      RUNS,
    );
  });
});

describe("a reply", () => {
  const reply = fc.record(
    {
      id: oddText,
      status: fc.constantFrom("ok" as const, "error" as const),
      result: json,
      error: oddText,
      refused: fc.constant(true as const),
      ms: fc.nat(),
    },
    { requiredKeys: ["status", "ms"] },
  );

  test("arrives as it was sent", () => {
    fc.assert(
      fc.property(reply, (sent) => {
        expect(parseReply(bytesOf(formatReply(sent as Reply)))).toEqual(carried(sent));
      }),
      RUNS,
    );
  });

  test("says so where its result has no JSON", () => {
    fc.assert(
      fc.property(anything, (result) => {
        const read = parseReply(bytesOf(formatReply({ id: "a1", status: "ok", result, ms: 1 })));
        expect(read).toMatchObject({ id: "a1", ms: 1 });
        if (read?.status !== "ok") expect(read?.error).toMatch(/^its result is (not JSON|nested more)/);
      }),
      RUNS,
    );
  });

  test("is one with the right types, or none, whatever the bytes", () => {
    const fields = fc.record({
      id: json,
      status: fc.constantFrom("ok", "error", 1),
      error: json,
      ms: json,
      refused: json,
    });
    const payload = fc.oneof(
      fc.uint8Array(),
      fc
        .oneof(
          oddText,
          deep,
          fields.map((one) => JSON.stringify(one)),
        )
        .map(bytesOf),
    );
    fc.assert(
      fc.property(payload, (bytes) => {
        const read = parseReply(bytes);
        if (read === undefined) return;
        expect(["ok", "error"]).toContain(read.status);
        expect(typeof read.ms).toBe("number");
        expect(["string", "undefined"]).toContain(typeof read.id);
        expect(["string", "undefined"]).toContain(typeof read.error);
        expect([true, undefined]).toContain(read.refused);
      }),
      RUNS,
    );
  });
});

describe("a text under a schema", () => {
  const name = fc.stringMatching(/^[A-Za-z_][\w.-]{0,6}$/);
  const { schema } = fc.letrec<{ schema: JsonSchema }>((tie) => ({
    schema: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom("number", "integer", "boolean", "string", "null", "object", "array").map((type) => ({ type })),
      fc
        .array(fc.constantFrom("number", "boolean", "string", "null", "array"), { minLength: 1 })
        .map((type) => ({ type })),
      fc.array(json, { maxLength: 3 }).map((values) => ({ enum: values })),
      json.map((value) => ({ const: value })),
      fc.constantFrom({ $ref: "#" }, { $ref: "#/$defs/none" }, { $ref: "#/$defs/constructor" }, {}),
      tie("schema").map((items) => ({ type: "array", items })),
      fc.array(tie("schema"), { maxLength: 3 }).map((prefixItems) => ({ type: "array", prefixItems, items: false })),
      fc
        .dictionary(fc.oneof(name, trap), tie("schema"), { maxKeys: 3 })
        .map((properties) => ({ type: "object", properties })),
      fc
        .tuple(fc.constantFrom("anyOf", "oneOf", "allOf"), fc.array(tie("schema"), { minLength: 1, maxLength: 3 }))
        .map(([key, options]) => ({ [key]: options })),
    ) as fc.Arbitrary<JsonSchema>,
  }));
  const value = (given: string, type: string) => coerceText(given, { type }).value;

  test("is a value, or is refused in words, whatever text and schema are", () => {
    const pairs = fc
      .array(fc.tuple(fc.oneof(name, trap), oddText))
      .map((all) => all.map((one) => one.join("=")).join(" "));
    const chain = fc.integer({ min: 0, max: 5_000 }).map((levels) => `${"a=".repeat(levels)}1`);
    fc.assert(
      fc.property(
        fc.oneof(
          oddText,
          pairs,
          chain,
          deep,
          json.map((one) => JSON.stringify(one)),
        ),
        schema,
        (given, wanted) => {
          const coerced = coerceText(given, wanted);
          expect(Object.keys(coerced).length).toBe(1);
          if (coerced.refusal !== undefined) expect(coerced.refusal).toMatch(/^(\S+: )*the arguments are /);
          if (typeof coerced.value === "number" && wanted.type) expect(Number.isFinite(coerced.value)).toBe(true);
        },
      ),
      RUNS,
    );
  });

  test("is the number, the word or the text that it names", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), text, (number, other) => {
        expect(value(String(number), "number")).toBe(number === 0 ? 0 : number);
        if (!/[\d"]/.test(other)) {
          expect(value(other, "number")).toBe(other);
          expect(value(other, "string")).toBe(other);
        }
      }),
      RUNS,
    );
    fc.assert(
      fc.property(
        fc.constantFrom("on", "true", "yes", "1", "off", "false", "no", "0"),
        fc.boolean(),
        (given, upper) => {
          expect(value(upper ? given.toUpperCase() : given, "boolean")).toBe(/^(on|true|yes|1)$/.test(given));
        },
      ),
    );
  });

  test("with pairs is an object with each value as it was written", () => {
    const quoted = oddText.map((one) => [one, `"${one.replaceAll(/["\\]/g, "\\$&")}"`]);
    const single = oddText.filter((one) => !one.includes("'")).map((one) => [one, `'${one}'`]);
    const bare = word.filter((one) => !/^(".*"|'.*')$/.test(one)).map((one) => [one, one]);
    const pairs = fc.dictionary(fc.oneof(name, trap), fc.oneof(quoted, single, bare), { minKeys: 1 });
    fc.assert(
      fc.property(pairs, (all) => {
        const written = Object.entries(all).map(([key, [, form]]) => `${key}=${form}`);
        const expected = Object.entries(all).map(([key, [meant]]) => [key, meant]);
        const got = coerceText(written.join(" "), { type: "object" }).value;
        expect(Object.entries(got as object)).toEqual(expected);
      }),
      RUNS,
    );
  });

  test("with words is a list of them", () => {
    const numbers = fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1 });
    fc.assert(
      fc.property(numbers, fc.constantFrom(" ", ", ", ",", "  "), (all, between) => {
        const schemaOfList = { type: "array", items: { type: "number" } };
        const got = coerceText(all.map(String).join(between), schemaOfList).value;
        expect(got).toEqual(all.map((one) => one + 0));
      }),
    );
  });
});

describe("a time span", () => {
  const span = duration();

  test("is 0 ms or more, and less than for ever, or is refused, whatever is given", () => {
    const digits = fc.string({ unit: fc.constantFrom(..."0123456789"), minLength: 1, maxLength: 400 });
    const near = fc.tuple(digits, fc.constantFrom("", " ", ".5", "e9"), fc.constantFrom("ms", "s", "min", "h", "d"));
    fc.assert(
      fc.property(
        fc.oneof(
          anything,
          oddText,
          fc.double(),
          near.map((parts) => parts.join("")),
        ),
        (given) => {
          const { success, data } = span.safeParse(given);
          if (success) expect(data >= 0 && Number.isFinite(data)).toBe(true);
        },
      ),
      RUNS,
    );
  });

  test("is as long as it says", () => {
    const unit = fc.constantFrom(["ms", 1], ["s", 1_000], ["min", 60_000], ["h", 3_600_000]) as fc.Arbitrary<
      [string, number]
    >;
    fc.assert(
      fc.property(fc.nat(), fc.nat({ max: 999 }), unit, fc.constantFrom("", " "), (whole, part, [name, ms], space) => {
        const count = `${whole}.${String(part).padStart(3, "0")}`;
        expect(span.parse(`${count}${space}${name}`)).toBe(Number(count) * ms);
        expect(span.parse(whole)).toBe(whole);
      }),
    );
  });
});

/** What a function gives, or the error of ours that it throws. */
function orRefusal(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    if (error instanceof WorkerHostError) return error;
    throw error;
  }
}

function isTextOr(code: string): (got: unknown) => boolean {
  return (got) => typeof got === "string" || (got instanceof WorkerHostError && got.code === code);
}

function isJson(given: string): boolean {
  try {
    JSON.parse(given);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
