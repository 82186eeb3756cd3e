import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { WorkerDescription } from "../worker-host/contract/description.ts";
import { Topics } from "../worker-host/contract/topics.ts";
import { CommandDesk, type CommandDeskOptions } from "../worker-host/host/verbs/command-desk.ts";
import { TestClock } from "../worker-host/testing/test-clock.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { type Files, makeFolder, workerSource, writeFiles } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";
import { PATIENCE_MS } from "./harness/wait.ts";

const PING = workerSource("do_ping() { this.telemetry('pong', 1); }");
const SAYS = workerSource(
  `static config = z.object({ word: z.string().default("none"), level: z.number().max(10).default(1), token: z.string().meta({ secret: true }).optional() });
  async start() { await super.start(); this.telemetry("says", { ...this.config, pid: process.pid }); }`,
  'import { z } from "worker-host";',
);

async function run(files: Files) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = makeFolder(files);
  const host = await startHost({ broker, args: ["--props", props] });
  let count = 0;
  /** Tells the host, and gives its reply. */
  const tell = async (action: string, args?: unknown) => {
    const topic = `halloween/cli/reply/${++count}`;
    await client.command("worker_host", { action, args, reply_to: topic });
    return JSON.parse(await client.expect(topic)) as { status: string; result?: unknown; error?: string };
  };
  return { client, host, props, tell, edit: (changed: Files) => writeFiles(props, changed) };
}

test("stop_worker, start_worker, restart_worker and list, by JSON and by text", async () => {
  const { client, tell, edit } = await run({ "lab/backend/worker.ts": SAYS, "good/backend/worker.ts": PING });
  await client.command("worker_host", "stop_worker lab");
  await client.expect("halloween/lab/status/availability", "offline");
  await client.expect("halloween/lab/status/runstate", /"stopped"/);
  // An edit starts nothing that somebody stopped.
  edit({ "lab/backend/config.yaml": "word: edited" });
  expect(await tell("rescan")).toMatchObject({ status: "ok" });
  const { result } = await tell("list");
  expect(result).toMatchObject([
    { id: "good", state: "running" },
    { id: "lab", state: "stopped" },
  ]);

  expect(await tell("start_worker", { id: "lab" })).toMatchObject({ status: "ok" });
  await client.expect("halloween/lab/telemetry/says", /"word":"edited"/);
  expect(await tell("restart_worker", "lab")).toMatchObject({ status: "ok" });
  for (const text of ["online", "offline", "online"]) await client.expect("halloween/lab/status/availability", text);
  expect(client.texts("halloween/good/status/runstate").filter((text) => /"starting"/.test(text))).toHaveLength(1);
});

test("all-stop passes what waits, of which some is refused; all-clear passes nothing", async () => {
  const did: string[] = [];
  const hostConnection = { publish: () => {}, describe: () => {}, warn: (text: string) => did.push(text) };
  const night = { lockOut: async (id: string) => void did.push(id) };
  const allStop = {
    engage: async () => void did.push("all-stop"),
    clear: async () => void did.push("all-clear"),
  };
  const topics = new Topics("halloween", "worker_host");
  const parts = { topics, clock: new TestClock(), hostConnection, night, allStop, operator: { alive: () => {} } };
  const desk = new CommandDesk(parts as unknown as CommandDeskOptions);
  await desk.load();
  const tell = (text: string) =>
    desk.receive({ topic: topics.command("worker_host"), payload: Buffer.from(text), qos: 1, retain: false });
  for (const text of ["lock_out a", "lock_out b", "lock_out c", "STOP", "all_clear", "e-stop"]) tell(text);
  const waiting = Array.from({ length: 300 }, (_, n) => `d${n}`);
  for (const id of waiting) tell(`lock_out ${id}`);
  await expect.poll(() => did.at(-1), { timeout: PATIENCE_MS }).toBe("d255");
  const refused = "command on halloween/worker_host/cmd refused: busy: 256 of them wait";
  expect(did).toEqual([
    ...["all-stop", "a", "b", "c", "all-clear", "all-stop"],
    ...waiting.slice(256).map(() => refused),
    ...waiting.slice(0, 256),
  ]);
});

