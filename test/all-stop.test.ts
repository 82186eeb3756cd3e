import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";
import { PATIENCE_MS } from "./harness/wait.ts";

const TOPIC = "halloween/worker_host/status/all_stop";

const FOGGER = `
import { BaseWorker, command } from "worker-host";
export class Worker extends BaseWorker {
  async do_fire() {
    await this.hold(60_000, () => this.telemetry("fog", "on"), () => this.telemetry("fog", "off"));
  }
  @command({ safe: true })
  do_lights() { this.telemetry("lights", "on"); }
  @command({ safe: true })
  do_rig() {
    const until = Date.now() + 100;
    while (Date.now() < until);
    this.telemetry("rigged", 1);
  }
  do_ping() { this.telemetry("pong", 1); }
  do_stop() { this.telemetry("stopped", 1); }
  onAllStop() { this.telemetry("all_stop", 1); }
  do_panic() { return this.allStop("guest in the coffin"); }
}`;

/** Fulfils when the latch's file holds that: it is written beside what is told. */
async function written(cwd: string, state: Record<string, unknown>): Promise<void> {
  const held = () => JSON.parse(readFileSync(join(cwd, "data/all_stop.json"), "utf8")) as Record<string, unknown>;
  await expect.poll(held, { timeout: PATIENCE_MS }).toMatchObject(state);
}

async function startFogger(options: { cwd?: string; props?: Record<string, string> } = {}) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = { "fogger/backend/worker.ts": FOGGER, ...options.props };
  const host = await startHost({ broker, ...(options.cwd === undefined ? {} : { cwd: options.cwd }), props });
  return { broker, client, host, props };
}

test("all_stop ends what runs, and lets only stop and safe commands run until all_clear", async () => {
  const { client, host } = await startFogger();
  await client.expect(TOPIC, "clear");
  await client.command("fogger", "fire");
  await client.expect("halloween/fogger/telemetry/fog", "on");

  const reply_to = "halloween/cli/reply/1";
  await client.command("worker_host", { action: "all_stop", args: { by: "anna", reason: "smoke" }, id: "1", reply_to });
  await client.expect(TOPIC, "engaged");
  await client.expect("halloween/fogger/telemetry/fog", "off");
  await client.expect("halloween/fogger/telemetry/stopped");
  await client.expect("halloween/fogger/telemetry/all_stop");
  // Boards hear of it too.
  await client.expect("halloween/broadcast/cmd", /"stop"/);
  expect(JSON.parse(await client.expect(reply_to))).toMatchObject({
    status: "ok",
    result: { engaged: true, by: "anna", reason: "smoke", since: expect.stringMatching(/^\d{4}-/) },
  });
  await written(host.cwd, { engaged: true, by: "anna", reason: "smoke" });

  await client.command("fogger", { action: "fire", id: "2", reply_to: "halloween/cli/reply/2" });
  const refusal = '"fire" refused: all-stop is engaged: only stop and safe commands run, until all_clear';
  await client.expect("halloween/fogger/status/warn", refusal);
  expect(JSON.parse(await client.expect("halloween/cli/reply/2"))).toMatchObject({ error: refusal, refused: true });
  await client.command("fogger", "lights");
  await client.expect("halloween/fogger/telemetry/lights", "on");
  await client.command("fogger", { action: "stop", reply_to: "halloween/cli/reply/3" });
  await client.expect("halloween/cli/reply/3", /"ok"/);
  expect(client.texts("halloween/fogger/telemetry/fog")).toEqual(["on", "off"]);

  await client.command("worker_host", "all_clear");
  await client.expect(TOPIC, "clear");
  await written(host.cwd, { engaged: false });
  await client.command("fogger", "ping");
  await client.expect("halloween/fogger/telemetry/pong");
  // Nothing started by itself.
  expect(client.texts("halloween/fogger/telemetry/fog")).toEqual(["on", "off"]);
});

test("it outlives host and broker, and the start's last line shows it", async () => {
  const { broker, client, host } = await startFogger();
  await client.command("worker_host", "all_stop fire alarm");
  await client.expect(TOPIC, "engaged");
  // What isn't written yet is, before it ends.
  await host.stop();
  await broker.stop();
  await broker.start();

  const again = await startHost({
    broker,
    cwd: host.cwd,
    props: { "fogger/backend/worker.ts": FOGGER },
  });
  const watching = await TestClient.connect(broker.url);
  await watching.expect(TOPIC, "engaged");
  await again.logged(
    /^all-stop is engaged by a command \(fire alarm\) since .*: only stop and safe commands run until/,
  );
  expect(again.log.all.at(-1)?.msg).toMatch(/^all-stop is engaged/);
  await watching.command("fogger", "ping");
  await watching.expect("halloween/fogger/status/warn", /"ping" refused: all-stop is engaged/);

  // Nor does a broker that forgets lose it.
  await watching.close();
  await broker.stop();
  await broker.start();
  const later = await TestClient.connect(broker.url);
  await later.expect(TOPIC, "engaged");
});

