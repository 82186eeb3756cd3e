import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LogTail } from "../worker-host/cli/logs.ts";
import { LogFiles } from "../worker-host/host/data/log-files.ts";
import { TestClock } from "../worker-host/testing/test-clock.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { shared } from "./harness/ending.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { type LogLine, runCli, startHost, type TestHost } from "./harness/host.ts";
import { startCli } from "./harness/running-cli.ts";

const TALKER = workerSource(`
  do_count(count: string) {
    for (let i = 0; i < Number(count); i++) this.log.info({ i }, "counted");
    this.telemetry("counted", count);
  }
  do_say(text: string) { this.log.warn(text); console.log("and", text); this.telemetry("said", 1); }
  do_long() { this.log.info("x".repeat(100_000)); this.telemetry("said", 1); }
  do_hang() { this.log.info("before one"); this.log.info("before two"); for (;;); }
  do_die() { this.log.info("before the end"); process.getBuiltinModule("node:child_process").execFileSync("kill", ["-KILL", "" + process.pid]); }
`);

function folderOf(host: TestHost): string {
  return join(host.cwd, "data/logs");
}

function linesOf(host: TestHost, name: string): LogLine[] {
  return readFileSync(join(folderOf(host), name), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as LogLine);
}

function textsOf(host: TestHost, name: string): string[] {
  return linesOf(host, name).map(({ msg }) => msg);
}

async function startTalker(env: Record<string, string> = {}, cwd = makeFolder()) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = { "talker/backend/worker.ts": TALKER };
  const host = await startHost({ broker, cwd, props, env });
  return { client, host };
}

async function say(client: TestClient, payload: string | object): Promise<void> {
  await client.command("talker", payload);
  await client.expect("halloween/talker/telemetry/said");
}

/** A host that has run, and what it was told. */
const talked = shared(async () => {
  const { client, host } = await startTalker();
  await say(client, "long");
  await say(client, "say hello");
  await host.stop();
  return host;
});

