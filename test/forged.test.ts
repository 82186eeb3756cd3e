import { spawn } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { noCounts } from "../worker-host/base/counts.ts";
import { readFromRunner } from "../worker-host/host/runners/runner-process.ts";
import { expectOthersWell, startThree } from "./harness/three.ts";

// What a worker, or a package that it uses, says or does in the name of the process that it runs in.

test("process.send and process.disconnect are not there, and whatever uses them ends no host", async () => {
  const { client, host } = await startThree(`
    do_go() {
      this.telemetry("send", typeof process.send);
      this.telemetry("disconnect", typeof process.disconnect);
      for (const message of [null, 5, { type: "stats" }, { type: "answer" }]) process.send?.(message);
      this.telemetry("said", 1);
    }`);
  await client.command("bad", "go");
  await client.expect("halloween/bad/telemetry/said");
  await expectOthersWell(client, host);
  expect(client.texts("halloween/bad/telemetry/send")).toEqual(["undefined"]);
  expect(client.texts("halloween/bad/telemetry/disconnect")).toEqual(["undefined"]);
});

test("what is written into the channel by hand is left out, with a word in the log", async () => {
  const { client, host } = await startThree(
    `async do_go() {
      const { writeSync } = await import("node:fs");
      writeSync(3, 'null\\nrubbish\\n{"type":"stats"}\\n{"type":"group","pid":1,"alive":true}\\n{"type":"state"}\\n');
      this.telemetry("said", 1);
    }`,
  );
  await client.command("bad", "go");
  await client.expect("halloween/bad/telemetry/said");
  const { msg } = await host.logged(/sent its host what it doesn't understand/);
  expect(msg).toContain(`no JSON object: "null"`);
  await expectOthersWell(client, host);
  expect(host.log.all.filter((line) => line.msg.includes("doesn't understand"))).toHaveLength(1);
});

test("what is written into the log's pipe by hand reaches no log but those of the workers in that process", async () => {
  const raw = `async do_go() {
    const { writeSync } = await import("node:fs");
    const forged = (worker) => '{"level":50,"time":"2026-10-31T20:00:00.000Z","worker":"' + worker + '","msg":"forged"}\\n';
    const text = forged("a_good") + forged("worker_host") + forged("../../x") + "rubbish\\n" + "x".repeat(3_000_000) + "\\n";
    for (let rest = Buffer.from(text); rest.length > 0; ) {
      try {
        rest = rest.subarray(writeSync(4, rest));
      } catch (error) {
        if (error.code !== "EAGAIN") throw error;
      }
    }
    this.telemetry("said", 1);
  }`;
  const { client, host } = await startThree(raw, {}, { "bad/backend/config.yaml": "worker: { isolation: own }" });
  await client.command("bad", "go");
  await client.expect("halloween/bad/telemetry/said");
  await expectOthersWell(client, host);
  await host.stop();
  const logs = join(host.cwd, "data/logs");
  const names = readdirSync(logs);
  const forged = names.filter((name) => /forged|rubbish|xxx/.test(readFileSync(join(logs, name), "utf8")));
  expect(forged).not.toEqual([]);
  expect(forged.filter((name) => !/^bad(\.\d)?\.log$/.test(name))).toEqual([]);
  for (const name of forged) expect(statSync(join(logs, name)).size).toBeLessThan(2_000_000);
});

test("a process group that no worker started is not killed with a worker's process", async () => {
  const sleeper = spawn("sleep", ["60"], { detached: true, stdio: "ignore" });
  onTestFinished(() => {
    sleeper.kill("SIGKILL");
  });
  const { client, host } = await startThree(
    `async do_go() {
      const { writeSync } = await import("node:fs");
      const forged = { type: "group", pid: ${sleeper.pid}, alive: true };
      if (process.send) process.send(forged);
      else writeSync(3, JSON.stringify(forged) + "\\n");
      this.telemetry("process", process.pid);
    }`,
  );
  await client.command("bad", "go");
  process.kill(Number(await client.expect("halloween/bad/telemetry/process")), "SIGKILL");
  await host.logged(/the process of the workers died/);
  await client.command("worker_host", { action: "list", id: "l1", reply_to: "halloween/cli/reply/l1" });
  await client.expect("halloween/cli/reply/l1");
  expect([sleeper.exitCode, sleeper.signalCode]).toEqual([null, null]);
});

const STATE = { type: "state", run: 1, id: "a", state: "running" };
const COUNTS = noCounts();

test.each([
  STATE,
  { ...STATE, detail: "x", hopeless: true },
  { type: "beat", debugged: false },
  { type: "answer", request: 1, warnings: [] },
  { type: "stats", request: 1, bytes: 1, counts: [["a", COUNTS]] },
  { type: "group", pid: 4711, alive: true },
])("%j is a runner's", (message) => {
  expect(readFromRunner(message)).toBe(message);
});

test.each([
  null,
  5,
  "beat",
  [],
  {},
  { type: "constructor" },
  { type: "beat" },
  { ...STATE, run: "1" },
  { ...STATE, state: "flying" },
  { ...STATE, detail: {} },
  { type: "answer", request: 1 },
  { type: "answer", request: 1, warnings: [{}] },
  { type: "stats", request: 1, bytes: 1 },
  { type: "stats", request: 1, bytes: 1, counts: [null] },
  { type: "stats", request: 1, bytes: 1, counts: [["a", { ...COUNTS, commands: [] }]] },
  { type: "stats", request: 1, bytes: 1, counts: [["a", { ...COUNTS, sent: null }]] },
  { type: "group", pid: 1, alive: true },
  { type: "group", pid: 0, alive: true },
  { type: "group", pid: -5, alive: true },
  { type: "group", pid: 4711 },
])("%j is not", (message) => {
  expect(() => readFromRunner(message)).toThrow("no runner says");
});
