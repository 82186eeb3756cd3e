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

test("what was said on the bus is printed without what a terminal obeys", async () => {
  const evil = "\u001b[2J\u001b]0;owned\u0007";
  const host = await startHost({
    props: {
      "lab/backend/worker.ts": workerSource(
        "do_say() { return JSON.parse('\"a\\\\u001b[31mb\"'); } do_boom() { throw new Error(JSON.parse('\"a\\\\u001b[31mb\"')); }",
      ),
      "bad/backend/worker.ts": workerSource("async start() { throw new Error(JSON.parse('\"a\\\\u001b[31mb\"')); }"),
    },
    args: ["--max-restarts", "0"],
  });
  const env = { MQTT_URL: await host.url() };
  const client = await TestClient.connect(env.MQTT_URL, ["halloween/#"]);
  await client.publish(
    "halloween/horn_hw/description",
    JSON.stringify({ contract: 1, id: "horn_hw", name: evil, board: { chip: evil }, commands: {} }),
    { retain: true },
  );
  await client.publish("halloween/horn_hw/status/availability", "online", { retain: true });
  const answers = await Promise.all(
    [["list"], ["send", "lab", "say"], ["send", "lab", "boom"], ["send", "bad", "x"], ["doctor"]].map((args) =>
      runCli(args, { env }),
    ),
  );
  for (const { stdout, stderr } of answers) expect(stdout + stderr).not.toMatch(/(?!\n)\p{Cc}/u);
  expect(answers[1]?.stdout).toBe("a\\u001b[31mb\n");
});

test("what can't work is refused: a prop that no host looks at, a user that is no key", async () => {
  const cwd = makeFolder();
  for (const id of ["_x", "__proto__", "node_modules"])
    expect(await runCli(["new", "prop", id], { cwd })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`no host looks into a folder "${id}"`),
    });
  await runCli(["access", "init"], { cwd });
  expect(await runCli(["access", "add", "__proto__"], { cwd })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("can't be a key"),
  });
});
