import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { WebSocketServer } from "ws";
import { feedWatchdog } from "../worker-host/cli/serve.ts";
import { Bundler } from "../worker-host/host/plan/bundle.ts";
import { callsOf } from "../worker-host/host/runners/stuck-code.ts";
import { TestClock } from "../worker-host/testing/test-clock.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { type Files, makeFolder, workerSource, writeFiles } from "./harness/folder.ts";
import { type StartHostOptions, startHost } from "./harness/host.ts";
import { PacketType, startProxy } from "./harness/proxy.ts";

// What never ends, or can't be done just now, in one prop: it holds up no other, and not the host's watch over the files.

const says = (n: number) => workerSource(`async start() { await super.start(); this.telemetry("n", ${n}); }`);
const ZOD = 'import { z } from "worker-host";';

async function run(files: Files, options: StartHostOptions = {}) {
  const props = makeFolder({ "good/backend/worker.ts": says(1), ...files });
  const host = await startHost({ args: ["--props", props], dontWait: true, ...options });
  const client = await TestClient.connect(await host.url());
  await client.expect("halloween/good/status/availability", "online");
  const edit = (changed: Files) => writeFiles(props, changed);
  return { host, client, props, edit };
}

/** Edits the good one again and again, since the host may not watch yet, until it has taken that in. */
async function expectEditsTaken(client: TestClient, edit: (files: Files) => void): Promise<void> {
  let n = 1;
  const again = setInterval(() => edit({ "good/backend/worker.ts": says(++n) }), 1_000);
  await client.expect("halloween/good/telemetry/n", /[^1]/, 60_000).finally(() => clearInterval(again));
}

test("top-level code that never ends fails its worker, and edits of the others are taken in", async () => {
  const endless = `await new Promise(() => setInterval(() => {}, 1_000));\n${workerSource()}`;
  const { client, edit } = await run({ "bad/backend/worker.ts": endless });
  await client.expect("halloween/bad/status/error", /worker\.ts: .*its top-level code has not ended in 10 s/, 60_000);
  await expectEditsTaken(client, edit);
}, 90_000);

test("a check of a config that never ends is refused, by hand and by configure, and edits of the others are taken in", async () => {
  const source = workerSource(
    "static config = z.object({ n: z.number().refine((n) => n === 1 || new Promise<boolean>(() => {})) });",
    ZOD,
  );
  const { host, client, edit } = await run({ "bad/backend/worker.ts": source, "bad/backend/config.yaml": "n: 1" });
  await host.ready();
  const reply_to = "halloween/cli/reply/1";
  await client.command("worker_host", { action: "configure", args: { id: "bad", config: { n: 2 } }, reply_to });
  const takes = 'the check of its config by "static config" has not ended in 10 s';
  expect(JSON.parse(await client.expect(reply_to, undefined, 60_000))).toMatchObject({
    error: expect.stringContaining(takes),
  });
  edit({ "bad/backend/config.yaml": "n: 3" });
  await client.expect("halloween/bad/status/error", new RegExp(`${takes}; the old config stays`), 60_000);
  await expectEditsTaken(client, edit);
}, 90_000);

test("edits are taken in while the broker lets one of the workers in no more", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  proxy.decide = ({ type, clientId }) =>
    type === PacketType.CONNECT && clientId.includes("-bad-") ? "cut-before" : "pass";
  const props = makeFolder({ "good/backend/worker.ts": says(1), "bad/backend/worker.ts": says(1) });
  await startHost({ broker: proxy, args: ["--props", props], dontWait: true });
  const client = await TestClient.connect(broker.url);
  await client.expect("halloween/good/status/availability", "online");
  await expectEditsTaken(client, (files) => writeFiles(props, files));
}, 90_000);

test("a pipe in the place of a tsconfig.json is not read for ever", async () => {
  const { host, client, props, edit } = await run({ "bad/backend/worker.ts": says(1) });
  await host.ready();
  execFileSync("mkfifo", [join(props, "bad/backend/tsconfig.json")]);
  edit({ "bad/backend/worker.ts": says(2) });
  await client.expect(
    "halloween/bad/status/error",
    /tsconfig\.json: can't be read \(it is no file\); the old one runs on/,
  );
  await expectEditsTaken(client, edit);
}, 90_000);

test("a build that never ends is given up, in words", async () => {
  const folder = makeFolder({ "worker.ts": 'import "lib";' });
  execFileSync("mkfifo", [join(folder, "package.json")]);
  const clock = new TestClock();
  const bundler = new Bundler(makeFolder(), () => "props/bad/backend/worker.ts", clock);
  const built = bundler.bundle("bad", join(folder, "worker.ts")).catch((error: unknown) => error);
  await clock.advance(30_000);
  expect(await built).toMatchObject({
    code: "load_failed",
    message: expect.stringMatching(
      /^props\/bad\/backend\/worker\.ts: to build it takes more than 30 s: is a file .* a pipe/,
    ),
  });
  await bundler.rest();
});

test("where no folder is there at the start, what comes later is seen", async () => {
  const folder = makeFolder();
  const args = ["--props", join(folder, "props"), "--builtins", join(folder, "builtins")];
  const host = await startHost({ args, cwd: folder });
  const client = await TestClient.connect(await host.url());
  await expectEditsTaken(client, (files) => writeFiles(join(folder, "props"), files));
}, 90_000);

test("a worker whose bundle is gone, and can't be built just now, comes back once it can", async () => {
  const { host, client } = await run({
    "good/backend/worker.ts": workerSource(
      "async start() { await super.start(); this.telemetry('pid', process.pid, { retain: true, qos: 1 }); }",
    ),
  });
  const pid = Number(await client.expect("halloween/good/telemetry/pid"));
  const data = join(host.cwd, "data");
  const scratch = join(data, readdirSync(data).find((name) => name.startsWith(".run-")) ?? "");
  rmSync(scratch, { recursive: true });
  writeFileSync(scratch, "");
  process.kill(pid, "SIGKILL");
  await client.expect("halloween/good/status/runstate", /EEXIST.*starting it again in/);
  rmSync(scratch);
  await client.expect("halloween/good/telemetry/pid", new RegExp(`^(?!${pid}$)`));
});

test("an inspector that talks nonsense ends the look into its process, and nothing else", async () => {
  for (const nonsense of ["no JSON", "null", '{"method":"Debugger.paused"}']) {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    server.on("connection", (socket) => socket.send(nonsense));
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    await expect(callsOf(`ws://127.0.0.1:${port}`, () => true, new AbortController().signal)).rejects.toThrow();
    server.close();
  }
});

test("systemd's watchdog is fed again after a moment in which no process could be started", async () => {
  const folder = makeFolder({ "systemd-notify": '#!/bin/sh\ntouch "$FED"\n' });
  chmodSync(join(folder, "systemd-notify"), 0o755);
  mkdirSync(join(folder, "fed"));
  const clock = new TestClock();
  const fed = join(folder, "fed/x");
  // No process can have such an environment.
  const env: NodeJS.ProcessEnv = {
    WATCHDOG_USEC: "30000000",
    NOTIFY_SOCKET: "\0",
    FED: fed,
    PATH: `${folder}:${process.env.PATH}`,
  };
  const warned: string[] = [];
  feedWatchdog({ env, clock }, (text) => warned.push(text));
  expect(warned).toEqual([expect.stringMatching(/^systemd's watchdog can't be fed, and will end this host: /)]);
  env.NOTIFY_SOCKET = "/run/systemd/notify";
  await clock.advance(10_000);
  await expect.poll(() => existsSync(fed), { timeout: 10_000 }).toBe(true);
});
