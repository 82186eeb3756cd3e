import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";
import { patiently } from "./harness/wait.ts";

const PING = workerSource("do_ping() { this.telemetry('pong', 1); }");

/** What it holds open, nothing but the `hold` closes. */
const VALVE = workerSource(
  `do_open() { return this.hold(Infinity, () => this.telemetry("valve", "on"), () => this.telemetry("valve", "off")); }
   do_ping() { this.telemetry("pong", 1); }`,
);

/** Whether a process is there. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Fulfils when none of these processes is there. */
function gone(...pids: number[]): Promise<void> {
  const look = async () => {
    while (pids.some(alive)) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  return patiently(look(), () => `the end of ${pids.filter(alive).join(", ")}`);
}

const WITH_PIDS = workerSource(
  `async start() { const child = spawn("sleep", ["600"]); this.telemetry("pids", [process.pid, process.ppid, child.pid], { retain: true }); }
   do_fire() { return this.hold(60_000, () => this.telemetry("event", "on"), () => this.telemetry("event", "off")); }
   do_stop() { this.telemetry("event", "do_stop"); }`,
  'import { spawn } from "node:child_process";',
);

test("kill -9 of the host: what is on goes off, its workers are offline, no process stays", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({
    broker,
    props: { "lab/backend/worker.ts": WITH_PIDS, "two/backend/worker.ts": PING },
  });
  const pids = JSON.parse(await client.expect("halloween/lab/telemetry/pids")) as number[];
  expect(pids[1]).toBe(host.pid);
  await client.command("lab", "fire");
  await client.expect("halloween/lab/telemetry/event", "on");

  host.child.kill("SIGKILL");
  await client.expect("halloween/lab/telemetry/event", "off");
  await client.expect("halloween/lab/telemetry/event", "do_stop");
  for (const id of ["lab", "two", "worker_host"]) await client.expect(`halloween/${id}/status/availability`, "offline");
  await gone(...pids);
});

test("kill -9 of a host with the embedded broker leaves no process", async () => {
  const host = await startHost({ props: { "lab/backend/worker.ts": WITH_PIDS } });
  const client = await TestClient.connect(await host.url());
  const pids = JSON.parse(await client.expect("halloween/lab/telemetry/pids")) as number[];
  host.child.kill("SIGKILL");
  await gone(...pids);
});

test("kill -9 of the runner: its workers are offline, then run again in a new one; what one left on is told", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({
    broker,
    props: { "lab/backend/worker.ts": WITH_PIDS, "two/backend/worker.ts": VALVE, "three/backend/worker.ts": VALVE },
  });
  for (const id of ["two", "three"]) {
    await client.command(id, "open");
    await client.expect(`halloween/${id}/telemetry/valve`, "on");
  }
  await client.command("three", "stop");
  await client.expect("halloween/three/telemetry/valve", "off");
  await client.command("lab", "fire");
  await client.expect("halloween/lab/telemetry/event", "on");
  const [runner = 0, , child = 0] = JSON.parse(await client.expect("halloween/lab/telemetry/pids")) as number[];

  process.kill(runner, "SIGKILL");
  await client.expect("halloween/two/status/availability", "offline");
  await host.logged(/the process of the workers died \(signal SIGKILL\): starting it again/);
  await client.expect("halloween/two/status/runstate", /"starting".*its process died/);
  await client.expect("halloween/two/status/availability", "online");
  await client.command("two", "ping");
  await client.expect("halloween/two/telemetry/pong");
  const leftOn = /^its process ended while it held something on, and it has no do_stop: that may still be on/;
  await client.expect("halloween/two/status/error", leftOn);
  await client.expect("halloween/lab/telemetry/event", "do_stop");
  for (const id of ["lab", "three"]) {
    await client.expect(`halloween/${id}/status/availability`, "offline");
    await client.expect(`halloween/${id}/status/availability`, "online");
    expect(client.texts(`halloween/${id}/status/error`)).toEqual([]);
  }
  await gone(runner);
  // Its workers' children are in its group, which the host ends.
  await gone(child);
});

test("a second signal ends by force what does not stop", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const stuck = workerSource("async stop() { this.telemetry('pid', process.pid); await new Promise(() => {}); }");
  const host = await startHost({ broker, props: { "lab/backend/worker.ts": stuck } });
  host.child.kill("SIGINT");
  // npm and a terminal both send one at a Ctrl-C: an echo is not a second one.
  await new Promise((resolve) => setTimeout(resolve, 20));
  host.child.kill("SIGINT");
  const pid = Number(await client.expect("halloween/lab/telemetry/pid"));
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(host.child.exitCode).toBeNull();
  host.child.kill("SIGINT");
  expect(await host.exit).toEqual({ code: 1, signal: null });
  await client.expect("halloween/lab/status/availability", "offline");
  await gone(pid);
});

test.each([
  ["its process is ended", "2000", 0],
  ["a second signal ends it by force", "60000", 1],
] as const)(
  "a worker that blocks everything does not keep the host from ending: %s",
  async (_how, stallKillMs, code) => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    const hung = workerSource(
      `async start() { this.telemetry("here", [process.pid, this.dir], { retain: true, qos: 1 }); }
     do_hang() { writeFileSync(this.dir + "/hangs", ""); for (;;) {} }`,
      'import { writeFileSync } from "node:fs";',
    );
    const host = await startHost({
      broker,
      props: { "lab/backend/worker.ts": hung },
      env: { WORKER_STALL_KILL_MS: stallKillMs },
    });
    const [pid, dir] = JSON.parse(await client.expect("halloween/lab/telemetry/here")) as [number, string];
    await client.command("lab", "hang");
    // It can no longer say so by MQTT.
    while (!existsSync(`${dir}/hangs`)) await new Promise((resolve) => setTimeout(resolve, 10));
    host.signal("SIGINT");
    if (code === 1) {
      // What comes sooner is the echo that npm makes of the first.
      await host.logged(/^SIGINT: stopping/);
      await new Promise((resolve) => setTimeout(resolve, 500));
      host.signal("SIGINT");
    }
    expect(await patiently(host.exit, () => "the host's end")).toEqual({ code, signal: null });
    await client.expect("halloween/lab/status/availability", "offline");
    await gone(pid);
  },
);
