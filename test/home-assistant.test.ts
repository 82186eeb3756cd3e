import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FakeBoard } from "./harness/board.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { shared } from "./harness/ending.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { entityOf, FakeHomeAssistant } from "./harness/home-assistant.ts";
import { startHost } from "./harness/host.ts";

const ON = { WORKER_HOME_ASSISTANT: "1" };

const FOGGER = `
import { BaseWorker, command, z } from "worker-host";
export class Worker extends BaseWorker {
  static telemetry = {
    level: { type: "number", unit: "%" },
    ready: { type: "boolean" },
    said: {},
    "tank/parts": { type: "object" },
    inner: { widget: { hidden: true } },
  };
  async start() { await super.start(); this.state = "idle"; }
  #said(...what) { this.telemetry("said", JSON.stringify(what)); }
  do_ping() { this.#said("ping"); }
  @command({ args: z.number().min(0).max(5000).default(500), widget: { label: "Fog", icon: "mdi:weather-fog" } })
  do_start(ms) { this.#said("start", ms); }
  @command({ args: z.int().min(0).max(255).optional() })
  do_bright(level) { this.#said("bright", level); }
  @command({ args: z.enum(["ready", "off"]) })
  do_set_mode(mode) { this.#said("set_mode", mode); }
  @command({ args: z.boolean() })
  do_lamp(on) { this.#said("lamp", on); }
  @command({ args: z.string().max(20) })
  do_say(text) { this.#said("say", text); }
  @command({ args: z.object({ x: z.number().default(1) }) })
  do_move({ x }) { this.#said("move", x); }
  @command({ args: z.object({ x: z.number() }) })
  do_aim() {}
  @command({ widget: { hidden: true } })
  do_secret() {}
}`;

const CONFIG = "worker:\n  name: Fog machine\n  area: Hall\n";
const PROPS = {
  "fogger/backend/worker.ts": FOGGER,
  "fogger/backend/config.yaml": CONFIG,
  "lamp/backend/worker.ts": workerSource("do_ping() {}"),
};

const SAID = "halloween/fogger/telemetry/said";

/** What is retained of Home Assistant's, by the ids of ours. */
async function idsShown(home: FakeHomeAssistant): Promise<string[]> {
  return [...(await home.retained()).keys()].map((id) => id.replace(/^worker_host_[0-9a-f]{10}_/, "")).sort();
}

const haunt = shared(async () => {
  const broker = await startBroker();
  await startHost({ broker, props: PROPS, env: ON });
  return broker;
});

test("a host and its props are devices of Home Assistant's, and their entities make the workers act", async () => {
  const home = await FakeHomeAssistant.connect((await haunt()).url);
  const host = await home.device("worker_host");
  const fogger = await home.device("fogger");
  await home.device("lamp");

  expect(fogger.device).toMatchObject({
    name: "Fog machine",
    suggested_area: "Hall",
    via_device: host.device.identifiers[0],
  });
  expect(fogger.availability).toEqual([
    { topic: "halloween/worker_host/status/availability" },
    { topic: "halloween/fogger/status/availability" },
  ]);
  const names = (platform: string) =>
    Object.values(fogger.components)
      .flatMap((one) => ("name" in one && one.platform === platform ? [one.name] : []))
      .sort();
  expect(names("button")).toEqual(["Bright", "Fog", "Move", "Ping", "Stop"]);
  expect(names("number")).toEqual(["Bright with", "Fog with"]);
  expect(names("select")).toEqual(["Set mode"]);
  expect(names("switch")).toEqual(["Lamp", "Lock-out"]);
  expect(names("text")).toEqual(["Say"]);
  expect(names("sensor")).toEqual(["Level", "Said", "State", "Tank parts"]);
  expect(names("binary_sensor")).toEqual(["Ready"]);
  expect(entityOf(fogger.components, "sensor", "Level")).toMatchObject({
    state_topic: "halloween/fogger/telemetry/level",
    unit_of_measurement: "%",
  });
  expect(entityOf(fogger.components, "sensor", "State")).toMatchObject({ state_topic: "halloween/fogger/state" });
  expect(entityOf(fogger.components, "number", "Bright with")).toMatchObject({ min: 0, max: 255, step: 1 });

  const does = async (work: Promise<unknown>, ...what: unknown[]) => {
    await work;
    await home.client.expect(SAID, JSON.stringify(what));
  };
  await does(home.press(fogger, "Ping"), "ping");
  await does(home.press(fogger, "Fog"), "start", 500);
  await does(home.press(fogger, "Move"), "move", 1);
  await does(home.set(fogger, "number", "Fog with", 1250), "start", 1250);
  await does(home.set(fogger, "number", "Bright with", 7), "bright", 7);
  await does(home.set(fogger, "select", "Set mode", "off"), "set_mode", "off");
  await does(home.set(fogger, "text", "Say", 'a "b" {{ c }}'), "say", 'a "b" {{ c }}');
  await does(home.turn(fogger, "Lamp", true), "lamp", true);
  await does(home.turn(fogger, "Lamp", false), "lamp", false);

  // The same command once more, as a client does that has lost its acknowledgement.
  const before = home.client.texts(SAID).length;
  const sent = home.client.seen.all.filter(({ topic }) => topic === "halloween/fogger/cmd")[0];
  await home.client.command("fogger", sent?.text ?? "");
  await home.client.expect("halloween/fogger/status/warn", /has run already/);
  expect(home.client.texts(SAID).length).toBe(before);
});

