import { describe, expect, test } from "vitest";
import { formatCommand, parseCommand, quote } from "../../worker-host/contract/command.ts";
import { MAX_COMMAND_BYTES } from "../../worker-host/contract/limits.ts";

const parse = (payload: string | number[]) =>
  parseCommand(typeof payload === "string" ? new TextEncoder().encode(payload) : Uint8Array.from(payload));

describe("a command that is run", () => {
  test.each<[payload: string, action: string, args: unknown]>([
    ["ping", "ping", undefined],
    ["ping hello", "ping", "hello"],
    ["say hello  big   world", "say", "hello  big   world"],
    ["fire 750", "fire", "750"],
    ["  fire   750  \n", "fire", "750"],
    ["fire\t750", "fire", "750"],
    ["fire ", "fire", undefined],
    ["say one\ntwo", "say", "one\ntwo"],
    ["set null", "set", "null"],
    ["move x=1 y=2", "move", "x=1 y=2"],
    ['say {"a": 1}', "say", '{"a": 1}'],
    ["[1]", "[1]", undefined],
    ['"ping"', '"ping"', undefined],
    ["\ufeffping", "ping", undefined],
    ["sag grüß-👻", "sag", "grüß-👻"],
    ["constructor x", "constructor", "x"],
    ['{"action": "ping"}', "ping", undefined],
    [' \n{"action": "ping"}\n', "ping", undefined],
    ['{"action": " ping "}', "ping", undefined],
    ['{"action": "fire", "args": 750}', "fire", 750],
    ['{"action": "fire", "args": "750"}', "fire", "750"],
    ['{"action": "set", "args": null}', "set", undefined],
    ['{"action": "set", "args": false}', "set", false],
    ['{"action": "set", "args": 0}', "set", 0],
    ['{"action": "set", "args": ""}', "set", ""],
    ['{"action": "move", "args": {"x": 1, "y": [2, null]}}', "move", { x: 1, y: [2, null] }],
    ['{"action": "ping", "colour": "red"}', "ping", undefined],
    ['{"action": "ping", "action": "pong"}', "pong", undefined],
  ])("%j is %s with %j", (payload, action, args) => {
    expect(parse(payload)).toMatchObject({ command: { action, args } });
  });

  test("carries its id, where its reply goes and when it expires", () => {
    const payload = { action: "fire", args: 1, id: "a1", reply_to: "halloween/cli/reply/a1", expires_at: 1.5e12 };
    expect(parse(JSON.stringify(payload)).command).toEqual({
      action: "fire",
      args: 1,
      id: "a1",
      replyTo: "halloween/cli/reply/a1",
      expiresAt: 1.5e12,
    });
  });

  test("may have an id of 128 characters", () => {
    expect(parse(JSON.stringify({ action: "ping", id: "x".repeat(128) })).command?.id).toHaveLength(128);
  });

  test.each([
    ['{"action": "stop", "id": 7}', "stop", '"id" is 7; expected a text'],
    ['{"action": "All-Stop", "reply_to": {}}', "all_stop", '"reply_to" is {}; expected a topic'],
    [
      '{"action": "STOP", "id": 1, "expires_at": "soon"}',
      "stop",
      '"id" is 1; expected a text; "expires_at" is "soon"; expected ms since 1970',
    ],
  ])("a stop forgives what it doesn't need: %s", (payload, action, forgiven) => {
    expect(parse(payload)).toEqual({ command: { action, args: undefined }, forgiven });
  });

  test("null stands for none, everywhere", () => {
    const { command } = parse('{"action": "fire", "args": null, "id": null, "reply_to": null, "expires_at": null}');
    expect(command).toStrictEqual({ action: "fire", args: undefined });
  });

  test("is parsed afresh each time, whatever came before", () => {
    expect(parse([0xe2, 0x82]).refusal).toBeDefined();
    expect(parse("ping").command?.action).toBe("ping");
  });
});