test("a worker that is removed while a command for it waits is not started again", async () => {
  const SLOW = workerSource("async stop() { await new Promise((resolve) => setTimeout(resolve, 1_000)); }");
  const instances = (...ids: string[]) => `worker: { instances: { ${ids.map((id) => `${id}: {}`).join(", ")} } }`;
  const { client, tell, edit } = await run({
    "strobe/backend/worker.ts": SLOW,
    "strobe/backend/config.yaml": instances("left", "right"),
  });
  edit({ "strobe/backend/config.yaml": instances("left") });
  await client.expect("halloween/right/status/runstate", /"stopping"/);
  const [restarted, reloaded] = await Promise.all([tell("restart_worker", "right"), tell("reload")]);
  expect(restarted).toMatchObject({ status: "error", error: 'there is no worker "right"; there are: left' });
  expect(reloaded).toMatchObject({ status: "ok" });
  expect((await tell("list")).result).toMatchObject([{ id: "left", state: "running" }]);
  expect(client.texts("halloween/right/status/availability")).toEqual(["online", "offline", ""]);
});

test("what the host doesn't know, or can't do, it says", async () => {
  const { client, tell } = await run({ "good/backend/worker.ts": PING });
  expect(await tell("restart_worker", "lab")).toMatchObject({
    status: "error",
    error: 'there is no worker "lab"; there are: good',
  });
  await client.expect("halloween/worker_host/status/error", /there is no worker "lab"/);
  expect(await tell("restart_worker")).toMatchObject({ status: "error", error: expect.stringMatching(/expected/) });
  expect(await tell("halt")).toMatchObject({
    status: "error",
    error: expect.stringMatching(/^unknown action "halt"; known: all_clear, all_stop, configure, list/),
  });
  await client.expect("halloween/worker_host/status/warn", /^unknown action "halt"/);
});

test("a retained command to the host is refused, and taken off the broker", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await client.publish("halloween/worker_host/cmd", "stop_worker good", { retain: true });
  await startHost({ broker, props: { "good/backend/worker.ts": PING } });
  await client.expect("halloween/worker_host/status/warn", /^retained command refused: "stop_worker good"/);
  await client.expect("halloween/worker_host/cmd", "");
  await client.command("good", "ping");
  await client.expect("halloween/good/telemetry/pong", "1");
});

test("restart_worker with a fault in the code leaves the old one running; reload takes what is on disk", async () => {
  const { client, tell, edit } = await run({ "lab/backend/worker.ts": SAYS, "lab/backend/config.yaml": "word: one" });
  await client.expect("halloween/lab/telemetry/says", /"one"/);
  edit({ "lab/backend/worker.ts": "nonsense(" });
  await client.expect("halloween/lab/status/error", /runs on$/);
  expect(await tell("restart_worker", "lab")).toMatchObject({
    status: "error",
    error: expect.stringMatching(/worker\.ts:1:/),
  });
  expect((await tell("list")).result).toMatchObject([{ state: "running" }]);
  edit({ "lab/backend/worker.ts": SAYS });
  expect(await tell("reload")).toMatchObject({ status: "ok" });
  expect((await tell("list")).result).toMatchObject([{ state: "running" }]);
});

test("configure checks, writes the file, and takes effect as an edit by hand", async () => {
  const before = "# the lab\nlevel: 2 # not too loud\n\nword: one\n";
  const { client, props, tell } = await run({ "lab/backend/worker.ts": SAYS, "lab/backend/config.yaml": before });
  const file = join(props, "lab/backend/config.yaml");
  expect(await tell("configure", { id: "lab", config: { level: 3, token: "s3cret" } })).toMatchObject({ status: "ok" });
  expect(readFileSync(file, "utf8")).toBe("# the lab\nlevel: 3 # not too loud\n\nword: one\ntoken: s3cret\n");
  await client.expect("halloween/lab/telemetry/says", /"level":3/);

  const refused = await tell("configure", { id: "lab", config: { level: 30, word: 5 } });
  expect(refused).toMatchObject({
    status: "error",
    error: expect.stringMatching(/config\.yaml:2 level: .*<=10.*\n.*config\.yaml:4 word: expected string, got 5/),
  });
  expect(readFileSync(file, "utf8")).toContain("level: 3 #");
  expect(await tell("configure", { id: "lab", config: { token: null } })).toMatchObject({ status: "ok" });
  expect(readFileSync(file, "utf8")).not.toContain("token");
  expect(await tell("configure", { id: "lab", config: { worker: { area: "Attic" } } })).toMatchObject({ status: "ok" });
  const description = await client.expect("halloween/lab/description", /"area":"Attic"/);
  expect(JSON.parse(description) as WorkerDescription).toMatchObject({ config: { values: { level: 3, word: "one" } } });
  const said = client.seen.all.filter(
    ({ topic }) => topic !== "halloween/lab/telemetry/says" && !topic.endsWith("/cmd"),
  );
  expect(said.filter(({ text }) => text.includes("s3cret"))).toEqual([]);
});

