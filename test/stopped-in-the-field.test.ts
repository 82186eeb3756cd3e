import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { ROOT, startHost } from "./harness/host.ts";

const WRITING = readFileSync(join(ROOT, "docs/writing-a-worker.md"), "utf8");

/** The trunk of docs/writing-a-worker.md: its lid takes 3 s to close, and freezes in an emergency. */
const TRUNK = WRITING.split(/^```(?:ts)?\n/m).find((text) => text.includes("static stopTimeoutMs =")) ?? "";

/** A trunk with one line that toggles it, and a sensor that says when it is closed. */
const TOGGLER = workerSource(
  `static stopTimeoutMs = 25_000;
   atOnce = 0;
   async start() {
     this.open = true;
     await this.subscribe("toggler/closed", () => this.closed?.());
   }
   async do_stop(_, { reason }) {
     this.telemetry("stops", { reason, atOnce: ++this.atOnce });
     if (this.open) {
       await this.publish("toggler/line", "toggle");
       await new Promise((resolve) => { this.closed = resolve; });
       this.open = false;
     }
     this.atOnce--;
     this.state = "closed";
   }
   onAllStop() { this.telemetry("frozen", 1); }
   @command({ safe: true }) do_ping() { this.telemetry("pong", 1); }`,
  'import { command } from "worker-host";',
);

/** What isn't a command and moves all the same. */
const WAYS = ["subscribe", "watch", "every", "loop", "task"];

/** A valve that opens in each of these ways, and has a next step. */
const VALVE = workerSource(
  `static loopIntervalMs = 50;
   asked = new Set();
   async start() {
     await this.subscribe("motion/subscribe", () => this.cycle("subscribe"));
     await this.watch("sensor", "pir", () => this.cycle("watch"));
     await this.subscribe("motion/later", async () => {
       await this.sleep(50);
       this.telemetry("sent", await this.publish("valve/later", "open"));
       this.telemetry("sent", await this.command("fogger", "start", 5000));
     });
     await this.subscribe("motion/seen", () => this.telemetry("seen", 1));
     this.every(50, () => this.cycleIfAsked("every"));
     this.spawn(this.mover);
     this.spawn(this.speaker);
   }
   loop() { return this.cycleIfAsked("loop"); }
   async mover() {
     for (;;) {
       await this.sleep(50);
       await this.cycleIfAsked("task");
     }
   }
   async speaker() {
     for (let i = 0; ; i++) {
       this.telemetry("pulse", i);
       await this.sleep(200);
     }
   }
   do_ask(way) { this.asked.add(way); }
   async cycleIfAsked(way) { if (this.asked.delete(way)) await this.cycle(way); }
   async cycle(way) {
     await this.hold(60_000, () => this.publish("valve/" + way, "open"), () => this.publish("valve/" + way, "closed"));
     await this.command("fogger", "start", 5000);
   }`,
);

/** It awaits what isn't ours, and swallows what it is told. */
const STUBBORN = workerSource(
  `async start() {
     this.state = "idle";
     await this.subscribe("sensor/done", () => this.done?.());
   }
   async do_wait() {
     this.state = "firing";
     await new Promise((resolve) => { this.done = resolve; });
     this.telemetry("went_on", 1);
     this.state = "waiting";
     await this.command("fogger", "start", 5000);
   }
   async do_swallow() {
     try {
       await this.sleep(60_000);
     } catch {
       this.telemetry("swallowed", 1);
     }
     await this.command("fogger", "start", 5000);
   }
   do_stop() { this.state = "idle"; }`,
);

const LINE = "trunk/line";
const ALL_STOP = "halloween/worker_host/status/all_stop";

/** Sends a command, and waits until it is answered. */
async function done(client: TestClient, id: string, action: string, args?: unknown): Promise<void> {
  const reply_to = `halloween/cli/reply/${id}_${action}`;
  await client.command(id, { action, args, reply_to });
  await client.expect(reply_to, /"ok"/);
}

/** Somebody walks past the trunk: its lid opens. */
async function openTrunk(client: TestClient): Promise<void> {
  await client.publish("halloween/path_pir/telemetry/motion", "1");
  await client.expect(LINE, "open");
}

/** The valve opens in these ways. */
async function openValve(client: TestClient, ways: string[]): Promise<void> {
  await client.publish("motion/subscribe", "1");
  await client.publish("halloween/sensor/telemetry/pir", "1");
  for (const way of ["every", "loop", "task"]) await client.command("valve", `ask ${way}`);
  for (const way of ways) await client.expect(`valve/${way}`, "open");
}

/** A hold that was begun in no command turns off with a stop, and the next step doesn't come; what only speaks goes on. */
async function stopEndsEachRun(client: TestClient): Promise<void> {
  await openValve(client, WAYS);
  await done(client, "valve", "stop");
  for (const way of WAYS) await client.expect(`valve/${way}`, "closed");
  await client.expect(
    "halloween/valve/status/warn",
    "mover was ended by a stop, since it moves (hold): begin what moves in a command or a handler",
  );
  const spoken = client.texts("halloween/valve/telemetry/pulse").length;
  while (client.texts("halloween/valve/telemetry/pulse").length === spoken) {
    await client.expect("halloween/valve/telemetry/pulse");
  }
}

/** Code that goes on after a foreign promise, or a swallowed abort, starts nothing, and doesn't say that it is armed. */
async function nothingLeavesWhatWasStopped(client: TestClient): Promise<void> {
  for (const action of ["wait", "swallow"]) await client.command("stubborn", action);
  await client.expect("halloween/stubborn/state", "firing");
  await done(client, "stubborn", "stop");
  await client.expect("halloween/stubborn/telemetry/swallowed");
  await client.publish("sensor/done", "1");
  await client.expect("halloween/stubborn/telemetry/went_on");
  await client.expect(
    "halloween/stubborn/status/warn",
    /^do_\w+ went on after it was stopped, at .*stubborn\/backend\/worker\.ts:\d+: use hold\(…\), this\.until\(/,
  );
  await done(client, "stubborn", "stop");
  expect(client.texts("halloween/stubborn/state")).toEqual(["idle", "firing", "idle", "idle"]);
}

/** A motion that comes while it is locked out moves nothing. */
async function motionUnderLockOut(client: TestClient): Promise<void> {
  const moves = client.texts("valve/subscribe").length;
  await done(client, "worker_host", "lock_out", { id: "valve", reason: "the hose leaks" });
  await client.command("valve", "ask every");
  await client.expect("halloween/valve/status/warn", /^"ask" refused: it is locked out \(the hose leaks\)/);
  for (const topic of ["motion/subscribe", "motion/seen"]) await client.publish(topic, "1");
  await client.expect("halloween/valve/telemetry/seen");
  expect(client.texts("valve/subscribe")).toHaveLength(moves);
  await done(client, "worker_host", "release", "valve");
}

/** Ten stops and an all-stop, which comes twice, while the lid of the toggled trunk goes down: it is toggled once. */
async function stopsJoin(client: TestClient): Promise<void> {
  const stops = Array.from({ length: 10 }, (_, index) => `halloween/cli/reply/stop_${index}`);
  for (const reply_to of stops) await client.command("toggler", { action: "stop", reply_to });
  await client.expect("toggler/line", "toggle");
  await done(client, "toggler", "ping");
  const reply_to = "halloween/cli/reply/all_stop";
  await client.command("worker_host", { action: "all_stop", reply_to });
  await client.expect("halloween/toggler/telemetry/frozen");
  await client.expect("halloween/broadcast/cmd", /"all_stop"/);
  await client.expect(ALL_STOP, "engaged");
  await done(client, "toggler", "ping");
  expect(stops.flatMap((topic) => client.texts(topic))).toEqual([]);
  await client.publish("toggler/closed", "1");
  for (const topic of [...stops, reply_to]) await client.expect(topic, /"ok"/);
  const entered = client.texts("halloween/toggler/telemetry/stops").map((text) => JSON.parse(text) as unknown);
  expect(entered).toEqual([
    { reason: "stop", atOnce: 1 },
    { reason: "all_stop", atOnce: 1 },
  ]);
  expect(client.texts("toggler/line")).toEqual(["toggle"]);
  expect(client.texts("halloween/toggler/telemetry/frozen")).toHaveLength(1);
}

/** What a handler sends after a sleep does not go out. */
async function nothingLeavesUnderAllStop(client: TestClient): Promise<void> {
  await client.publish("motion/later", "1");
  for (let i = 0; i < 2; i++) await client.expect("halloween/valve/telemetry/sent", "false");
  expect(client.texts("valve/later")).toEqual([]);
}

test("what was stopped stays stopped", { timeout: 90_000 }, async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url, ["#"]);
  const host = await startHost({
    broker,
    props: {
      "trunk/backend/worker.ts": TRUNK,
      "toggler/backend/worker.ts": TOGGLER,
      "valve/backend/worker.ts": VALVE,
      "stubborn/backend/worker.ts": STUBBORN,
    },
  });
  await client.expect("halloween/trunk/state", "closed");
  await openTrunk(client);
  await client.command("trunk", "stop");
  await stopEndsEachRun(client);
  await nothingLeavesWhatWasStopped(client);
  await motionUnderLockOut(client);
  await client.expect("halloween/trunk/state", "closed");
  await openTrunk(client);
  await stopsJoin(client);
  await nothingLeavesUnderAllStop(client);
  await client.command("worker_host", "all_clear");
  await client.expect(ALL_STOP, "clear");

  await openTrunk(client);
  // What is called again and again is called again; the task has ended.
  const again = WAYS.filter((way) => way !== "task");
  await openValve(client, again);
  expect(await host.stop("SIGTERM")).toEqual({ code: 0, signal: null });
  await client.barrier();
  for (const way of again) expect(client.texts(`valve/${way}`)).toEqual(["open", "closed", "open", "closed"]);
  expect(client.texts("valve/task")).toEqual(["open", "closed"]);
  // A hold that ends halts it, and so do do_stop, which closes the lid unless it is an emergency, and onAllStop.
  const halted = ["open", "halt", "halt"];
  expect(client.texts(LINE)).toEqual([...halted, "close", ...halted, "halt", ...halted, "close"]);
  expect(client.texts("halloween/trunk/state")).toEqual(["closed", "closed", "closed"]);
  expect(host.stdout).not.toMatch(/left behind/);
  // Nothing was started by what was stopped.
  expect(client.texts("halloween/fogger/cmd")).toEqual([]);
});