describe("log files", () => {
  test("hold what a worker logs, and what the host says of it; the host has one of its own", async () => {
    const host = await talked();
    expect(readdirSync(folderOf(host)).sort()).toEqual(["talker.log", "worker_host.log"]);
    const lines = linesOf(host, "talker.log");
    expect(lines.map(({ msg }) => msg)).toEqual(expect.arrayContaining(["running", "hello", "and hello"]));
    expect(lines.find(({ msg }) => msg === "hello")).toMatchObject({ level: 40, worker: "talker" });
    expect(textsOf(host, "worker_host.log")).toContain("ready");
    expect(textsOf(host, "worker_host.log").some((text) => /^using the broker at/.test(text))).toBe(true);
  });

  test("are rotated, each within its length", async () => {
    const { client, host } = await startTalker({ WORKER_LOG_FILE_KB: "1", WORKER_LOG_FILES: "3" });
    await client.command("talker", "count 25");
    await client.expect("halloween/talker/telemetry/counted");
    await host.stop();
    const names = ["talker.2.log", "talker.1.log", "talker.log"];
    expect(
      readdirSync(folderOf(host))
        .filter((name) => name.startsWith("talker"))
        .sort(),
    ).toEqual(names.toSorted());
    for (const name of names) expect(statSync(join(folderOf(host), name)).size).toBeLessThanOrEqual(1000);
    const counted = names.flatMap((name) => linesOf(host, name)).flatMap(({ i }) => (i === undefined ? [] : [i]));
    expect(counted.at(-1)).toBe(24);
    expect(counted).toEqual(Array.from({ length: counted.length }, (_, index) => 25 - counted.length + index));
  });

  test("hold what was logged before a worker hangs, and before its process is killed", async () => {
    const { client, host } = await startTalker({ WORKER_STALL_KILL_MS: "500" });
    for (const end of ["hang", "die"]) {
      await client.command("talker", end);
      for (const text of ["offline", "online"]) await client.expect("halloween/talker/status/availability", text);
    }
    await host.stop();
    const texts = textsOf(host, "talker.log");
    expect(texts).toEqual(expect.arrayContaining(["before one", "before two", "before the end"]));
    expect(texts).toContainEqual(expect.stringMatching(/talker hangs at /));
  });

  test("leave out a line that is too long, and say so", async () => {
    const host = await talked();
    const texts = textsOf(host, "talker.log");
    expect(texts.some((text) => /^a line of 100\d+ characters was left out$/.test(text))).toBe(true);
  });

  test("that can't be written stop nobody, and that is told once", async () => {
    const { client, host } = await startTalker({}, makeFolder({ "data/logs": "no folder" }));
    await host.logged(/^the log can't be kept in files \(.*\): lines are missing there$/);
    await say(client, "say hello");
    await host.stop();
    expect(host.log.all.filter(({ msg }) => msg.startsWith("the log can't be kept")).length).toBe(1);
  });

  test("are not there where none are wanted", async () => {
    const { client, host } = await startTalker({ WORKER_LOG_FILES: "0" });
    await say(client, "say hello");
    await host.stop();
    expect(existsSync(folderOf(host))).toBe(false);
  });
});

describe("worker-host logs", () => {
  test("shows all by time, one alone, the last of them, and the files' own lines; also when no host runs", async () => {
    const host = await talked();
    const { cwd } = host;
    const all = (await runCli(["logs"], { cwd })).stdout.trimEnd().split("\n");
    expect(all).toContainEqual(expect.stringMatching(/^\[\d\d:\d\d:\d\d\] WARN: talker: hello$/));
    const order = [/using the broker/, /talker: running/, /talker: hello/, /stopping/].map((text) =>
      all.findIndex((line) => text.test(line)),
    );
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    expect(order).not.toContain(-1);
    const last = await runCli(["logs", "talker", "-n", "1"], { cwd });
    expect(last.stdout).toMatch(/^\[[\d:]+\] INFO: talker: and hello\n$/);
    const raw = await runCli(["logs", "talker", "--json"], { cwd });
    expect(raw.stdout).toBe(readFileSync(join(folderOf(host), "talker.log"), "utf8"));
  });

  test("goes back over rotated files", async () => {
    const { client, host } = await startTalker({ WORKER_LOG_FILE_KB: "1", WORKER_LOG_FILES: "9" });
    await client.command("talker", "count 50");
    await client.expect("halloween/talker/telemetry/counted");
    await host.stop();
    const { stdout } = await runCli(["logs", "talker", "--json", "-n", "40"], { cwd: host.cwd });
    const lines = stdout.trimEnd().split("\n");
    expect(lines.length).toBe(40);
    const counted = lines.flatMap((line) => (JSON.parse(line) as LogLine).i ?? []);
    expect(counted).toEqual(Array.from({ length: counted.length }, (_, index) => 50 - counted.length + index));
  });

  test("follows over rotations, without a gap and without a line twice", async () => {
    const { client, host } = await startTalker({ WORKER_LOG_FILE_KB: "1", WORKER_LOG_FILES: "99" });
    await say(client, "say hello");
    const cli = startCli(["logs", "talker", "-f", "--json"], { cwd: host.cwd });
    await cli.says(/hello/);
    for (let round = 0; round < 3; round++) {
      const counted = cli.lines.next((line) => line.includes('"i":99'), "the end of a round");
      await client.command("talker", "count 100");
      await counted;
    }
    expect(await cli.stop()).toBe(0);
    const counted = cli.lines.all.flatMap((line) => (JSON.parse(line) as LogLine).i ?? []);
    expect(counted).toEqual(Array.from({ length: 300 }, (_, index) => index % 100));
  });

  test("follows all of them", async () => {
    const { client, host } = await startTalker();
    await say(client, "say hello");
    const cli = startCli(["logs", "-f"], { cwd: host.cwd });
    await cli.says(/talker: hello/);
    await say(client, "say again");
    await cli.says(/talker: again/);
  });

  test("says which there are where one is unknown", async () => {
    const host = await talked();
    const unknown = await runCli(["logs", "talkr"], { cwd: host.cwd });
    expect(unknown).toMatchObject({ code: 1, stdout: "" });
    expect(unknown.stderr).toBe(
      'no log of "talkr" in data/logs; did you mean "talker"? There are: talker, worker_host\n',
    );
    const far = await runCli(["logs", "zzz"], { cwd: host.cwd });
    expect(far.stderr).toBe('no log of "zzz" in data/logs. There are: talker, worker_host\n');
    const none = await runCli(["logs"]);
    expect(none).toMatchObject({ code: 1, stderr: "no logs in data/logs: a host that runs writes them\n" });
    expect(await runCli(["logs", "-n", "few"])).toMatchObject({
      code: 2,
      stderr: "--lines few: expected a whole number, such as 20\n",
    });
  });

  test("shows what a terminal would obey written out", async () => {
    const { client, host } = await startTalker();
    await client.command("talker", { action: "\u001b[2J\u009b31m\u202e" });
    await client.expect("halloween/talker/status/warn");
    await host.stop();
    for (const args of [["logs"], ["logs", "--json"]]) {
      const { stdout } = await runCli(args, { cwd: host.cwd });
      expect(stdout).toContain("\\u009b31m\\u202e");
      // biome-ignore lint/suspicious/noControlCharactersInRegex: it is about them
      expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    }
  });
});

test("what comes last waits for what is being written: files that get their next names lose nothing", async () => {
  const folder = makeFolder({});
  const clock = new TestClock();
  const log = new LogFiles({ folder, hostName: "worker_host", fileBytes: 100, files: 99, clock });
  const take = (from: number, to: number) => {
    for (let i = from; i < to; i++) log.take(`{"level":30,"time":"","worker":"talker","i":${i}}\n`);
  };
  take(0, 90);
  await clock.advance(100);
  take(90, 100);
  await log.close();
  const lines = await new LogTail(folder, "talker").last(100);
  expect(lines.map((line) => (JSON.parse(line) as LogLine).i)).toEqual(Array.from({ length: 100 }, (_, i) => i));
});