test("configure refuses a key that the schema does not know, and names the nearest; one that the file has stays", async () => {
  const before = "level: 2\nwrod: one\n";
  const { props, tell } = await run({ "lab/backend/worker.ts": SAYS, "lab/backend/config.yaml": before });
  const file = join(props, "lab/backend/config.yaml");
  expect(await tell("configure", { id: "lab", config: { level: 3, levle: 3 } })).toMatchObject({
    status: "error",
    error: expect.stringMatching(/config\.yaml:\d levle: nobody reads this key; did you mean "level"\?$/),
  });
  expect(readFileSync(file, "utf8")).toBe(before);
  expect(await tell("configure", { id: "lab", config: { level: 3 } })).toMatchObject({ status: "ok" });
  expect(readFileSync(file, "utf8")).toBe("level: 3\nwrod: one\n");
  expect(await tell("configure", { id: "lab", config: { wrod: null } })).toMatchObject({ status: "ok" });
  expect(await tell("configure", { id: "lba", config: {} })).toMatchObject({
    error: 'there is no worker "lba"; did you mean "lab"?',
  });
  expect(await tell("configure", { id: "lab", level: 3 })).toMatchObject({
    refused: true,
    error: expect.stringContaining('such as {"id": "fogger", "config": {"start_ms": 2000}}'),
  });
});

test("the key worker: name, area, enabled, isolation and instances", async () => {
  const { client, tell, edit } = await run({
    "lab/backend/worker.ts": SAYS,
    "lab/backend/config.yaml": "worker: { name: The lab, area: Cellar, isolation: own }\nword: lab",
    "good/backend/worker.ts": SAYS,
    "off/backend/worker.ts": SAYS,
    "off/backend/config.json": '{"worker": {"enabled": false}}',
    "strobe/backend/worker.ts": SAYS,
    "strobe/backend/config.yaml": [
      "word: shared",
      "level: 5",
      "worker:",
      "  instances:",
      "    strobe_left: { word: left, worker: { name: Left } }",
      "    strobe_right:",
      "      level: 7",
    ].join("\n"),
  });
  const says = async (id: string) => JSON.parse(await client.expect(`halloween/${id}/telemetry/says`));
  const left = await says("strobe_left");
  expect(left).toMatchObject({ word: "left", level: 5 });
  expect(await says("strobe_right")).toMatchObject({ word: "shared", level: 7 });
  const { pid } = await says("good");
  expect((await says("lab")).pid).not.toBe(pid);
  expect(left.pid).toBe(pid);
  const description = JSON.parse(await client.expect("halloween/strobe_left/description")) as WorkerDescription;
  expect(description).toMatchObject({ id: "strobe_left", class: "strobe", name: "Left" });
  expect((await tell("list")).result).toMatchObject([
    { id: "good", state: "running" },
    { id: "lab", name: "The lab", area: "Cellar", state: "running" },
    { id: "off", state: "skipped", detail: expect.stringMatching(/"enabled" is false in .*config\.json/) },
    { id: "strobe_left", name: "Left", state: "running" },
    { id: "strobe_right", state: "running" },
  ]);
  expect(client.texts("halloween/strobe/status/availability")).toEqual([]);

  await tell("configure", { id: "strobe_right", config: { level: 8 } });
  await client.expect("halloween/strobe_right/telemetry/says", /"level":8/);
  edit({ "strobe/backend/config.yaml": "word: alone" });
  await client.expect("halloween/strobe/telemetry/says", /"alone"/);
  await client.expect("halloween/strobe_left/description", "");
  edit({ "off/backend/config.json": "{}" });
  await client.expect("halloween/off/status/availability", "online");
  edit({ "off/backend/config.json": '{"worker": {"enabled": false}}' });
  await client.expect("halloween/off/status/availability", "offline");
});

