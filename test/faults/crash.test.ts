import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { workerSource, writeFiles } from "../harness/folder.ts";
import { startHost } from "../harness/host.ts";
import { expectOthersWell, restarted, startThree } from "../harness/three.ts";

const HARMLESS: [name: string, body: string, said: RegExp][] = [
  ["process.exit()", "do_go() { process.exit(3); }", /process\.exit\(\) would end the other workers too/],
  ["process.exit() in a timer", "do_go() { setTimeout(() => process.exit(3), 5); }", /process\.exit\(\) would end/],
  ["process.kill(process.pid)", "do_go() { process.kill(process.pid); }", /process\.kill\(\d+\) would end the other/],
  ["process.abort()", "do_go() { process.abort(); }", /process\.abort\(\) would end the other workers too/],
  ["an unhandled rejection", "do_go() { void Promise.reject(new Error('forgotten')); }", /forgotten/],
  ["an exception in a timer", "do_go() { setTimeout(() => { throw new Error('late'); }, 5); }", /late/],
  [
    "an error on a socket that nobody listens to",
    "do_go() { connect({ port: 1, host: '127.0.0.1' }); }",
    /ECONNREFUSED/,
  ],
];

for (const [name, body, said] of HARMLESS) {
  test(`${name} marks the worker that did it, and ends nothing`, async () => {
    const { client, host } = await startThree(body);
    await client.command("bad", "go");
    await client.expect("halloween/bad/status/error", said);
    await expectOthersWell(client, host);
    const offline = client.seen.all.filter(({ topic, text }) => /availability$/.test(topic) && text === "offline");
    expect(offline).toEqual([]);
  });
}

const BOMBS: [name: string, body: string, where: RegExp][] = [
  [
    "a Buffer bomb in a handler",
    "do_go() {\n const all: Buffer[] = [];\n for (;;) all.push(Buffer.alloc(10_000_000, 1));\n }",
    /worker\.ts:\d+ \(do_go\)|in do_go/,
  ],
  [
    "a Buffer bomb, one after the other",
    "all: Buffer[] = [];\n do_go() {\n this.every(5, () => this.all.push(Buffer.alloc(10_000_000, 1)));\n }",
    /bad takes too much memory/,
  ],
  [
    "a heap bomb",
    "do_go() {\n const all: object[] = [];\n for (;;) all.push({ a: [1, 2, 3] });\n }",
    /worker\.ts:\d+ \(do_go\)|in do_go/,
  ],
];

for (const [name, body, where] of BOMBS) {
  test(`${name}: its process is ended before it takes the machine, and the others go on`, async () => {
    const { client, host } = await startThree(body, { WORKER_MAX_MEMORY_MB: "250" });
    await client.command("bad", "go");
    const said = await client.expect("halloween/bad/status/error", /memory|died/);
    expect(said).toMatch(where);
    await restarted(client);
    await expectOthersWell(client, host);
    for (const state of [/"failed"/, /"running"/]) await client.expect("halloween/bad/status/runstate", state);
  });
}

test("a worker of its own process has a limit of its own, and nobody else notices", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const bomb = "all: Buffer[] = []; do_go() { this.every(5, () => this.all.push(Buffer.alloc(10_000_000, 1))); }";
  const host = await startHost({
    broker,
    props: {
      "good/backend/worker.ts": workerSource("do_ping() { this.telemetry('pong', 1); }"),
      "bomb/backend/worker.ts": workerSource(bomb),
      "bomb/backend/config.yaml": "worker: { isolation: own, max_memory_mb: 200 }",
    },
    env: { WORKER_MAX_RESTARTS: "0" },
  });
  await client.command("bomb", "go");
  await client.expect("halloween/bomb/status/error", /takes too much memory.*max_memory_mb is 200; not started again/);
  await client.command("good", "ping");
  await client.expect("halloween/good/telemetry/pong");
  expect(client.texts("halloween/good/status/availability")).toEqual(["online"]);
  expect((await host.stop()).code).toBe(0);
});

test("ten thousand timers harm nobody", async () => {
  const { client, host } = await startThree(
    "n = 0; do_go() { for (let i = 0; i < 10_000; i++) this.every(1000, () => { this.n++; }); this.telemetry('set', 1); }",
    // As it is shipped: a busy machine takes more than a second for so many.
    {},
  );
  await client.command("bad", "go");
  await client.expect("halloween/bad/telemetry/set");
  await expectOthersWell(client, host);
});

