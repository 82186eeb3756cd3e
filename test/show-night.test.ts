import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource, writeFiles } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";
import { PATIENCE_MS } from "./harness/wait.ts";

const SAYS = (word: string) =>
  workerSource(`do_say() { this.telemetry("says", "${word}"); }
    async do_fire() { await this.hold(60_000, () => this.telemetry("fog", "on"), () => this.telemetry("fog", "off")); }
    do_stop() { this.telemetry("stopped", 1); }`);

async function start() {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const cwd = makeFolder({ "props/fogger/backend/worker.ts": SAYS("one") });
  const host = await startHost({ broker, cwd });
  const env = { MQTT_HOST: "127.0.0.1", MQTT_PORT: String(broker.port) };
  let asked = 0;
  const tell = async (action: string, args?: unknown) => {
    const reply_to = `halloween/cli/reply/t${++asked}`;
    await client.command("worker_host", { action, args, id: `t${asked}`, reply_to });
    return JSON.parse(await client.expect(reply_to)) as { status: string; error?: string; result?: unknown };
  };
  return { broker, client, cwd, host, env, tell };
}

test("while the show is on, edits wait and say so; nothing is reloaded, not even after a restart", async () => {
  const { broker, client, cwd, host, env, tell } = await start();
  expect(await runCli(["show", "on"], { env })).toMatchObject({ code: 0, stdout: "the show is on: edits wait\n" });
  await client.expect("halloween/worker_host/description", /"show":true/);

  writeFiles(cwd, { "props/fogger/backend/worker.ts": SAYS("two") });
  await client.expect(
    "halloween/worker_host/status/warn",
    'the show is on: the edit of props/fogger/backend/worker.ts waits for "show off"',
  );
  for (const [action, args] of [
    ["rescan", undefined],
    ["reload", undefined],
    ["reload", "fogger"],
    ["configure", { id: "fogger", config: { a: 1 } }],
  ] as const) {
    const { status, error } = await tell(action, args);
    expect({ action, status, error }).toEqual({
      action,
      status: "error",
      error: expect.stringMatching(/^the show is on, and a .* has to wait: send "show off" first$/),
    });
  }
  // A prop that is in trouble can be started again, as it was.
  expect(await tell("restart_worker", "fogger")).toMatchObject({ status: "ok" });
  const AVAILABILITY = "halloween/fogger/status/availability";
  for (const text of ["offline", "online"]) await client.expect(AVAILABILITY, text);
  await client.command("fogger", "say");
  await client.expect("halloween/fogger/telemetry/says", "one");

  expect(await runCli(["show", "off"], { env })).toMatchObject({ code: 0 });
  for (const text of ["offline", "online"]) await client.expect(AVAILABILITY, text);
  await client.command("fogger", "say");
  await client.expect("halloween/fogger/telemetry/says", "two");

  expect(await tell("show", "on")).toMatchObject({ status: "ok" });
  await host.stop();
  await startHost({ broker, cwd });
  expect(await tell("rescan")).toMatchObject({ status: "error", error: expect.stringMatching(/^the show is on/) });
  expect(await tell("show", "maybe")).toMatchObject({ status: "error", refused: true });
});