test("what is wrong with the key worker fails that worker, with file, line and key; an id twice names both files", async () => {
  const { client } = await run({
    "lab/backend/worker.ts": SAYS,
    "lab/backend/config.yaml": "worker:\n  area: 5\n  isolation: mine\n  colour: red\n",
    "strobe/backend/worker.ts": SAYS,
    "strobe/backend/config.yaml": "worker:\n  instances:\n    good: {}\n",
    "good/backend/worker.ts": SAYS,
    "many/backend/worker.ts": SAYS,
    "many/backend/config.yaml": `worker:\n  instances: { ${Array.from({ length: 201 }, (_, n) => `m${n}: {}`).join(", ")} }`,
  });
  const detail = async (id: string) =>
    JSON.parse(await client.expect(`halloween/${id}/status/runstate`, /failed/)).detail;
  expect(await detail("lab")).toMatch(
    /config\.yaml:2 worker\.area: expected string, got 5\n.*config\.yaml:3 worker\.isolation/,
  );
  expect(await detail("many")).toMatch(/config\.yaml:2 worker\.instances: expected 200 instances at most/);
  expect(await detail("good")).toMatch(
    /two workers have the id "good": .*(good|strobe)\/backend\/worker\.ts and .*(good|strobe)\/backend\/worker\.ts/,
  );
});

test("restarted many times at once, and edited meanwhile, it runs once in the end", async () => {
  const source = (round: number) =>
    workerSource(
      `me = Math.random();
      async start() { await super.start(); await this.sleep(${round % 2 === 0 ? 0 : 30}); this.every(20, () => this.telemetry("alive", this.me)); }
      // ${round}`,
    );
  const { client, tell, edit } = await run({ "lab/backend/worker.ts": source(0) });
  const told = Array.from({ length: 12 }, (_, round) => {
    if (round % 3 === 0) edit({ "lab/backend/worker.ts": source(round) });
    return tell(["restart_worker", "reload", "stop_worker", "start_worker"][round % 4] ?? "", "lab");
  });
  await Promise.all(told);
  expect(await tell("start_worker", "lab")).toMatchObject({ status: "ok" });
  await client.barrier();
  const alive = () => client.texts("halloween/lab/telemetry/alive");
  const before = alive().length;
  while (alive().length < before + 10) await client.expect("halloween/lab/telemetry/alive");
  expect(new Set(alive().slice(before)).size).toBe(1);
  expect((await tell("list")).result).toMatchObject([{ id: "lab", state: "running" }]);
});

/** Its config is checked for as long as `check` says. */
const checking = (check: string) =>
  workerSource(
    `static config = z.object({ level: z.number().refine(async (level) => { ${check} return true; }), by: z.string().optional() });`,
    'import { appendFileSync } from "node:fs";\nimport { z } from "worker-host";',
  );

test("an edit by hand while `configure` is at work is kept, and so is what that changes", async () => {
  const worker = checking(
    "console.log('checking', level); if (level === 2) await new Promise((resolve) => setTimeout(resolve, 300));",
  );
  const { host, props, tell } = await run({
    "lab/backend/worker.ts": worker,
    "lab/backend/config.yaml": "level: 1\n",
  });
  const file = join(props, "lab/backend/config.yaml");
  const done = tell("configure", { id: "lab", config: { level: 2 } });
  await host.logged("checking 2");
  appendFileSync(file, "by: hand # so that it is remembered\n");
  expect(await done).toMatchObject({ status: "ok" });
  expect(readFileSync(file, "utf8")).toBe("level: 2\nby: hand # so that it is remembered\n");
});

test("`configure` of a file that is edited again and again is refused, in words", async () => {
  const worker = checking("if (level === 2) appendFileSync(process.env.EDITED ?? '', '# again\\n');");
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = makeFolder({ "lab/backend/worker.ts": worker, "lab/backend/config.yaml": "level: 1\n" });
  const file = join(props, "lab/backend/config.yaml");
  await startHost({ broker, args: ["--props", props], env: { EDITED: file } });
  const reply = "halloween/cli/reply/1";
  await client.command("worker_host", {
    action: "configure",
    args: { id: "lab", config: { level: 2 } },
    reply_to: reply,
  });
  expect(JSON.parse(await client.expect(reply))).toMatchObject({
    status: "error",
    error: expect.stringMatching(/config\.yaml: it was edited by hand meanwhile, and stays so: send it once more$/),
  });
  expect(readFileSync(file, "utf8")).toMatch(/^level: 1\n(# again\n)+$/);
});
