import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseConfigText } from "../worker-host/host/config/config-file.ts";
import { ConfigThread } from "../worker-host/host/config/config-thread.ts";
import { TestClock } from "../worker-host/testing/test-clock.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";

const times = (count: number, write: (at: number) => string) => Array.from({ length: count }, (_, at) => write(at));

async function lab(config: string) {
  const props = makeFolder({ "lab/backend/worker.ts": workerSource(), "lab/backend/config.yaml": config });
  const host = await startHost({ args: ["--props", props] });
  const client = await TestClient.connect(await host.url());
  const answer = async (id: string) => JSON.parse(await client.expect(`halloween/cli/reply/${id}`, undefined, 60_000));
  const tell = (action: string, id: string, args?: unknown) =>
    client.command("worker_host", { action, args, reply_to: `halloween/cli/reply/${id}` });
  return { answer, tell, text: () => readFileSync(join(props, "lab/backend/config.yaml"), "utf8") };
}

test("the host answers while it edits a long list, and a file in which each of 500 keys has an alias", async () => {
  const aliases = times(500, (at) => `k${at}: &a${at} 1\nl${at}: *a${at}\n`).join("");
  const { tell, answer, text } = await lab(`list: [${times(600, () => "1")}]\n${aliases}`);
  const list = times(600, () => "2");
  await tell("configure", "list", { id: "lab", config: { list } });
  const keys = Object.fromEntries(times(500, (at) => `k${at}`).map((key) => [key, 2]));
  await tell("configure", "keys", { id: "lab", config: keys });
  for (const id of ["one", "two", "three", "four", "five"]) {
    await tell("list", id);
    expect(await answer(id)).toMatchObject({ status: "ok" });
  }
  expect(await answer("list")).toMatchObject({ status: "ok" });
  expect(await answer("keys")).toMatchObject({ status: "ok" });
  const { config } = parseConfigText("config.yaml", text(), {});
  expect(config).toMatchObject({ list, k0: 2, l0: 1, k499: 2, l499: 1 });
}, 120_000);

test("a long config is parsed once for as long as it stays the same", async () => {
  const configs = new ConfigThread(new TestClock());
  const text = (item: string) => `list: [${times(3_000, () => item)}]\n`;
  const first = await configs.parse("config.yaml", text("1"), {});
  expect(first).toEqual(parseConfigText("config.yaml", text("1"), {}));
  expect(await configs.parse("config.yaml", text("1"), {})).toBe(first);
  expect(await configs.parse("config.yaml", text("2"), {})).toEqual(parseConfigText("config.yaml", text("2"), {}));
});

test("a config that takes too long is given up, in words, and the next has its turn", async () => {
  const clock = new TestClock();
  const configs = new ConfigThread(clock);
  const text = `list: [${times(10_000, () => "1")}]\n`;
  const says = "config.yaml: it takes more than 30 s: make it shorter or simpler";
  const edit = configs.edit("config.yaml", text, [], { list: [1] }).catch((error: unknown) => error);
  const parse = configs.parse("config.yaml", text, {});
  await clock.advance(30_000);
  expect(await edit).toMatchObject({ code: "invalid_config", message: says });
  await clock.advance(30_000);
  expect(await parse).toMatchObject({ config: {}, fault: says });
  expect(await configs.edit("config.yaml", "list: [2]\n", [], { list: [1] })).toBe("list: [1]\n");
});

test("the lines of keys that are long and deep take no more room than the file", () => {
  const open = times(60, () => `{"${"k".repeat(500)}":`).join("");
  const text = `${open}[${times(15_000, () => "1")}]${"}".repeat(60)}`;
  const { lines } = parseConfigText("config.json", text, {});
  expect(JSON.stringify(lines).length).toBeLessThan(10 * text.length);
});