test("a worker that starts while it is engaged comes up idle", async () => {
  const cwd = makeFolder({ "data/all_stop.json": '{"engaged":true,"by":"anna","since":"2026-10-31T20:00:00.000Z"}' });
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const ticker = workerSource(`
    async start() { this.spawn(this.tick); }
    async tick() {
      for (;;) await this.hold(20, () => this.telemetry("arm", "up"), () => this.telemetry("arm", "down"));
    }
    onAllStop() { this.telemetry("idle", 1); }`);
  const homing = workerSource(`
    async start() {
      this.telemetry("starting", 1);
      this.telemetry("homed", { home: await this.do_home(), position: this.do_position() });
    }
    async do_home() { await this.sleep(8000); return "home"; }
    do_position() { return "left"; }`);
  const props = {
    "ticker/backend/worker.ts": ticker,
    "fogger/backend/worker.ts": FOGGER,
    "homing/backend/worker.ts": homing,
  };
  await startHost({ broker, cwd, props });
  // Its own commands are refused, which fails no start().
  expect(await client.expect("halloween/homing/status/warn")).toMatch(/^"home" refused: all-stop is engaged/);
  await client.expect("halloween/homing/telemetry/homed", "{}");
  await client.expect("halloween/homing/status/availability", "online");
  await client.expect("halloween/ticker/telemetry/idle");
  await client.expect("halloween/fogger/telemetry/all_stop");
  await client.expect("halloween/ticker/status/availability", "online");
  expect(client.texts("halloween/ticker/telemetry/arm")).toEqual([]);
  await client.command("worker_host", "all_clear");
  await client.expect("halloween/ticker/telemetry/arm", "up");
  await client.expect("halloween/ticker/telemetry/arm", "down");

  await client.command("worker_host", "restart_worker homing");
  await client.expect("halloween/homing/telemetry/starting");
  await client.expect("halloween/homing/telemetry/starting");

  // What is on outside of commands goes off at once, too.
  await client.command("worker_host", "stop");
  await client.expect("halloween/ticker/telemetry/idle");
  await client.barrier();
  // All-stop came in the middle of its start().
  await client.expect("halloween/homing/telemetry/homed", "{}");
  await client.expect("halloween/homing/status/availability", "online");
  const seen = client.texts("halloween/ticker/telemetry/arm");
  expect(seen.at(-1)).toBe("down");
  await client.command("fogger", "lights");
  await client.expect("halloween/fogger/telemetry/lights");
  expect(client.texts("halloween/ticker/telemetry/arm")).toEqual(seen);
});

test("where file and topic differ, engaged wins; a file that can't be read counts as engaged", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await client.publish(TOPIC, "engaged", { retain: true });
  const host = await startHost({ broker, props: { "fogger/backend/worker.ts": FOGGER } });
  await client.command("fogger", "ping");
  await client.expect("halloween/fogger/status/warn", /all-stop is engaged/);
  await client.expect("halloween/broadcast/cmd", /stop/);
  await written(host.cwd, { engaged: true, by: "the retained topic" });
  expect(client.texts(TOPIC)).not.toContain("clear");

  // Nobody clears it but by the command.
  await client.publish(TOPIC, "clear", { retain: true });
  for (const text of ["clear", "engaged"]) await client.expect(TOPIC, text);
  await client.command("worker_host", "all_clear");
  await client.expect(TOPIC, "clear");
  await client.command("fogger", "ping");
  await client.expect("halloween/fogger/telemetry/pong");

  const cwd = makeFolder({ "data/all_stop.json": "{" });
  const other = await startBroker();
  const watching = await TestClient.connect(other.url);
  const torn = await startHost({ broker: other, cwd, props: { "fogger/backend/worker.ts": FOGGER } });
  await watching.expect(TOPIC, "engaged");
  await torn.logged(/all_stop\.json can't be read .*: all-stop counts as engaged; all_clear writes it anew/);
  await watching.command("worker_host", "all_clear");
  await watching.expect(TOPIC, "clear");
  await written(cwd, { engaged: false });
});

