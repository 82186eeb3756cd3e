import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { expect, test } from "vitest";
import { systemClock } from "../worker-host/base/clock.ts";
import { DataLock } from "../worker-host/host/data/data-lock.ts";
import { startBroker } from "./harness/broker.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { ROOT, runCli, startHost } from "./harness/host.ts";

const LEFT_BEHIND = /worker-host\.lock was left behind \(.*\): replaced it$/;

const lockIn = (cwd: string) => join(cwd, "data", "worker-host.lock");
const holder = (cwd: string) => JSON.parse(readFileSync(lockIn(cwd), "utf8")) as Record<string, unknown>;

test("a second host on the same data folder is refused in words, whatever it is told, and the first runs on", async () => {
  const broker = await startBroker();
  const first = await startHost({ broker });
  for (const more of [[], ["--standby"], ["--name", "attic"]]) {
    const port = String(broker.port);
    const args = ["run", ...more, "--data", join(first.cwd, "data"), "--disable-all-builtins"];
    const { code, stderr } = await runCli(args, { env: { MQTT_HOST: "127.0.0.1", MQTT_PORT: port } });
    expect(stderr).toMatch(
      new RegExp(
        `^another host uses the folder ${first.cwd}/data \\(process ${first.pid}, since 20[-0-9T:.]+Z\\): stop it, or give this one a folder of its own \\(--data\\)\\. If that process is no worker-host, remove ${lockIn(first.cwd)}\\n$`,
      ),
    );
    expect(code).toBe(1);
    expect(holder(first.cwd)).toMatchObject({ pid: first.pid });
  }
  expect(await first.stop()).toEqual({ code: 0, signal: null });
});

test("the lock is gone after an orderly end, and the next start says nothing of it", async () => {
  const cwd = makeFolder();
  const first = await startHost({ cwd });
  await first.stop();
  expect(() => holder(cwd)).toThrow("ENOENT");
  const second = await startHost({ cwd });
  expect(second.log.all.filter(({ msg }) => msg.includes("lock"))).toEqual([]);
});

test("the lock of one that was killed is replaced, which the log says", async () => {
  const cwd = makeFolder();
  const first = await startHost({ cwd });
  first.child.kill("SIGKILL");
  await first.exit;
  expect(holder(cwd)).toMatchObject({ pid: first.pid });
  const second = await startHost({ cwd });
  const { msg } = await second.logged(LEFT_BEHIND);
  expect(msg).toContain(`process ${first.pid}, since `);
  expect(msg).toContain("that process is gone");
  expect(holder(cwd)).toMatchObject({ pid: second.pid });
});

test("what one that was killed left in the data folder goes with the next start, and that one's own with its end", async () => {
  const cwd = makeFolder({ "data/lamp/store.json": "{}" });
  const props = { "lamp/backend/worker.ts": workerSource("") };
  const runs = () => readdirSync(join(cwd, "data")).filter((name) => name.startsWith(".run-"));
  const killed = await startHost({ cwd, props });
  const left = runs();
  expect(left).toHaveLength(1);
  killed.child.kill("SIGKILL");
  await killed.exit;
  expect(runs()).toEqual(left);
  const next = await startHost({ cwd, props });
  expect(runs()).toHaveLength(1);
  expect(runs()).not.toEqual(left);
  await next.stop();
  expect(runs()).toEqual([]);
  expect(readdirSync(join(cwd, "data/lamp"))).toEqual(["store.json"]);
});

test("a temporary folder that isn't there is not needed", async () => {
  const props = { "lamp/backend/worker.ts": workerSource("") };
  const host = await startHost({ props, env: { TMPDIR: "/nonexistent" } });
  expect(await host.ready()).toMatchObject({ running: 1, failed: 0 });
});

test("on a data disk that is full at the start, the temporary folder is used, which is said", async () => {
  const cwd = makeFolder();
  const props = { "lamp/backend/worker.ts": workerSource("") };
  const NODE_OPTIONS = `--import=file://${ROOT}test/harness/full-disk.mjs`;
  const host = await startHost({ cwd, props, env: { NODE_OPTIONS, FULL_DISK: join(cwd, "data") } });
  expect(await host.ready()).toMatchObject({ running: 1, failed: 0 });
  await host.logged(/^no bundles of workers can be written to .*\/data \(.*ENOSPC/);
  expect(readdirSync(join(cwd, "data")).filter((name) => name.startsWith(".run-"))).toEqual([]);
});

test("where nothing can be written, the host says so in words and ends", async () => {
  const cwd = makeFolder({ data: "a file in the folder's place" });
  const env = { TMPDIR: "/nonexistent", WORKER_BROKER_PORT: "0" };
  const { code, stderr } = await runCli(["run", "--disable-all-builtins"], { cwd, env });
  expect(stderr).toMatch(
    /^the bundles of the workers can be written neither to .*\/data nor to \/nonexistent .*--data\)\n$/,
  );
  expect(code).toBe(1);
});

const since = new Date().toISOString();

test.each([
  ["empty, as a power cut leaves it", "", "it can't be read"],
  ["no JSON", "{", "it can't be read"],
  ["of nobody", JSON.stringify({ pid: "x".repeat(1000), since, machine: "a" }), "it can't be read"],
  [
    "of another process with the same number, as containers have it",
    JSON.stringify({ pid: process.ppid, since, machine: "0a1b2c", started: "1" }),
    "another process has that number now",
  ],
  [
    "from before the machine was started",
    JSON.stringify({ pid: process.ppid, since, machine: "a", started: "1", boot: "another" }),
    "the machine was started since",
  ],
  [
    "from long ago, and it isn't known when that process began",
    JSON.stringify({ pid: process.ppid, since: "2001-01-01T00:00:00Z", machine: "a" }),
    "the machine was started since",
  ],
])("a lock that is %s is stale", (_what, text, why) => {
  const cwd = makeFolder({ "data/worker-host.lock": text });
  const said: string[] = [];
  const log = pino({}, { write: (line) => said.push((JSON.parse(line) as { msg: string }).msg) });
  const lock = new DataLock({ settings: { data: join(cwd, "data") }, log, clock: systemClock });
  lock.acquire();
  expect(said).toEqual([expect.stringMatching(LEFT_BEHIND)]);
  expect(said[0]).toContain(why);
  expect(holder(cwd)).toMatchObject({ pid: process.pid });
  lock.release();
  expect(readdirSync(join(cwd, "data"))).toEqual([]);
});

test("a stale lock is one start's alone, of several at once", async () => {
  const cwd = makeFolder({ "data/worker-host.lock": "" });
  const broker = await startBroker();
  const hosts = await Promise.all(
    ["a", "b", "c"].map((name) => startHost({ broker, cwd, args: ["--name", name], dontWait: true })),
  );
  const ends = await Promise.all(
    hosts.map((host) => Promise.race([host.ready().then(() => "ready"), host.exit.then(({ code }) => code)])),
  );
  expect(ends.sort()).toEqual([1, 1, "ready"]);
});

test("where no lock can be written, the host says so and runs", async () => {
  const cwd = makeFolder();
  writeFileSync(join(cwd, "data"), "a file in the folder's place");
  const host = await startHost({ cwd });
  await host.logged(/^no lock on .*: nothing keeps a second host out of it/);
});
