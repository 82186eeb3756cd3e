import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

test("replay reads a recording that an editor has saved with a byte order mark and a blank last line", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url, ["halloween/#"]);
  const cwd = makeFolder();
  const line = (ms: number, payload: string) =>
    JSON.stringify({ ms, topic: "halloween/lab/telemetry/x", payload, qos: 0, retain: false });
  const head = JSON.stringify({ recording: 1, prefix: "halloween", started: "2026-01-01T00:00:00.000Z" });
  writeFileSync(join(cwd, "evening.jsonl"), `\ufeff${head}\r\n${line(0, "1")}\r\n${line(1, "2")}\r\n\r\n`);
  expect(await runCli(["replay", "evening.jsonl"], { cwd, env: { MQTT_URL: broker.url } })).toMatchObject({ code: 0 });
  await client.expect("halloween/lab/telemetry/x", "2");
  writeFileSync(join(cwd, "blank.jsonl"), "\n\n");
  const { code, stderr } = await runCli(["replay", "blank.jsonl"], { cwd, env: { MQTT_URL: broker.url } });
  expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(/it is no recording/) });
});

test("a host that has no terminal goes on when that is closed", async () => {
  const host = await startHost({
    props: { "lab/backend/worker.ts": workerSource("do_ping() { this.telemetry('pong', 1); }") },
  });
  const client = await TestClient.connect(await host.url(), ["halloween/lab/#"]);
  process.kill(host.child.pid as number, "SIGHUP");
  await client.command("lab", "ping");
  await client.expect("halloween/lab/telemetry/pong", "1");
  expect(await host.stop()).toEqual({ code: 0, signal: null });
});

test("a folder that is none ends in words, not in a stack", async () => {
  const cwd = makeFolder({ "props/lab/backend/worker.ts": workerSource("do_ping() {}"), data: "" });
  const nowhere = { TMPDIR: join(cwd, "nowhere") };
  const answers = await Promise.all([
    runCli(["check", "--disable-all-builtins"], { cwd, env: nowhere }),
    runCli(["doctor", "--broker-port", "1"], { cwd, env: nowhere }),
    runCli(["logs"], { cwd }),
    runCli(["list", "--broker-port", "1"], { cwd, env: nowhere }),
  ]);
  const [check, doctor] = answers;
  expect(check?.stderr).toMatch(/^nothing can be written to .*nowhere \(.*\): set TMPDIR to a folder that can be\n$/);
  expect(doctor?.stdout).toMatch(/fail +temp .*nowhere can't be written to: there is no such folder/);
  for (const { stdout, stderr } of answers) expect(stdout + stderr).not.toMatch(/^ +at /m);
  const host = await startHost({ cwd });
  onTestFinished(() => host.kill());
  await host.stop();
  expect(host.log.all.filter(({ level }) => level >= 50).length).toBeLessThanOrEqual(1);
  expect(host.stderr).toBe("");
});
