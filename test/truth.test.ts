import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { BaseWorker } from "worker-host";
import { startWorker } from "worker-host/testing";
import { Secrets } from "../worker-host/base/log.ts";
import { describeError, WorkerHostError } from "../worker-host/contract/errors.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

class Forgetful extends BaseWorker {
  async do_forget() {
    void this.hold(
      5000,
      () => this.telemetry("lamp", "on"),
      () => this.telemetry("lamp", "off"),
    );
  }
  do_doze() {
    void this.sleep(5000).catch(() => {});
  }
  async do_fine() {
    await this.hold(
      100,
      () => {},
      () => {},
    );
    this.spawn(async () => this.sleep(5000));
    await Promise.all([this.sleep(10), this.sleep(20)]);
  }
  async do_fail() {
    throw new TypeError("fetch failed", { cause: new AggregateError([new Error("connect ECONNREFUSED ::1:9")], "") });
  }
}

test("a command that has ended while its own hold or sleep still runs is a warning, once", async () => {
  const worker = await startWorker(Forgetful);
  onTestFinished(() => worker.stop());
  const fine = worker.call("fine");
  await worker.advance(500);
  await fine;
  await worker.call("forget");
  await worker.call("doze");
  await worker.call("forget");
  await worker.advance(20_000);
  const warned = worker.messages.filter(({ topic }) => topic.endsWith("/warn")).map(({ text }) => text);
  expect(warned).toEqual([
    'do_forget has ended while its own hold still runs: write "await this.hold(…)"',
    'do_doze has ended while its own sleep still runs: write "await this.sleep(…)"',
  ]);
  await expect(worker.call("fail")).rejects.toThrow("fetch failed: connect ECONNREFUSED ::1:9");
  expect(await worker.status("error")).toMatch(/^fail: TypeError: fetch failed: connect ECONNREFUSED ::1:9$/);
});

test("an error tells what caused it, once, and no more than three deep", () => {
  const deep = (levels: number): Error =>
    new Error(`level ${levels}`, { cause: levels > 0 ? deep(levels - 1) : undefined });
  expect(describeError(deep(9))).toBe("Error: level 9: level 8: level 7: level 6");
  expect(describeError(new Error("no fog: too cold", { cause: new Error("too cold") }))).toBe(
    "Error: no fog: too cold",
  );
  expect(describeError(new Error("a", { cause: { code: 1 } }))).toBe("Error: a");
  expect(describeError(new WorkerHostError("timeout", "late", { cause: new Error("why") }))).toBe("late");
  const circular = new Error("round");
  circular.cause = circular;
  expect(describeError(circular)).toBe("Error: round");
});

test("a password that is a word of a message leaves the message as it is, and is hidden where it stands as a value", () => {
  const secrets = new Secrets(["wrong"]);
  const says = "wrong or missing credentials: what is wrong is not wrongly told";
  expect(secrets.cleanText(says)).toBe(says);
  expect(secrets.cleanText('mqtt://me:wrong@host ?p=wrong got "wrong"')).toBe(
    'mqtt://me:[hidden]@host ?p=[hidden] got "[hidden]"',
  );
  expect(secrets.clean('{"level":30,"msg":"wrong port","password":"wrong"}\n')).not.toContain(':"wrong"');
  expect(new Secrets(["s3cret"]).cleanText("a s3cretword")).toBe("a [hidden]word");
});

test("access rules for Home Assistant have its prefix", async () => {
  const cwd = makeFolder({ "worker-host.yaml": "home_assistant_prefix: ha/found\n" });
  await runCli(["access", "init"], { cwd });
  const acl = readFileSync(join(cwd, "access/mosquitto/acl"), "utf8");
  expect(acl).toContain("topic readwrite ha/found/#\n");
  expect(acl).not.toContain("homeassistant");
});

test("the state of an earlier life is taken off the broker, unless this one has set it", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url, ["halloween/#"]);
  await client.publish("halloween/lab/state", "armed", { retain: true });
  await client.publish("halloween/set/state", "armed", { retain: true });
  const host = await startHost({
    broker,
    props: {
      "lab/backend/worker.ts": workerSource("do_ping() { return 'pong'; }"),
      "set/backend/worker.ts": workerSource("async start() { this.state = 'idle'; }"),
      "none/backend/worker.ts": "const x = 1;\n",
      "named/backend/worker.ts": "export const lamp = 1; export default 5;\n",
    },
  });
  await client.expect("halloween/lab/state", "");
  await client.expect("halloween/set/state", "idle");
  await host.logged(/none\/backend\/worker\.ts exports no class Worker \(it exports nothing\)/);
  await host.logged(/named\/backend\/worker\.ts exports no class Worker \(it exports lamp, default|default, lamp/);
  const late = await TestClient.connect(broker.url, ["halloween/+/state"]);
  await late.barrier();
  const states = late.seen.all.filter(({ topic }) => topic.startsWith("halloween/"));
  expect(states.map(({ topic, text }) => `${topic} ${text}`)).toEqual(["halloween/set/state idle"]);
});

test("what is too large for the embedded broker is told so, and not that the broker was away", async () => {
  const host = await startHost({
    props: {
      "lab/backend/worker.ts": workerSource(
        "do_big() { this.telemetry('big', 'x'.repeat(1_500_000)); return this.command('lab', 'nothing', 'x'.repeat(1_500_000)); }",
      ),
    },
  });
  const client = await TestClient.connect(await host.url(), ["halloween/#"]);
  await client.command("lab", "big");
  const big =
    /^the message to halloween\/lab\/telemetry\/big of 1500000 bytes was not sent: .* the broker takes 1048576 at most$/;
  await client.expect("halloween/lab/status/error", big);
  await host.logged(/lab was not told "nothing": the broker is away, or did not take it/);
  await client.command("lab", "stop");
  await client.barrier();
  expect(client.seen.all.filter(({ text }) => /while the broker was away|offline/.test(text))).toEqual([]);
});

test("check passes a worker whose package has no types, and sees the types beside it", async () => {
  const cwd = makeFolder({
    "node_modules/horn/package.json": '{"name": "horn", "main": "index.js"}',
    "node_modules/horn/index.js": "exports.blow = (times) => times;",
    "node_modules/drum/package.json": '{"name": "drum", "main": "index.js"}',
    "node_modules/drum/index.js": "exports.beat = (times) => times;",
    "props/horn/backend/worker.ts": workerSource("do_blow() { return blow(3); }", 'import { blow } from "horn";'),
    "props/drum/backend/worker.ts": workerSource("do_beat() { return beat('x'); }", 'import { beat } from "drum";'),
    "props/drum/backend/drum.d.ts": 'declare module "drum" { export function beat(times: number): number; }',
  });
  const { stdout, stderr } = await runCli(["check", "--disable-all-builtins"], { cwd });
  expect(
    stdout
      .trim()
      .split("\n")
      .filter((line) => /^(ok|failed)/.test(line)),
  ).toEqual(["failed  drum", "ok      horn"]);
  expect(stderr + stdout).toMatch(/warning: props\/horn\/backend\/worker\.ts:\d+:\d+: TS7016: /);
  expect(stderr + stdout).toMatch(/props\/drum\/backend\/worker\.ts:\d+:\d+: TS2345: /);
});
