import { once } from "node:events";
import { expect, test } from "vitest";
import { WebSocket } from "ws";
import { startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { makeFolder, workerSource, writeFiles } from "../harness/folder.ts";
import { startHost } from "../harness/host.ts";
import { expectOthersWell, IMPORTS, PING, ROOMY, restarted, startThree } from "../harness/three.ts";

/** The line of the source on which `text` stands. */
function lineOf(body: string, text: string): number {
  return (
    workerSource(body, IMPORTS)
      .split("\n")
      .findIndex((line) => line.includes(text)) + 1
  );
}

const HANGS: [name: string, body: string, at: string, inside: string][] = [
  ["an endless loop in a handler", "do_go() {\n while (true);\n }", "while (true)", "do_go"],
  ["after an await", "async do_go() {\n await this.sleep(10);\n while (true) {}\n }", "while (true)", "do_go"],
  [
    "in a raw timer",
    "do_go() {\n setTimeout(function later() {\n while (true) {}\n }, 10);\n }",
    "while (true)",
    "later",
  ],
  [
    "in process.nextTick",
    "do_go() {\n const again = () => process.nextTick(again);\n again();\n }",
    "process.nextTick(again)",
    "again",
  ],
  ["in a regular expression", "do_go() {\n return /^(a+)+$/.test('a'.repeat(40) + 'b');\n }", "/^(a+)+$/", "do_go"],
  [
    "in Atomics.wait",
    "do_go() {\n Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20_000);\n }",
    "Atomics.wait(",
    "do_go",
  ],
  ["in execSync", "async do_go() {\n await wait(10);\n execSync('sleep 20');\n }", "execSync('sleep", "execSync"],
  ["in pbkdf2Sync", "do_go() {\n pbkdf2Sync('a', 'b', 50_000_000, 64, 'sha512');\n }", "pbkdf2Sync('a'", "pbkdf2Sync"],
];

for (const [name, body, at, inside] of HANGS) {
  test(`${name}: named with file and line, ended, and the others go on`, async () => {
    const { client, host } = await startThree(body, ROOMY);
    await client.command("bad", "go");
    const place = `bad/backend/worker\\.ts:${lineOf(body, at.trim())} \\(${inside}\\)`;
    await client.expect("halloween/bad/status/error", new RegExp(`^bad hangs at .*${place}: .*starting it again in`));
    await restarted(client);
    await client.expect("halloween/bad/status/runstate", /"failed".*hangs/);
    await expectOthersWell(client, host);
    // It comes up again, in a process of its own.
    await client.expect("halloween/bad/status/runstate", /"running".*/);
  });
}

test("a sort of ten million, which can't be looked into: the last entered is named", async () => {
  const body = "do_go() { Array.from({ length: 10_000_000 }, (_, i) => String((i * 7919) % 10_000_019)).sort(); }";
  const { client, host } = await startThree(body, { WORKER_STALL_KILL_MS: "600", WORKER_MAX_MEMORY_MB: "4000" });
  await client.command("bad", "go");
  await client.expect("halloween/bad/status/error", /^bad hangs (in|at .*worker\.ts:\d+ \()do_go/);
  await restarted(client);
  await expectOthersWell(client, host);
});

for (const [name, body, where] of [
  ["a constructor", "constructor(context: never) { super(context); spin(); }", /spin|Worker/],
  ["start()", "async start() { spin(); }", /spin/],
] as const) {
  test(`a hang in ${name} gives up after as many restarts as the settings allow; nobody else notices twice`, async () => {
    const { client, host } = await startThree(body, { ...ROOMY, WORKER_MAX_RESTARTS: "1" });
    const gaveUp = await client.expect("halloween/bad/status/error", /given up after 1 in 60 s.*restart_worker/);
    expect(gaveUp).toMatch(/^bad hangs at .*worker\.ts/);
    expect(gaveUp).toMatch(where);
    await expectOthersWell(client, host);
    const [, ...more] = client.texts("halloween/a_good/status/availability").filter((text) => text === "offline");
    expect(more).toEqual([]);
    const late = await TestClient.connect(client.url);
    await late.expect("halloween/bad/status/runstate", /"failed".*hangs.*given up/);
  });
}

test("a hang in top-level code", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = {
    "a_good/backend/worker.ts": PING,
    "bad/backend/worker.ts": workerSource("", `${IMPORTS}\nspin();`),
    "z_good/backend/worker.ts": PING,
  };
  const host = await startHost({ broker, props, env: { ...ROOMY, WORKER_MAX_RESTARTS: "0" } });
  await client.expect(
    "halloween/bad/status/error",
    /^bad hangs at .*bad\/backend\/worker\.ts:\d+ \(spin\).*not started again/,
  );
  await expectOthersWell(client, host);
});

test("several at once: each is named, in its turn, and the others go on", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const bad = workerSource("do_go() { spin(); }", IMPORTS);
  const host = await startHost({
    broker,
    props: {
      "a_good/backend/worker.ts": PING,
      "bad1/backend/worker.ts": bad,
      "bad2/backend/worker.ts": bad,
      "bad3/backend/worker.ts": bad,
      "z_good/backend/worker.ts": PING,
    },
    env: ROOMY,
  });
  const ids = ["bad1", "bad2", "bad3"];
  for (const [index, id] of ids.entries()) {
    await client.command(id, "go");
    await client.expect(`halloween/${id}/status/error`, /hangs at .*\((spin|do_go)/);
    await restarted(client, ["a_good", ...ids.slice(index + 1)]);
  }
  await expectOthersWell(client, host);
});

test("a machine that is suspended kills nothing", async () => {
  const { client, host } = await startThree("do_go() {}", ROOMY);
  await client.command("a_good", "ping");
  const runner = Number(await client.expect("halloween/a_good/telemetry/pong"));
  const both = [runner, host.pid];
  for (const pid of both) process.kill(pid, "SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, 3000));
  for (const pid of both) process.kill(pid, "SIGCONT");
  // Time enough to be ended.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await client.command("z_good", "ping");
  expect(Number(await client.expect("halloween/z_good/telemetry/pong"))).toBe(runner);
  await expectOthersWell(client, host);
});

test("a debugger may hold the process for as long as somebody likes", async () => {
  const { client, host } = await startThree(
    "do_go() { inspector.open(0); this.telemetry('url', inspector.url()); }",
    ROOMY,
  );
  await client.command("bad", "go");
  const url = await client.expect("halloween/bad/telemetry/url");
  const told = new Set(host.log.all);
  const socket = new WebSocket(url);
  await once(socket, "open");
  const paused = new Promise((resolve) => {
    socket.on("message", (data) => /Debugger.paused/.test(String(data)) && resolve(undefined));
  });
  // The next sign of life says that it is being debugged.
  await new Promise((resolve) => setTimeout(resolve, 600));
  socket.send('{"id":1,"method":"Debugger.enable"}');
  socket.send('{"id":2,"method":"Debugger.pause"}');
  await paused;
  await new Promise((resolve) => setTimeout(resolve, 2500));
  const since = host.log.all.filter((line) => !told.has(line));
  expect(since.filter(({ msg }) => /hangs|held up/.test(msg))).toEqual([]);
  socket.send('{"id":3,"method":"Debugger.resume"}');
  await expectOthersWell(client, host);
  socket.terminate();
});

test("what a killed worker's fellows had switched on goes off before they take a command", async () => {
  const { client, host } = await startThree("do_go() { spin(); }", ROOMY);
  await client.command("bad", "go");
  await client.expect("halloween/a_good/telemetry/off", "1");
  const upTo = client.seen.all.findIndex(({ topic }) => topic === "halloween/a_good/telemetry/off");
  const before = client.seen.all.slice(0, upTo).filter(({ topic }) => topic === "halloween/a_good/status/availability");
  // online (first start), offline (its process died), and not online again before that.
  expect(before.map(({ text }) => text)).toEqual(["online", "offline"]);
  await host.stop();
});

test("an edit of a config while the process hangs is there after its end; one that was refused before isn't", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const levels = (more: string) =>
    workerSource(
      `static config = z.object({ level: z.number().max(9) });
       start() { this.telemetry('level', this.config.level); }
       onConfig({ level }) { this.telemetry('level', level); }
       ${more}`,
      IMPORTS,
    ).replace("BaseWorker", "BaseWorker, z");
  const ids = ["bad", "edited", "refused"];
  const files = ids.flatMap((id) => [
    [`props/${id}/backend/worker.ts`, levels(id === "bad" ? "do_go() { spin(); }" : "")],
    [`props/${id}/backend/config.yaml`, "level: 1\n"],
  ]);
  const cwd = makeFolder(Object.fromEntries(files));
  await startHost({ broker, cwd, env: ROOMY });
  const edit = (id: string, level: number) =>
    writeFiles(cwd, { [`props/${id}/backend/config.yaml`]: `level: ${level}\n` });
  for (const id of ids) await client.expect(`halloween/${id}/telemetry/level`, "1");
  edit("refused", 10);
  await client.expect("halloween/refused/status/error", /level: .*the old config stays/);

  await client.command("bad", "go");
  for (const id of ["bad", "edited"]) edit(id, 2);
  await client.expect("halloween/bad/status/error", /hangs at/);
  const levelsAfter = { bad: "2", edited: "2", refused: "1" };
  for (const [id, level] of Object.entries(levelsAfter)) await client.expect(`halloween/${id}/telemetry/level`, level);
});