test("a prop that is locked out obeys stop alone, over restarts, until it is released", async () => {
  const { broker, client, cwd, host, env, tell } = await start();
  await client.command("fogger", "fire");
  await client.expect("halloween/fogger/telemetry/fog", "on");
  expect(await runCli(["lock-out", "fogger", "the", "hose", "leaks"], { env })).toMatchObject({ code: 0 });
  await client.expect("halloween/fogger/telemetry/fog", "off");
  await client.expect("halloween/fogger/telemetry/stopped");
  await client.expect("halloween/fogger/status/lock_out", "the hose leaks");

  const refused = '"fire" refused: it is locked out (the hose leaks), until the host is told "release fogger"';
  await client.command("fogger", "fire");
  await client.expect("halloween/fogger/status/warn", refused);
  await client.command("fogger", "stop");
  await client.expect("halloween/fogger/telemetry/stopped");
  expect((await runCli(["list", "--running"], { env })).stdout).toMatch(/fogger +running .*locked out: the hose leaks/);

  expect(await tell("restart_worker", "fogger")).toMatchObject({ status: "ok" });
  await client.command("fogger", "fire");
  await client.expect("halloween/fogger/status/warn", refused);
  await host.stop();
  await broker.stop();
  await broker.start();
  await startHost({ broker, cwd });
  const watching = await TestClient.connect(broker.url);
  await watching.expect("halloween/fogger/status/lock_out", "the hose leaks");
  await watching.command("fogger", "fire");
  await watching.expect("halloween/fogger/status/warn", refused);

  expect(await runCli(["release", "fogger"], { env })).toMatchObject({
    code: 0,
    stdout: "fogger takes commands again\n",
  });
  await watching.expect("halloween/fogger/status/lock_out", "");
  await watching.command("fogger", "say");
  await watching.expect("halloween/fogger/telemetry/says", "one");
  expect(watching.texts("halloween/fogger/telemetry/fog")).toEqual([]);
  expect(await runCli(["release", "fogger"], { env })).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/"fogger" is not locked out; none is/),
  });
});

test("a board without a worker is locked out by its topic; what is no id is refused", async () => {
  const { client, tell } = await start();
  expect(await tell("lock_out", "fogger_hw")).toMatchObject({ status: "ok" });
  await client.expect("halloween/fogger_hw/status/lock_out", "no reason given");
  expect(await tell("lock_out", { id: "a/b" })).toMatchObject({
    status: "error",
    error: expect.stringMatching(/"a\/b"/),
  });
  expect(await tell("lock_out")).toMatchObject({ status: "error", refused: true });
});

test("an operator who says nothing for too long, from ready on, is taken to be gone: all-stop", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const cwd = makeFolder({
    "props/fogger/backend/worker.ts": SAYS("one"),
    // It takes longer to come up than the operator may be silent, and a sign of life meanwhile begins nothing.
    "props/slow/backend/worker.ts": workerSource(
      `async start() { await this.command("worker_host", "operator_alive"); await this.sleep(3000); }`,
    ),
  });
  const host = await startHost({ broker, cwd, env: { WORKER_OPERATOR_TIMEOUT_S: "2" } });
  const alive = setInterval(() => void client.command("worker_host", "operator_alive"), 300);
  onTestFinished(() => clearInterval(alive));
  await client.command("fogger", "say");
  await client.expect("halloween/fogger/telemetry/says");
  for (let i = 0; i < 3; i++) {
    await client.expect("halloween/worker_host/cmd", "operator_alive");
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  expect(client.texts("halloween/worker_host/status/all_stop")).toEqual(["clear"]);
  clearInterval(alive);
  await client.expect("halloween/worker_host/status/all_stop", "engaged");
  await host.logged("all-stop is engaged");
  expect(host.log.all.find(({ msg }) => msg === "all-stop is engaged")).toMatchObject({
    by: "operator_timeout",
    reason: "no operator_alive for 2 s",
  });
});

