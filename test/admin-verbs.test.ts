import { expect, onTestFinished, test } from "vitest";
import { BaseWorker } from "worker-host";
import { startWorker } from "worker-host/testing";
import { ADMIN_VERBS } from "../worker-host/contract/access.ts";
import type { HostDescription } from "../worker-host/contract/description.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

const PING = workerSource("do_ping() { this.telemetry('pong', 1); }");
const CMD = "halloween/worker_host/cmd";
const ADMIN = "halloween/worker_host/admin/cmd";

/** Each with args that would do. */
const VERBS: [action: string, args?: unknown][] = [
  ["configure", { id: "lab", config: { level: 1 } }],
  ["reload", "lab"],
  ["reload"],
  ["rescan"],
  ["restart_worker", "lab"],
  ["stop_worker", "lab"],
  ["start_worker", "lab"],
];

const OPERATORS: [action: string, args?: unknown][] = [
  ["list"],
  ["show", "on"],
  ["show", "off"],
  ["operator_alive"],
  ["lock_out", "lab"],
  ["release", "lab"],
  ["all_stop"],
  ["all_clear"],
];

test("what changes files, code or which workers run is taken on the admin topic alone, all else on cmd", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  for (const topic of [CMD, ADMIN]) await client.publish(topic, "stop_worker lab", { retain: true });
  await startHost({ broker, props: { "lab/backend/worker.ts": PING } });
  for (const topic of [CMD, ADMIN]) {
    await client.expect("halloween/worker_host/status/warn", /^retained command refused: "stop_worker lab"/);
    await client.expect(topic, "");
  }
  let count = 0;
  const tell = async (topic: string, action: string, args?: unknown) => {
    const reply = `halloween/cli/reply/${++count}`;
    await client.publish(topic, JSON.stringify({ action, args, reply_to: reply }));
    return JSON.parse(await client.expect(reply)) as { status: string; error?: string; refused?: true };
  };
  expect(new Set(VERBS.map(([action]) => action))).toEqual(ADMIN_VERBS);
  for (const [action, args] of VERBS) {
    const error = `"${action}" refused: it is taken on ${ADMIN} alone, which is for the role "author"`;
    expect(await tell(CMD, action, args), action).toMatchObject({ status: "error", refused: true, error });
    await client.expect("halloween/worker_host/status/warn", error);
  }
  // Nor as a text, nor with args that wouldn't do.
  await client.publish(CMD, "stop_worker lab");
  await client.expect("halloween/worker_host/status/warn", /^"stop_worker" refused: it is taken on/);
  expect(await tell(CMD, "configure", 5)).toMatchObject({ error: expect.stringContaining(`is taken on ${ADMIN}`) });
  await client.command("lab", "ping");
  await client.expect("halloween/lab/telemetry/pong");
  expect(client.texts("halloween/lab/status/availability")).toEqual(["online"]);

  for (const [action, args] of OPERATORS) expect(await tell(CMD, action, args), action).toMatchObject({ status: "ok" });
  for (const [action, args] of VERBS) expect(await tell(ADMIN, action, args), action).toMatchObject({ status: "ok" });
  // A stop is obeyed wherever it comes.
  expect(await tell(ADMIN, "all_stop")).toMatchObject({ status: "ok" });
  await client.expect("halloween/worker_host/status/all_stop", "engaged");

  const { commands = {} } = JSON.parse(
    await client.expect("halloween/worker_host/description", /"commands".*"configure"/),
  ) as HostDescription;
  const marked = Object.entries(commands).filter(([, { admin }]) => admin === true);
  expect(new Set(marked.map(([action]) => action))).toEqual(ADMIN_VERBS);
});