test("all-stop, the show and lock-outs are shown as they are, and set", async () => {
  const home = await FakeHomeAssistant.connect((await haunt()).url);
  const host = await home.device("worker_host");
  const fogger = await home.device("fogger");

  expect(entityOf(host.components, "binary_sensor", "All-stop")).toMatchObject({
    state_topic: "halloween/worker_host/status/all_stop",
    payload_on: "engaged",
    payload_off: "clear",
  });
  await home.press(host, "All-stop");
  await home.client.expect("halloween/worker_host/status/all_stop", "engaged");
  await home.press(host, "All-clear");
  await home.client.expect("halloween/worker_host/status/all_stop", "clear");

  expect(entityOf(host.components, "switch", "Show").state_topic).toBe("halloween/worker_host/description");
  await home.turn(host, "Show", true);
  await home.client.expect("halloween/worker_host/description", /"show":true/);
  await home.turn(host, "Show", false);

  const lock = entityOf(fogger.components, "switch", "Lock-out");
  expect(lock.value_template).toContain("'fogger' in value_json");
  // Who is offline can be locked out.
  expect(lock.availability).toEqual([{ topic: "halloween/worker_host/status/availability" }]);
  await home.client.expect(lock.state_topic ?? "", "[]");
  await home.turn(fogger, "Lock-out", true);
  await home.client.expect(lock.state_topic ?? "", '["fogger"]');
  await home.client.expect("halloween/fogger/status/lock_out", "locked out in Home Assistant");
  await home.turn(fogger, "Lock-out", false);
  await home.client.expect(lock.state_topic ?? "", "[]");
});

test("all is told once more when Home Assistant comes up", async () => {
  const home = await FakeHomeAssistant.connect((await haunt()).url);
  const ids = ["worker_host", "fogger", "lamp"];
  for (const id of ids) await home.device(id);
  await home.client.barrier();
  const told = ids.map((id) => home.client.texts(home.configOf(id)).length);
  await home.come();
  for (const [index, id] of ids.entries()) {
    while (home.client.texts(home.configOf(id)).length === told[index]) await home.device(id);
    expect(home.client.texts(home.configOf(id))).not.toContain("");
  }
});

test("a command that is gone is named to be removed, and a prop that is gone leaves nothing", async () => {
  const broker = await startBroker();
  const home = await FakeHomeAssistant.connect(broker.url);
  const props = makeFolder(PROPS);
  await startHost({ broker, args: ["--props", props], env: ON });
  const lamp = await home.device("lamp", ({ components }) => "button_command_ping" in components);
  expect(entityOf(lamp.components, "button", "Ping").unique_id).toMatch(/^worker_host_[0-9a-f]{10}_lamp_/);
  await home.device("fogger");

  writeFileSync(join(props, "lamp/backend/worker.ts"), workerSource("do_shine() {}"));
  const edited = await home.device("lamp", ({ components }) => "button_command_shine" in components);
  expect(edited.components.button_command_ping).toEqual({ platform: "button" });

  rmSync(join(props, "lamp"), { recursive: true });
  await home.gone("lamp");
  expect(await idsShown(home)).toEqual(["fogger", "worker_host"]);
});