describe("a damaged file of the night", () => {
  const LEAKS = "halloween/fogger/status/lock_out";
  const REFUSED = /^"fire" refused: it is locked out \(the hose leaks\), until the host is told "release fogger"$/;

  test.each(["[1", '{"show":false,"lockOuts":null}', '{"show":"yes","lockOuts":{}}', "7"])(
    "that is %s is set aside and named, and keeps nobody from starting; edits wait where it doesn't say",
    async (file) => {
      const broker = await startBroker();
      const cwd = makeFolder({ "props/fogger/backend/worker.ts": SAYS("one"), "data/show_night.json": file });
      const client = await TestClient.connect(broker.url);
      const host = await startHost({ broker, cwd });
      const { msg } = await host.logged(
        /show_night\.json is damaged .*: it is kept as .*show_night\.json\.damaged-\d{4}-/,
      );
      const aside = readdirSync(join(cwd, "data")).filter((name) => name.startsWith("show_night.json.damaged-"));
      expect(aside.map((name) => readFileSync(join(cwd, "data", name), "utf8"))).toEqual([file]);
      expect(msg).toContain(String(aside[0]));
      await client.expect("halloween/worker_host/status/error", msg);
      expect(/Edits wait/.test(msg)).toBe(!file.includes("false"));
    },
  );

  test("locks out all the same whom the topic names, until that one is released", async () => {
    const { broker, client, cwd, host, tell } = await start();
    expect(await tell("lock_out", "fogger the hose leaks")).toMatchObject({ status: "ok" });
    await host.stop();
    writeFiles(cwd, { "data/show_night.json": '{"show":false,"lockOuts":{"fog' });
    const again = await startHost({ broker, cwd });
    await again.logged(/show_night\.json is damaged/);
    await again.logged("fogger is locked out (the hose leaks): its topic says so, and its file doesn't");
    await client.command("fogger", "fire");
    await client.expect("halloween/fogger/status/warn", REFUSED);
    expect(client.texts(LEAKS)).not.toContain("");
    // From now on the file has it again.
    await again.stop();
    expect(JSON.parse(readFileSync(join(cwd, "data/show_night.json"), "utf8"))).toMatchObject({
      lockOuts: { fogger: "the hose leaks" },
    });
    await startHost({ broker, cwd });
    expect(await tell("release", "fogger")).toMatchObject({ status: "ok" });
    await client.expect(LEAKS, "");
    await client.command("fogger", "fire");
    await client.expect("halloween/fogger/telemetry/fog", "on");
  });

  test("each entry is looked at: what can't be read of a lock-out locks out all the same", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    const file = '{"show":true,"lockOuts":{"fogger":7,"cat":"it hisses","a/b":"no id"}}';
    const cwd = makeFolder({ "props/fogger/backend/worker.ts": SAYS("one"), "data/show_night.json": file });
    const host = await startHost({ broker, cwd });
    await host.logged(
      /show_night\.json is damaged \(the reason of fogger is 7; expected a text; "a\/b" can't be an id: .*\)/,
    );
    await client.expect("halloween/fogger/status/lock_out", "its reason can't be read");
    await client.expect("halloween/cat/status/lock_out", "it hisses");
    await client.command("fogger", "fire");
    await client.expect("halloween/fogger/status/warn", /^"fire" refused: it is locked out/);
    expect(client.texts("halloween/fogger/telemetry/fog")).toEqual([]);
  });
});

test("what a topic holds, holds: of ids that are another host's it is left to that one", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  for (const id of ["fogger", "fogger_hw", "strange"])
    await client.publish(`halloween/${id}/status/lock_out`, "the hose leaks", { retain: true });
  const cwd = makeFolder({ "props/fogger/backend/worker.ts": SAYS("one") });
  const host = await startHost({ broker, cwd });
  await host.logged("fogger is locked out (the hose leaks): its topic says so, and its file doesn't");
  await host.logged("fogger_hw is locked out (the hose leaks): its topic says so, and its file doesn't");
  await client.command("fogger", "fire");
  await client.expect("halloween/fogger/status/warn", /^"fire" refused: it is locked out \(the hose leaks\)/);
  // Nobody releases it but the host that is told to.
  await client.expect("halloween/fogger/status/lock_out", "the hose leaks");
  await client.publish("halloween/fogger/status/lock_out", "", { retain: true });
  await client.expect("halloween/fogger/status/lock_out", "");
  await expect
    .poll(() => client.texts("halloween/fogger/status/lock_out").at(-1), { timeout: PATIENCE_MS })
    .toBe("the hose leaks");
  await host.stop();
  expect(JSON.parse(readFileSync(join(cwd, "data/show_night.json"), "utf8"))).toEqual({
    show: false,
    lockOuts: { fogger: "the hose leaks", fogger_hw: "the hose leaks" },
  });
});