describe("a command that is refused", () => {
  test.each<[payload: string | number[], says: string]>([
    ["", 'empty command refused: send an action, such as "ping"'],
    ["  \n\t", "empty command refused"],
    ['{"action": "ping"', "not JSON"],
    ["{action: ping}", "put it in single quotes"],
    ["{", "not JSON"],
    ["{}", 'no "action" in it; write {"action": "ping"}'],
    ['{"Action": "ping"}', 'no "action"'],
    ['{"__proto__": {"action": "ping"}}', 'no "action"'],
    ['{"action": null}', '"action" is null; expected one word'],
    ['{"action": 7}', '"action" is 7; expected one word'],
    ['{"action": ""}', '"action" is ""; expected one word'],
    ['{"action": " \\n"}', "expected one word"],
    ['{"action": ["ping"]}', '"action" is ["ping"]'],
    ['{"action": "fire 750"}', 'what follows it goes into "args"'],
    ['{"action": "ping", "id": 7}', '"id" is 7; expected a text'],
    [`{"action": "ping", "id": "${"x".repeat(129)}"}`, '"id" has 129 characters; expected 128 at most'],
    ['{"action": "ping", "reply_to": {}}', '"reply_to" is {}; expected a topic'],
    ['{"action": "ping", "expires_at": "soon"}', '"expires_at" is "soon"; expected ms since 1970'],
    ['{"action": "ping", "expires_at": 1e999}', "expected ms since 1970"],
    [`{"action": ${"[".repeat(30_000)}${"]".repeat(30_000)}}`, "nested more than 100 levels deep"],
    [`{"action": "x", "args": ${'{"a":'.repeat(101)}1${"}".repeat(101)}}`, "nested more than 100 levels deep"],
    [[0xff, 0xfe, 0x00], "not UTF-8"],
    [[0x70, 0x69, 0xc3], "not UTF-8"],
    [[0xed, 0xa0, 0x80], "not UTF-8"],
    [[0xc0, 0xaf], "not UTF-8"],
    ["x".repeat(MAX_COMMAND_BYTES + 1), `at most ${MAX_COMMAND_BYTES}`],
    [`{"action": "${"x".repeat(MAX_COMMAND_BYTES)}"}`, `at most ${MAX_COMMAND_BYTES}`],
  ])("%j: %s", (payload, says) => {
    const { command, refusal } = parse(payload);
    expect(command).toBeUndefined();
    expect(refusal).toContain(says);
    expect(refusal).toContain("refused");
    expect(refusal?.length).toBeLessThan(300);
  });

  test("nothing else: the longest one runs", () => {
    expect(parse("x".repeat(MAX_COMMAND_BYTES)).command?.action).toHaveLength(MAX_COMMAND_BYTES);
  });

  test("never with an exception, whatever the bytes", () => {
    let seed = 7;
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed / 2 ** 31;
    };
    const json = new TextEncoder().encode('{"action": "fire", "args": {"x": [1, "é"]}, "expires_at": 1}');
    for (let round = 0; round < 5_000; round++) {
      const noise = Array.from({ length: Math.floor(random() * 40) }, () => Math.floor(random() * 256));
      const mutated = [...json];
      mutated.splice(Math.floor(random() * json.length), Math.floor(random() * 4), ...noise.slice(0, 3));
      for (const payload of [noise, mutated]) {
        const { command, refusal } = parse(payload);
        expect(typeof (command?.action ?? refusal), String(payload)).toBe("string");
        expect(command?.action ?? "x", String(payload)).toMatch(/^\S+$/);
      }
    }
  });

  test("deep nesting is no trap", () => {
    const deep = `{"action": "x", "args": ${"[".repeat(30_000)}${"]".repeat(30_000)}}`;
    const { command, refusal } = parse(deep);
    expect(command?.action ?? refusal).toBeDefined();
  });
});

describe("formatCommand", () => {
  test.each<[unknown, unknown]>([
    [undefined, undefined],
    [null, undefined],
    [0, 0],
    [false, false],
    ["hello", "hello"],
    [{ x: [1] }, { x: [1] }],
  ])("sends %j so that %j arrives", (args, arrives) => {
    const payload = formatCommand("fire", args, "a1");
    expect(parse(payload)).toEqual({ command: { action: "fire", args: arrives, id: "a1" } });
    expect(Object.keys(JSON.parse(payload))).toEqual(["action", "args", "id"]);
  });

  test("refuses args that have no JSON", () => {
    const circular: unknown[] = [];
    circular.push(circular);
    for (const args of [circular, 5n, { n: 5n }]) {
      expect(() => formatCommand("fire", args, "a1")).toThrow(expect.objectContaining({ code: "invalid_value" }));
    }
  });
});

describe("quote", () => {
  test("shows a value from outside, escaped and short", () => {
    expect(quote("fire\u0000\n")).toBe(String.raw`"fire\u0000\n"`);
    expect(quote({ a: 1 })).toBe('{"a":1}');
    expect(quote(undefined)).toBe("undefined");
    expect(quote("x".repeat(1_000))).toHaveLength(58);
  });
});