test("what went while the host was down is removed at its start, and so is all when the setting is off", async () => {
  const broker = await startBroker();
  const home = await FakeHomeAssistant.connect(broker.url);
  const props = makeFolder(PROPS);
  const cwd = makeFolder();
  const start = (env: Record<string, string>) => startHost({ broker, cwd, args: ["--props", props], env });
  const other = "homeassistant/device/worker_host_0123456789_fogger/config";
  const stranger = JSON.stringify({ origin: { name: "worker-host" } });
  const first = await start(ON);
  for (const id of ["worker_host", "fogger", "lamp"]) await home.device(id);
  await first.stop();

  rmSync(join(props, "lamp"), { recursive: true });
  const second = await start(ON);
  await home.gone("lamp");
  expect(await idsShown(home)).toEqual(["fogger", "worker_host"]);
  await second.stop();

  const third = await start({ ...ON, WORKER_HOME_ASSISTANT_PREFIX: "elsewhere" });
  for (const id of ["worker_host", "fogger"]) await home.gone(id);
  const elsewhere = await FakeHomeAssistant.connect(broker.url, "elsewhere");
  await elsewhere.device("fogger");
  await third.stop();

  await home.client.publish(other, stranger, { retain: true });
  const fourth = await start({ WORKER_HOME_ASSISTANT: "0" });
  for (const id of ["worker_host", "fogger"]) await elsewhere.gone(id);
  await fourth.logged("took back what Home Assistant was told under other settings");
  await fourth.stop();
  expect(existsSync(join(cwd, "data/home_assistant.json"))).toBe(false);
  expect(await idsShown(elsewhere)).toEqual([]);
  // Another host's stay.
  const left = await TestClient.connect(broker.url, ["homeassistant/#", "elsewhere/#"]);
  await left.barrier();
  expect(left.seen.all.map(({ topic }) => topic).filter((topic) => !topic.startsWith("test/"))).toEqual([other]);
});

test("a board alone is a device while it has a description, whatever strangers describe", async () => {
  const broker = await startBroker();
  const home = await FakeHomeAssistant.connect(broker.url);
  const description = JSON.stringify({
    contract: 1,
    id: "fogger_hw",
    class: "fogger",
    board: "esp32",
    commands: { start: { args: { type: "number", minimum: 1, maximum: 10000, default: 3000 } }, stop: {} },
    telemetry: { heater_ready: { type: "boolean" } },
  });
  const board = await FakeBoard.start(broker.url, "fogger_hw", { description });
  const host = await startHost({ broker, props: PROPS, env: ON });
  const shown = await home.device("fogger_hw");
  expect(shown.device).toMatchObject({ name: "fogger_hw", model: "fogger, esp32" });
  expect(entityOf(shown.components, "binary_sensor", "Heater ready")).toMatchObject({ payload_on: "true" });
  await home.press(shown, "Start");
  await home.set(shown, "number", "Start with", 20);
  await home.client.expect("halloween/fogger_hw/cmd", /"args": 20/);

  const describe = (id: string, text: string) =>
    home.client.publish(`halloween/${id}/description`, text, { retain: true });
  await describe("no_board", JSON.stringify({ contract: 1, commands: { fire: {} } }));
  await describe("no_json", "{");
  await describe("too_long", " ".repeat(70_000));
  await describe("worker_host_", JSON.stringify({ contract: 1, board: "x", commands: { "{{1}}": {}, "a b": {} } }));
  const odd = await home.device("worker_host_");
  const button = entityOf(odd.components, "button", "{{1}}");
  expect(button.command_template).not.toContain("{{1}}");
  const warned = [1, 2, 3].map(() => home.client.expect("halloween/worker_host/status/warn"));
  expect((await Promise.all(warned)).sort()).toEqual([
    "1 of what worker_host_ describes is not shown in Home Assistant",
    expect.stringMatching(/no_json is not shown in Home Assistant: it is no JSON/),
    expect.stringMatching(/too_long is not shown in Home Assistant/),
  ]);

  await board.leave();
  await describe("worker_host_", "");
  await home.gone("fogger_hw");
  await home.gone("worker_host_");
  expect(await idsShown(home)).toEqual(["fogger", "lamp", "worker_host"]);
  expect(host.child.exitCode).toBe(null);
});

test("hosts and prefixes have ids of their own", async () => {
  const broker = await startBroker();
  const home = await FakeHomeAssistant.connect(broker.url);
  const lamp = { "lamp/backend/worker.ts": workerSource("") };
  await startHost({ broker, props: lamp, env: ON });
  await startHost({ broker, props: { "attic/backend/worker.ts": workerSource("") }, args: ["--name", "two"], env: ON });
  await startHost({ broker, props: lamp, args: ["--mqtt-prefix", "other"], env: ON });
  for (const id of ["two", "attic"]) await home.device(id, undefined, { hostName: "two" });
  for (const topicPrefix of ["halloween", "other"]) await home.device("lamp", undefined, { topicPrefix });
  expect(new Set(["halloween", "other"].map((topicPrefix) => home.configOf("lamp", { topicPrefix }))).size).toBe(2);
});

test("without the setting nothing is said to Home Assistant", async () => {
  const broker = await startBroker();
  const home = await FakeHomeAssistant.connect(broker.url);
  await startHost({ broker, props: PROPS });
  await home.come();
  await home.client.command("fogger", "ping");
  await home.client.expect(SAID);
  await home.client.barrier();
  expect(home.client.seen.all.filter(({ topic }) => topic.startsWith("homeassistant/device"))).toEqual([]);
  expect(home.client.texts("halloween/worker_host/status/lock_outs")).toEqual([]);
});