test("what its topics and a lock-out's say is put right, whoever clears or overwrites it", async () => {
  const env = { WORKER_HOME_ASSISTANT: "1" };
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, props: { "fogger/backend/worker.ts": FOGGER }, env });
  const [heard, lockOut, lockOuts] = [
    `${TOPIC}_heard`,
    "halloween/fogger/status/lock_out",
    "halloween/worker_host/status/lock_outs",
  ];
  const isPutRight = async (topic: string, right: string, wrong: (string | Buffer)[]) => {
    await client.barrier();
    for (const text of wrong) {
      await client.publish(topic, text, { retain: true });
      await client.expect(topic, text.toString());
      await client.expect(topic, right);
    }
  };
  const wrong = ["", "no word", Buffer.from([0xff])];
  await client.expect(TOPIC, "clear");
  await isPutRight(TOPIC, "clear", wrong);
  await client.command("worker_host", { action: "lock_out", args: { id: "fogger", reason: "the hose leaks" } });
  await client.expect(lockOut, "the hose leaks");
  await isPutRight(lockOut, "the hose leaks", wrong);
  await client.expect(lockOuts, '["fogger"]');
  await isPutRight(lockOuts, '["fogger"]', wrong);
  await client.command("worker_host", "all_stop");
  await client.expect(TOPIC, "engaged");
  await isPutRight(TOPIC, "engaged", [...wrong, "clear"]);
  await isPutRight(heard, await client.expect(heard), wrong);
});

test("it is heard while workers are still coming up, even retained; and again and again", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await client.publish("halloween/worker_host/cmd", "all_stop", { retain: true });
  await startHost({
    broker,
    dontWait: true,
    props: {
      "slow/backend/worker.ts": workerSource("async start() { this.telemetry('begins', 1); await this.sleep(4000); }"),
      "fogger/backend/worker.ts": FOGGER,
    },
  });
  await client.expect(TOPIC, "engaged");
  await client.expect(
    "halloween/worker_host/status/warn",
    /retained command obeyed this once, and cleared: "all_stop"/,
  );
  await client.expect("halloween/worker_host/cmd", "");
  await client.expect("halloween/fogger/status/availability", "online");
  await client.barrier();
  const stops = () => client.texts("halloween/fogger/telemetry/stopped").length;
  const before = stops();
  await client.command("worker_host", "all_stop");
  while (stops() === before) await client.expect("halloween/fogger/telemetry/stopped");
  expect(client.texts("halloween/slow/status/availability")).toEqual([]);
});

test("its topic says clear when every worker takes commands again, the busy one too", async () => {
  const { client } = await startFogger();
  await client.command("worker_host", "all_stop");
  await client.expect(TOPIC, "engaged");
  await client.expect("halloween/fogger/telemetry/all_stop");
  await client.command("fogger", "rig");
  await client.command("worker_host", "all_clear");
  await client.expect(TOPIC, "clear");
  expect(client.texts("halloween/fogger/telemetry/rigged")).toHaveLength(1);
  await client.command("fogger", "ping");
  await client.expect("halloween/fogger/telemetry/pong");
  expect(client.texts("halloween/fogger/status/warn")).toEqual([]);
});

test("a worker can engage it", async () => {
  const { client, host } = await startFogger();
  await client.command("fogger", { action: "panic", id: "p", reply_to: "halloween/cli/reply/p" });
  await client.expect(TOPIC, "engaged");
  await written(host.cwd, { engaged: true, by: "fogger", reason: "guest in the coffin" });
});

test("from the command line, with a host and without", async () => {
  const { broker, client, host } = await startFogger();
  const env = { MQTT_HOST: "127.0.0.1", MQTT_PORT: String(broker.port) };
  expect(await runCli(["all-stop", "guest", "down"], { env })).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(
      /^all-stop is engaged\nall-stop is engaged by cli \(guest down\) since .*: only stop and safe commands run until/,
    ),
  });
  await client.expect("halloween/fogger/telemetry/all_stop");
  await client.expect("halloween/broadcast/cmd", /"stop"/);
  expect(await runCli(["all-clear"], { env })).toMatchObject({
    code: 0,
    stdout: "all-stop is cleared: nothing starts by itself\n",
  });
  await host.stop();
  expect(await runCli(["all-stop"], { env })).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^all props were told to stop, but nothing keeps them stopped: /),
  });
  await client.expect("halloween/broadcast/cmd", /"stop"/);
  expect((await runCli(["all-clear"], { env })).code).toBe(1);
  await broker.stop();
  expect(await runCli(["all-stop"], { env })).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^nobody was told: no broker at /),
  });
});