test("a worker's call and command to a host, its own or another, go where the host takes the verb", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const boss = workerSource(
    `async start() { await super.start(); this.telemetry("first", await this.call("worker_host", "restart_worker", "lab")); }
    async do_tell({ host, action, args }) { return this.call(host, action, args); }
    async do_command({ host, action, args }) { return this.command(host, action, args); }`,
  );
  const gun = workerSource("do_reload() { this.telemetry('reloaded', 1); }");
  const props = { "lab/backend/worker.ts": PING, "boss/backend/worker.ts": boss, "gun/backend/worker.ts": gun };
  await startHost({ broker, props });
  await client.expect("halloween/boss/telemetry/first");
  await startHost({ broker, args: ["--name", "attic"], props: { "bat/backend/worker.ts": PING } });
  await client.expect("halloween/attic/description", /"restart_worker"/);
  let count = 0;
  const tell = async (through: "tell" | "command", host: string, action: string, args?: unknown) => {
    const reply = `halloween/cli/reply/${++count}`;
    await client.command("boss", { action: through, args: { host, action, args }, reply_to: reply });
    return JSON.parse(await client.expect(reply)) as { status: string; error?: string };
  };
  for (const [host, id] of [
    ["worker_host", "lab"],
    ["attic", "bat"],
  ] as const) {
    expect(await tell("tell", host, "stop_worker", id)).toMatchObject({ status: "ok" });
    await client.expect(`halloween/${id}/status/availability`, "offline");
    expect(await tell("command", host, "start_worker", id)).toMatchObject({ status: "ok", result: true });
    await client.expect(`halloween/${id}/status/availability`, "online");
    expect(await tell("tell", host, "list")).toMatchObject({ status: "ok" });
    expect(await tell("command", host, "show", "off")).toMatchObject({ status: "ok", result: true });
  }
  // A prop may have a command of such a name.
  for (const through of ["tell", "command"] as const) {
    expect(await tell(through, "gun", "reload")).toMatchObject({ status: "ok" });
    await client.expect("halloween/gun/telemetry/reloaded");
  }
  // Of what is not its own host, the description tells.
  for (const [id, said, topic] of [
    ["starting", { name: "starting", workers: [] }, "halloween/starting/admin/cmd"],
    ["newer", { name: "newer", workers: [], commands: { rescan: { admin: true } } }, "halloween/newer/admin/cmd"],
    ["older", { name: "older", workers: [], commands: { rescan: {} } }, "halloween/older/cmd"],
    ["board", { board: "esp32", commands: { rescan: {} } }, "halloween/board/cmd"],
    ["boards", { id: "boards", name: "boards", board: "esp32", workers: [] }, "halloween/boards/cmd"],
    ["stray", "no description", "halloween/stray/cmd"],
  ] as const) {
    await client.publish(`halloween/${id}/description`, JSON.stringify(said), { retain: true });
    expect(await tell("command", id, "rescan")).toMatchObject({ status: "ok" });
    await client.expect(topic, /rescan/);
  }
  const refused = client.seen.all.filter(({ topic, text }) => topic.endsWith("status/warn") && /taken on/.test(text));
  expect(refused).toEqual([]);
});

test("a stop is never overtaken by a command that waits to know where it goes", async () => {
  class Boss extends BaseWorker {
    async do_go() {
      const sent = this.command("gun", "reload");
      await this.command("gun", "stop");
      return sent;
    }
    do_reload() {
      return this.command("gun", "reload");
    }
    async do_hold() {
      await this.hold(
        1000,
        () => this.command("lamp", "configure"),
        () => this.command("lamp", "off"),
      );
    }
    do_own() {
      return this.command("worker_host", "rescan");
    }
  }
  const boss = await startWorker(Boss, { id: "boss" });
  onTestFinished(() => boss.stop());
  expect(await boss.call("own")).toBe(true);
  await boss.send("go");
  await boss.advance(1000);
  await boss.send("hold");
  await boss.send("stop");
  await boss.advance(1000);
  const sent = new Set(boss.commands.map(({ target, action }) => `${target} ${action}`));
  expect(sent).toEqual(new Set(["worker_host rescan", "gun stop", "lamp off"]));
  await boss.send("reload");
  await boss.advance(1000);
  expect(boss.commands.at(-1)).toMatchObject({ target: "gun", action: "reload" });
});

test("worker-host send finds the topic too", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = { "lab/backend/worker.ts": PING };
  await startHost({ broker, props });
  await startHost({ broker, args: ["--name", "attic"], props: { "bat/backend/worker.ts": PING } });
  await client.expect("halloween/attic/description", /"restart_worker"/);
  const send = (...args: string[]) =>
    runCli(["send", ...args, "--mqtt-port", String(broker.port), "--mqtt-host", "127.0.0.1"]);
  const [own, other, waited, list] = await Promise.all([
    send("worker_host", "reload", "lab"),
    send("attic", "reload", "bat"),
    send("attic", "restart_worker", "bat"),
    send("attic", "list"),
  ]);
  for (const one of [own, other]) expect(one).toMatchObject({ code: 0, stdout: "ok\n" });
  for (const host of ["worker_host", "attic"]) await client.expect(`halloween/${host}/admin/cmd`, /"reload"/);
  expect(waited).toMatchObject({ code: 0, stdout: "ok\n" });
  expect(list).toMatchObject({ code: 0, stdout: expect.stringContaining('"bat"') });
});
