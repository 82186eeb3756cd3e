import { expect, onTestFinished, test } from "vitest";
import { BaseWorker, command, z } from "worker-host";
import { startWorker } from "worker-host/testing";
import { parseCommand } from "../worker-host/contract/command.ts";
import { coerceText } from "../worker-host/contract/json-schema.ts";
import { jsonIn, parsePayload } from "../worker-host/contract/payload.ts";
import { parseConfigText } from "../worker-host/host/config/config-file.ts";
import { editConfigText } from "../worker-host/host/config/edit-config.ts";

/** Each as it is written, and whether JavaScript has a number that says that. */
const NUMBERS: [text: string, isNumber: boolean][] = [
  ["12345678901234567890", false],
  ["12345678901234567891", false],
  ["-12345678901234567890", false],
  ["9007199254740993", false],
  ["9007199254740992", true],
  ["12345678901234567890.5", false],
  ["1e999", false],
  ["1e-999", false],
  ["0e999", true],
  ["12345678901234567000", true],
  ["1e300", true],
  ["-1.5", true],
  ["0.30000000000000004", true],
  ["999999999999999", true],
];

test.each(NUMBERS)(
  "%s is itself on every way in: in telemetry, in JSON, in a command, in a config",
  (text, isNumber) => {
    const value = isNumber ? Number(text) : text;
    expect(parsePayload(text)).toBe(value);
    expect(jsonIn(`{"a": [${text}, "${text}", "\\"${text}"]}`)).toEqual({ a: [value, text, `"${text}`] });
    const { command: got } = parseCommand(Buffer.from(`{"action": "read", "args": {"tag": ${text}}}`));
    expect(got?.args).toEqual({ tag: value });
    expect(coerceText(text, { type: "number" })).toEqual({ value });
    expect(coerceText(`tag=${text}`, { type: "object", properties: { tag: { type: "number" } } })).toEqual({
      value: { tag: value },
    });
    expect(parseConfigText("config.yaml", `tag: ${text}\n`, {}).config).toEqual({ tag: value });
    expect(parseConfigText("config.json", `{"tag": ${text}}`, {}).config).toEqual({ tag: value });
  },
);

test("in YAML digits that begin with 0 are text, as those of a tag or a phone; other notations are numbers", () => {
  const text =
    "tag: 0123\nphone: [00491234, +5]\nhex: 0x1F\nlong: 0xFFFFFFFFFFFFFFFFFF\noct: 0o17\nno: .nan\nall: -.inf\nzero: 0\nhalf: 0.5\n";
  expect(parseConfigText("config.yaml", text, {}).config).toEqual({
    ...{ tag: "0123", phone: ["00491234", 5], hex: 31, long: "0xFFFFFFFFFFFFFFFFFF", oct: 15 },
    ...{ no: Number.NaN, all: Number.NEGATIVE_INFINITY, zero: 0, half: 0.5 },
  });
  const edited = editConfigText("config.yaml", text, [], { half: 0.25 });
  expect(edited).toBe(text.replace("0.5", "0.25"));
});

test("what is no JSON stays none, and is looked at once only", () => {
  for (const text of [
    '{"a": 0000000000000000001}',
    "12345678901234567890abc",
    '"12345678901234567890',
    "{1234567890123456: 1}",
  ])
    expect(jsonIn(text), text).toBeUndefined();
  expect(jsonIn(`${'\\"'.repeat(500_000)}1234567890123456`)).toBeUndefined();
});

class Reader extends BaseWorker {
  override async start() {
    await super.start();
    await this.watch("gate", "#", (value, { key }) => this.telemetry(key, { type: typeof value, value }));
    await this.store.set("n", 2 ** 70);
  }

  @command({ args: z.union([z.number(), z.object({ n: z.number() })]) })
  do_count(n: unknown) {
    return n;
  }

  do_echo(args: unknown) {
    return [args, this.store.get("n")];
  }
}

test("two tags never look alike to a worker, nor is a number refused as another; what it stores is a number again", async () => {
  const reader = await startWorker(Reader);
  onTestFinished(() => reader.stop());
  for (const tag of ["12345678901234567890", "12345678901234567891"]) {
    await reader.publish("halloween/gate/telemetry/tag", tag);
    expect(await reader.telemetry("tag")).toEqual({ type: "string", value: tag });
    await reader.send(`count ${tag}`);
    expect(await reader.status("warn")).toContain(tag);
    await reader.send(`{"action": "count", "args": {"n": ${tag}}}`);
    expect(await reader.status("warn")).toContain(tag);
  }
  expect(await reader.call("count", 2 ** 53)).toBe(2 ** 53);
  expect(await reader.call("echo", { n: 2 ** 64 })).toEqual([{ n: 2 ** 64 }, 2 ** 70]);
});
