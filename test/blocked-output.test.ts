import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { startBroker, type TestBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { BIN, cleanEnvironment } from "./harness/host.ts";
import { Happenings, patiently } from "./harness/wait.ts";

/** More than a terminal, a pipe and the host keep together. */
const FLOOD = 10_000;

const LAMP = workerSource(`
  do_on() { return this.hold(60_000, () => this.telemetry("lamp", "on"), () => this.telemetry("lamp", "off")); }
  async do_flood(count: string) {
    for (let i = 0; i < Number(count); i++) {
      this.log.info({ i }, "flooding ".repeat(8));
      if (i % 100 === 0) await this.sleep(1);
    }
    process.stdout.write("written by hand\\n".repeat(10_000));
    this.telemetry("flooded", count);
  }
`);

interface Started {
  child: ChildProcess;
  client: TestClient;
  cwd: string;
  exited: Promise<number | null>;
}

/** A host whose output goes where `start` lets it. */
async function startLamp(
  start: (line: string[], options: { cwd: string; env: NodeJS.ProcessEnv }) => ChildProcess,
): Promise<Started> {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const cwd = makeFolder();
  const child = start(lineFor(makeFolder({ "lamp/backend/worker.ts": LAMP })), { cwd, env: environment(broker) });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  await client.expect("halloween/lamp/status/availability", "online");
  return { child, client, cwd, exited };
}

function lineFor(props: string): string[] {
  return [process.execPath, BIN, "--props", props, "--only-own-builtins"];
}

function environment(broker: TestBroker): NodeJS.ProcessEnv {
  return { ...cleanEnvironment(), MQTT_HOST: "127.0.0.1", MQTT_PORT: String(broker.port), WORKER_CLAIM_MS: "50" };
}

/** All-stop works though nothing that is logged can be shown. */
async function expectAllStopWorks(client: TestClient): Promise<void> {
  await client.command("worker_host", "all_stop");
  await client.expect("halloween/broadcast/cmd", /stop/);
  await client.expect("halloween/lamp/telemetry/lamp", "off");
  await client.expect("halloween/worker_host/status/all_stop", "engaged");
}

async function flood(client: TestClient): Promise<void> {
  await client.command("lamp", `flood ${FLOOD}`);
  await client.expect("halloween/lamp/telemetry/flooded");
}

test.runIf(process.platform === "linux")("a terminal that was stopped with Ctrl-S holds up nothing", async () => {
  const said = new Happenings<string>();
  const { child, client, exited } = await startLamp((line, options) => {
    const words = line.map((word) => `'${word}'`).join(" ");
    const terminal = spawn("script", ["-qfec", `exec ${words}`, "/dev/null"], {
      ...options,
      stdio: ["pipe", "pipe", "inherit"],
    });
    createInterface({ input: terminal.stdout }).on("line", (text) => said.add(text));
    return terminal;
  });
  await said.find((text) => /worker-host .* is running|lamp: running/.test(text), "the host on the terminal");
  await client.command("lamp", "on");
  await client.expect("halloween/lamp/telemetry/lamp", "on");
  child.stdin?.write("\x13");
  await flood(client);
  await expectAllStopWorks(client);
  child.stdin?.write("\x11");
  await said.find((text) => /\d+ lines were left out/.test(text), "the gap");
  child.stdin?.write("\x03");
  expect(await patiently(exited, () => "the host's end")).toBe(0);
  expect(said.all.findIndex((text) => /SIGINT: stopping/.test(text))).toBeGreaterThan(
    said.all.findIndex((text) => /lines were left out/.test(text)),
  );
});

test("a pipe that is not read holds up nothing; read again, it has whole lines in their order, and their gap", async () => {
  const { child, client, exited, cwd } = await startLamp((line, options) =>
    spawn(line[0] ?? "", line.slice(1), { ...options, stdio: ["ignore", "pipe", "inherit"] }),
  );
  await client.command("lamp", "on");
  await client.expect("halloween/lamp/telemetry/lamp", "on");
  await flood(client);
  await expectAllStopWorks(client);

  const said = new Happenings<{ msg: string; i?: number }>();
  if (child.stdout)
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line !== "written by hand") said.add(JSON.parse(line));
    });
  const gap = /^\d+ lines were left out: they came faster than standard output takes them$/;
  await said.find(({ msg }) => gap.test(msg), "the gap");
  child.kill("SIGTERM");
  expect(await patiently(exited, () => "the host's end")).toBe(0);
  await said.find(({ msg }) => msg === "SIGTERM: stopping; once more to force it", "its last words");
  const numbers = said.all.flatMap(({ i }) => i ?? []);
  expect(numbers.length).toBeLessThan(FLOOD);
  // In their order, and what is missing is told of.
  const jumps = numbers.filter((number, index) => number !== (numbers[index - 1] ?? -1) + 1);
  expect(jumps.length).toBeLessThanOrEqual(said.all.filter(({ msg }) => gap.test(msg)).length);
  expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
  // The files have what was left out here.
  expect(readFileSync(join(cwd, "data/logs/worker_host.log"), "utf8")).toContain("all-stop is engaged");
});

test("a host whose output is not read ends all the same", async () => {
  const { child, client, exited } = await startLamp((line, options) =>
    spawn(line[0] ?? "", line.slice(1), { ...options, stdio: ["ignore", "pipe", "inherit"] }),
  );
  await flood(client);
  child.kill("SIGTERM");
  expect(await patiently(exited, () => "the host's end")).toBe(0);
});

test.each([
  [
    "on a full disk",
    (line: string[], options: { cwd: string; env: NodeJS.ProcessEnv }) => {
      const full = openSync("/dev/full", "w");
      const child = spawn(line[0] ?? "", line.slice(1), { ...options, stdio: ["ignore", full, "inherit"] });
      closeSync(full);
      return child;
    },
  ],
  [
    "that was closed",
    (line: string[], options: { cwd: string; env: NodeJS.ProcessEnv }) => {
      const child = spawn(line[0] ?? "", line.slice(1), { ...options, stdio: ["ignore", "pipe", "inherit"] });
      child.stdout?.destroy();
      return child;
    },
  ],
])("props matter more than an output %s", async (_where, start) => {
  const { child, client, exited } = await startLamp(start);
  await client.command("lamp", "on");
  await client.expect("halloween/lamp/telemetry/lamp", "on");
  await flood(client);
  await expectAllStopWorks(client);
  child.kill("SIGTERM");
  expect(await patiently(exited, () => "the host's end")).toBe(0);
});
