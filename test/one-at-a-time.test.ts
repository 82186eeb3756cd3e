import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

const LEFT_BEHIND = /worker-host\.lock was left behind \(.*\): replaced it$/;

const lockIn = (cwd: string) => join(cwd, "data", "worker-host.lock");
const holder = (cwd: string) => JSON.parse(readFileSync(lockIn(cwd), "utf8")) as Record<string, unknown>;

test.each([[[]], [["--standby"]], [["--name", "attic"]]])(
  "a second host %j on the same data folder is refused in words, and the first runs on",
  async (more) => {
    const broker = await startBroker();
    const first = await startHost({ broker });
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
    expect(await first.stop()).toEqual({ code: 0, signal: null });
  },
);

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

test("the temporary folder of one that was killed goes with the next start, and that one's own with its end", async () => {
  const cwd = makeFolder();
  const TMPDIR = makeFolder();
  const props = { "lamp/backend/worker.ts": workerSource("") };
  const killed = await startHost({ cwd, props, env: { TMPDIR } });
  const left = readdirSync(TMPDIR);
  expect(left).toHaveLength(1);
  killed.child.kill("SIGKILL");
  await killed.exit;
  expect(readdirSync(TMPDIR)).toEqual(left);
  const next = await startHost({ cwd, props, env: { TMPDIR } });
  expect(readdirSync(TMPDIR)).toHaveLength(1);
  expect(readdirSync(TMPDIR)).not.toEqual(left);
  await next.stop();
  expect(readdirSync(TMPDIR)).toEqual([]);
});

test("a lock that was left behind has nothing removed but such a folder", async () => {
  const TMPDIR = makeFolder({ "mine/file": "" });
  const nobody = { pid: process.pid, since, machine: "a", started: "1" };
  for (const scratch of ["mine", ".", "worker-host-x/../mine", "mine/worker-host-x"]) {
    const entry = JSON.stringify({ ...nobody, scratch: `${TMPDIR}/${scratch}` });
    const host = await startHost({ cwd: makeFolder({ "data/worker-host.lock": entry }), env: { TMPDIR } });
    await host.logged(LEFT_BEHIND);
    await host.stop();
    expect(readdirSync(join(TMPDIR, "mine"))).toEqual(["file"]);
  }
});

const since = new Date().toISOString();

test.each([
  ["empty, as a power cut leaves it", "", "it can't be read"],
  ["no JSON", "{", "it can't be read"],
  ["of nobody", JSON.stringify({ pid: "x".repeat(1000), since, machine: "a" }), "it can't be read"],
  [
    "of another process with the same number, as containers have it",
    JSON.stringify({ pid: process.pid, since, machine: "0a1b2c", started: "1" }),
    "another process has that number now",
  ],
  [
    "from before the machine was started",
    JSON.stringify({ pid: process.pid, since, machine: "a", started: "1", boot: "another" }),
    "the machine was started since",
  ],
  [
    "from long ago, and it isn't known when that process began",
    JSON.stringify({ pid: process.pid, since: "2001-01-01T00:00:00Z", machine: "a" }),
    "the machine was started since",
  ],
])("a lock that is %s is stale", async (_what, text, why) => {
  const cwd = makeFolder({ "data/worker-host.lock": text });
  const host = await startHost({ cwd });
  const { msg } = await host.logged(LEFT_BEHIND);
  expect(msg).toContain(why);
  expect(holder(cwd)).toMatchObject({ pid: host.pid });
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
