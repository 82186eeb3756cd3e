import { describe, expect, test } from "vitest";
import { describeError, WorkerHostError } from "../../worker-host/contract/errors.ts";
import { decodeText, encodePayload } from "../../worker-host/contract/payload.ts";

const circular: { self?: unknown } = {};
circular.self = circular;

const throwing = (thrown: unknown) => ({
  toJSON() {
    throw thrown;
  },
});

describe("encodePayload", () => {
  test.each<[string, unknown, string]>([
    ["a text", "ok", "ok"],
    ["an empty text", "", ""],
    ["a text that looks like JSON", '{"a": 1}', '{"a": 1}'],
    ["a number", 21.5, "21.5"],
    ["zero", 0, "0"],
    ["a negative zero", -0, "0"],
    ["no number", Number.NaN, "NaN"],
    ["a bigint", 12_345_678_901_234_567_890n, "12345678901234567890"],
    ["true", true, "true"],
    ["false", false, "false"],
    ["null", null, "null"],
    ["nothing", undefined, "null"],
    ["an object", { a: [1, "x", null] }, '{"a":[1,"x",null]}'],
    ["a list", [1, 2], "[1,2]"],
    ["a date", new Date(0), "1970-01-01T00:00:00.000Z"],
    ["an error", new TypeError("no fog"), "TypeError: no fog"],
    ["an object with a form of its own", { toJSON: () => "mine" }, '"mine"'],
    ["an object that has no form", { toJSON: () => undefined }, "null"],
  ])("%s", (_name, value, text) => {
    expect(encodePayload(value)).toBe(text);
  });

  test.each<[string, ArrayBuffer | ArrayBufferView]>([
    ["a Buffer", Buffer.from([1, 2, 255])],
    ["a Uint8Array", Uint8Array.of(1, 2, 255)],
    ["a part of a bigger one", Uint8Array.of(0, 1, 2, 255, 0).subarray(1, 4)],
    ["an ArrayBuffer", Uint8Array.of(1, 2, 255).buffer],
    ["a DataView", new DataView(Uint8Array.of(0, 1, 2, 255).buffer, 1)],
  ])("bytes go as they are: %s", (_name, value) => {
    const encoded = encodePayload(value);
    expect(encoded).toBeInstanceOf(Uint8Array);
    expect([...Buffer.from(encoded)]).toEqual([1, 2, 255]);
  });

  test.each<[string, unknown, string]>([
    ["a function", () => {}, "a function can't be published: give a text, number, boolean or object"],
    ["a symbol", Symbol("x"), "a symbol can't be published"],
    ["a circular object", circular, "an object can't be published: "],
    ["a bigint in an object", { a: 1n }, "an object can't be published: "],
    ["no date", new Date(Number.NaN), "a date can't be published: "],
    ["a Map", new Map([["a", 1]]), "give Object.fromEntries(map)"],
    ["a Set", new Set([1]), "give [...set]"],
    ["an object that throws null", throwing(null), "an object can't be published: thrown: object"],
  ])("%s is refused", (_name, value, says) => {
    expect(() => encodePayload(value)).toThrow(WorkerHostError);
    expect(() => encodePayload(value)).toThrow(expect.objectContaining({ code: "invalid_value" }));
    expect(() => encodePayload(value)).toThrow(says);
  });
});

describe("decodeText", () => {
  test.each(["", "ok", "grüß 👻", "a\u0000b"])("%j survives the wire", (text) => {
    expect(decodeText(new TextEncoder().encode(text))).toBe(text);
  });

  test("gives undefined for bytes that are not UTF-8, and is none the worse for it", () => {
    for (const bytes of [[0xff], [0xc3], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80]]) {
      expect(decodeText(Uint8Array.from(bytes)), String(bytes)).toBeUndefined();
      expect(decodeText(new TextEncoder().encode("after"))).toBe("after");
    }
  });
});

describe("describeError", () => {
  test.each<[string, unknown, string]>([
    ["an error", new TypeError("no fog"), "TypeError: no fog"],
    ["one of ours, which says it all", new WorkerHostError("timeout", "too late"), "too late"],
    ["a text", "boo", "thrown: boo"],
    ["nothing", undefined, "thrown: undefined"],
    ["null", null, "thrown: null"],
    ["an object", { code: 5 }, 'thrown: {"code":5}'],
    ["an object without a prototype", Object.create(null), "thrown: {}"],
    ["a symbol", Symbol("x"), "thrown: Symbol(x)"],
    ["a circular object", circular, "thrown: an object ("],
    ["an object that throws null", throwing(null), "thrown: an object (thrown: object)"],
  ])("%s", (_name, error, text) => {
    expect(describeError(error)).toContain(text);
  });
});