const FLAKY = `
async start() {
  const tries = ((await this.store.get("tries")) as number | undefined ?? 0) + 1;
  await this.store.set("tries", tries);
  if (tries < 3) throw new Error("try " + tries);
}`;

test("a worker whose start() fails is started again, each time later, until it comes up", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, props: { "flaky/backend/worker.ts": workerSource(FLAKY) } });
  await client.expect("halloween/flaky/status/error", /try 1; starting it again in 0\.\d s \(1 of 5 in 60 s\)/);
  await client.expect("halloween/flaky/status/error", /try 2; starting it again in [01]\.\d s \(2 of 5 in 60 s\)/);
  await client.expect("halloween/flaky/status/runstate", /"running"/);
  await client.expect("halloween/flaky/status/availability", "online");
});

test("one that fails too often stays failed, with its last error retained, until an edit or restart_worker", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({
    broker,
    props: { "dead/backend/worker.ts": workerSource("async start() { throw new Error('no power'); }") },
    env: { WORKER_MAX_RESTARTS: "1" },
    args: [],
  });
  const gaveUp = /no power; given up after 1 in 60 s: mend it, or send restart_worker/;
  await client.expect("halloween/dead/status/error", gaveUp);
  const late = await TestClient.connect(broker.url);
  await late.expect("halloween/dead/status/runstate", /"failed".*no power; given up/);

  await late.command("worker_host", "restart_worker dead");
  await late.expect("halloween/dead/status/error", /no power; starting it again in .* \(1 of 1/);
  await late.expect("halloween/dead/status/error", gaveUp);

  const props = /--props (\S+)/.exec(host.child.spawnargs.join(" "))?.[1] ?? "";
  writeFiles(props, { "dead/backend/worker.ts": workerSource("async start() {}") });
  await late.expect("halloween/dead/status/runstate", /"running"/);
});

test("a fault that will not pass by itself is not tried again", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, props: { "none/backend/worker.ts": "export const a = 1;" } });
  const text = await client.expect("halloween/none/status/error");
  expect(text).toMatch(/exports no class Worker/);
  expect(text).not.toMatch(/again/);
});

test("a worker that ends its process at each start, from outside as it seems, is found, and the others run", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = Object.fromEntries(
    ["a", "b", "d", "e", "f"].map((id) => [
      `${id}/backend/worker.ts`,
      workerSource("do_ping() { this.telemetry('pong', 1); }"),
    ]),
  );
  const kills = "async start() { setTimeout(() => execSync('kill ' + process.pid), 50); }";
  await startHost({
    broker,
    props: { ...props, "c/backend/worker.ts": workerSource(kills, 'import { execSync } from "node:child_process";') },
    env: { WORKER_MAX_RESTARTS: "0" },
    dontWait: true,
  });
  await client.expect("halloween/worker_host/status/warn", /it isn't known which of them ends it/);
  await client.expect("halloween/c/status/error", /the process of c died.*\(signal SIGTERM\).*not started again/);
  await client.barrier();
  for (const id of ["a", "b", "d", "e", "f"]) {
    const availability = `halloween/${id}/status/availability`;
    while (client.texts(availability).at(-1) !== "online") await client.expect(availability);
    await client.command(id, "ping");
    await client.expect(`halloween/${id}/telemetry/pong`);
    expect(client.texts(`halloween/${id}/status/error`)).toEqual([]);
  }
});

test("a machine that starts no process is waited for: the host says so, and runs the workers as soon as it does", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = {
    "lamp/backend/worker.ts": workerSource("do_ping(n: number) { this.telemetry('pong', process.pid); }"),
  };
  const host = await startHost({ broker, props });
  await client.command("lamp", "ping");
  const pid = Number(await client.expect("halloween/lamp/telemetry/pong"));
  const descriptors = (most: number) => execFileSync("prlimit", ["--pid", String(host.pid), `--nofile=${most}:`]);
  descriptors(10);
  process.kill(pid, "SIGKILL");
  const refused = /the process of the workers can't be started \(.*EMFILE.*\): trying again in \d+ ms/;
  await client.expect("halloween/worker_host/status/warn", refused);
  descriptors(4096);
  await client.expect("halloween/lamp/status/runstate", /"starting".*died/);
  await client.expect("halloween/lamp/status/runstate", /"running"/);
  expect(host.child.exitCode).toBe(null);
});
