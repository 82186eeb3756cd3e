import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { FakeBoard } from "./harness/board.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { shared } from "./harness/ending.ts";
import { makeFolder } from "./harness/folder.ts";
import { ROOT, startHost } from "./harness/host.ts";

const PROPS = join(ROOT, "props");
const IDS = ["coffin_jumper", "example_prop", "fogger", "grave_shaker", "show", "sound_player", "wled_strip"];
const PIR = "halloween/coffin_jumper_hw/telemetry/pir";

const BOARDS = ["coffin_jumper_hw", "fogger_hw", "grave_shaker_hw"];

/** A host that runs the shipped props, and their boards. */
const haunt = shared(async () => {
  const broker = await startBroker();
  await Promise.all(BOARDS.map((id) => FakeBoard.start(broker.url, id)));
  await startHost({ broker, args: ["--props", PROPS] });
  return broker;
});

/** The shipped props at rest, and a client that sees all from now on. */
async function startHaunt(): Promise<TestClient> {
  const { url } = await haunt();
  const before = await TestClient.connect(url);
  for (const id of IDS) await before.expect(`halloween/${id}/status/availability`, "online");
  // Those that stop others come first.
  for (const id of ["show", "coffin_jumper", "example_prop", ...IDS]) {
    const reply_to = "halloween/cli/reply/rest";
    await before.command(id, { action: "stop", reply_to });
    await before.expect(reply_to, /"ok"/);
  }
  // The last of what is retained: all of it has come when this has.
  await before.publish("halloween/rest/state", "at_rest", { retain: true });
  await before.close();
  const client = await TestClient.connect(url);
  await client.expect("halloween/rest/state");
  return client;
}

/** A host that runs these of the shipped props, with these values in the coffin's config, and a client that sees all. */
async function startWithCoffin(values: Record<string, unknown>, ids: string): Promise<TestClient> {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await Promise.all(BOARDS.map((id) => FakeBoard.start(broker.url, id)));
  await startHost({ broker, args: ["--props", propsWithCoffin(values)], env: { WORKER_PROPS_ALLOW: ids } });
  return client;
}

/** The shipped props, with these values in the coffin's config. */
function propsWithCoffin(values: Record<string, unknown>): string {
  const folder = makeFolder();
  cpSync(PROPS, folder, { recursive: true });
  const config = join(folder, "coffin_jumper/backend/config.yaml");
  writeFileSync(config, stringify({ ...parse(readFileSync(config, "utf8")), ...values }));
  return folder;
}

/** The commands that a prop was sent so far, as "action" or "action args". */
function sentTo(client: TestClient, id: string): string[] {
  return client.texts(`halloween/${id}/cmd`).map((text) => {
    if (!text.startsWith("{")) return text;
    const { action, args } = JSON.parse(text) as { action: string; args: unknown };
    return args === null ? action : `${action} ${JSON.stringify(args)}`;
  });
}

function command(action: string, args: unknown = null): RegExp {
  const fields = JSON.stringify({ action, args }).slice(0, -1);
  return new RegExp(`^${fields.replaceAll(/[[\]{}.]/g, "\\$&")},`);
}

/** Sends each command, and expects this answer (or one that matches it) on a topic of the same prop. */
async function converse(client: TestClient, id: string, talk: [string | object, string, string | RegExp][]) {
  for (const [sent, key, answer] of talk) {
    await client.command(id, sent);
    // Some of the props that it tells are not there, which it warns of.
    const text = await client.expect(`halloween/${id}/${key}`, /^(?!"\w+" went to)/);
    const why = JSON.stringify(sent);
    if (typeof answer === "string") expect(text, why).toBe(answer);
    else expect(text, why).toMatch(answer);
  }
}

test("example_prop ticks, answers a ping, and its fire makes fog", async () => {
  const client = await startHaunt();
  await client.command("worker_host", "restart_worker example_prop");
  await client.expect("halloween/example_prop/telemetry/tick", "0");

  await converse(client, "example_prop", [
    ["ping", "telemetry/pong", "ok"],
    ["ping hello there", "telemetry/pong", "hello there"],
    [{ action: "ping", args: "hello" }, "telemetry/pong", "hello"],
    ["fire soon", "status/warn", /^fire refused: expected ms, .*got "soon"/],
    [{ action: "fire", args: -5 }, "status/warn", /^fire refused: .*got -5/],
    ["fire 10001", "status/error", /RangeError: at most 10000 ms, got 10001/],
  ]);
  expect(sentTo(client, "fogger")).toEqual([]);

  await client.command("example_prop", "fire 300");
  await client.expect("halloween/fogger/cmd", command("start", 300));
  await client.expect("halloween/fogger/state", "fogging");
  await client.expect("halloween/fogger/cmd", command("stop"));
  expect(sentTo(client, "fogger")).toEqual(["start 300", "stop"]);

  await client.command("example_prop", { action: "fire", args: 9000 });
  await client.expect("halloween/fogger/cmd", command("start", 9000));
  await client.command("example_prop", "stop");
  await client.expect("halloween/fogger/cmd", command("stop"));
});

test("fogger fogs for a time that is bounded, and its board hears of the end", async () => {
  const client = await startHaunt();
  await client.expect("halloween/fogger/state", "idle");

  for (const sent of ["start 200", { action: "start", args: 200 }]) {
    await client.command("fogger", sent);
    for (const action of [command("start", 200), command("stop")])
      await client.expect("halloween/fogger_hw/cmd", action);
    for (const state of ["fogging", "idle"]) await client.expect("halloween/fogger/state", state);
  }
  expect(sentTo(client, "fogger_hw")).toEqual(["start 200", "stop", "start 200", "stop"]);

  await converse(client, "fogger", [
    ["start 10001", "status/error", /RangeError: at most 10000 ms, got 10001/],
    ["start 11s", "status/error", /RangeError: at most 10000 ms, got 11000/],
    ["start soon", "status/warn", /^start refused: .*got "soon"/],
    [{ action: "start", args: { ms: 5 } }, "status/warn", /^start refused: .*\{"ms":5\}/],
    [{ action: "start", args: true }, "status/warn", /^start refused: .*true/],
    [{ action: "start", args: "" }, "status/warn", /^start refused: .*""/],
    ["set_mode fast", "status/warn", /^set_mode refused: .*"ready".*"off".*got "fast"/],
    ["set_mode off", "telemetry/mode", "off"],
    ["start 200", "status/error", /off.*set_mode ready/],
    ["set_mode", "telemetry/mode", "ready"],
  ]);
  expect(sentTo(client, "fogger_hw")).toHaveLength(4);
  expect(client.texts("halloween/fogger/state").at(-1)).toBe("idle");
});

test("fogger is off at once on stop, and on set_mode off", async () => {
  const client = await startHaunt();
  for (const off of ["stop", "set_mode off"]) {
    await client.command("fogger", "start 9000");
    await client.expect("halloween/fogger/state", "fogging");
    await client.command("fogger", off);
    await client.expect("halloween/fogger/state", "idle");
    await client.expect("halloween/fogger_hw/cmd", command("stop"));
  }
  await client.command("fogger", "set_mode ready");
});

test("a second start takes the place of the first", async () => {
  const client = await startHaunt();
  const states = ["fogging", "idle", "fogging", "idle"];
  await client.command("fogger", "start 9000");
  await client.expect("halloween/fogger_hw/cmd", command("start", 9000));
  await client.command("fogger", "start 800");
  for (const action of [command("stop"), command("start", 800), command("stop")])
    await client.expect("halloween/fogger_hw/cmd", action);
  for (const state of states) await client.expect("halloween/fogger/state", state);
  expect(client.texts("halloween/fogger/state").slice(-states.length)).toEqual(states);
  expect(sentTo(client, "fogger_hw")).toEqual(["start 9000", "stop", "start 800", "stop"]);
});

test("grave_shaker takes its arguments as text and as JSON, within bounds, and stops", async () => {
  const client = await startHaunt();
  const talk: [string | object, { ms: number; level: number }][] = [
    ["shake 150 60", { ms: 150, level: 60 }],
    ["shake ms=150 level=60", { ms: 150, level: 60 }],
    [
      { action: "shake", args: [150, 60] },
      { ms: 150, level: 60 },
    ],
    ["shake 150", { ms: 150, level: 80 }],
    [
      { action: "shake", args: { ms: 150, level: 30 } },
      { ms: 150, level: 30 },
    ],
    [
      { action: "shake", args: { level: 20 } },
      { ms: 1500, level: 20 },
    ],
    [
      { action: "shake", args: 150 },
      { ms: 150, level: 80 },
    ],
    ["shake", { ms: 1500, level: 80 }],
  ];
  for (const [sent, args] of talk) {
    await client.command("grave_shaker", sent);
    await client.expect("halloween/grave_shaker_hw/cmd", command("shake", args));
    await client.expect("halloween/grave_shaker/telemetry/level", String(args.level));
    for (const state of ["shaking", "idle"]) await client.expect("halloween/grave_shaker/state", state);
  }
  await converse(client, "grave_shaker", [
    ["shake hard", "status/warn", /^shake refused: expected ms and a level of 1 to 100, .*"hard"/],
    ["shake 500 101", "status/warn", /^shake refused: .*<=100, got 101/],
    ["shake 500 50 50", "status/warn", /^shake refused: expected ms and a level/],
    [{ action: "shake", args: { ms: "long" } }, "status/warn", /^shake refused: .*"long"/],
    ["shake 10001", "status/error", /RangeError: at most 10000 ms, got 10001/],
  ]);
  expect(sentTo(client, "grave_shaker_hw").filter((sent) => sent.startsWith("shake"))).toHaveLength(talk.length);

  await client.command("grave_shaker", "shake 9000 10");
  await client.expect("halloween/grave_shaker_hw/cmd", command("shake", { ms: 9000, level: 10 }));
  await client.expect("halloween/grave_shaker/state", "shaking");
  await converse(client, "grave_shaker", [["stop", "state", "idle"]]);
  await client.expect("halloween/grave_shaker_hw/cmd", command("stop"));
});

test("somebody in front of the armed coffin: the lid jumps, and the fogger and the grave join in", async () => {
  const client = await startHaunt();
  await client.expect("halloween/coffin_jumper/state", "idle");
  // Not armed: nobody is scared. The worker has seen this when it answers the next command.
  await client.publish(PIR, "1");
  await converse(client, "coffin_jumper", [["arm", "state", "armed"]]);
  await client.publish(PIR, "0");
  await converse(client, "coffin_jumper", [
    ["disarm", "state", "idle"],
    ["arm", "state", "armed"],
  ]);
  expect(client.texts("halloween/coffin_jumper/telemetry/scare")).toEqual([]);

  await client.publish(PIR, "1");
  await Promise.all([
    client.expect("halloween/coffin_jumper/state", "firing"),
    client.expect("halloween/coffin_jumper_hw/cmd", command("jump", 1500)),
    client.expect("halloween/fogger/cmd", command("start", 3000)),
    client.expect("halloween/grave_shaker/cmd", command("shake", 1500)),
    client.expect("halloween/fogger/state", "fogging"),
    client.expect("halloween/fogger_hw/cmd", command("start", 3000)),
    client.expect("halloween/grave_shaker/state", "shaking"),
    client.expect("halloween/grave_shaker_hw/cmd", command("shake", { ms: 1500, level: 80 })),
  ]);

  await client.command("coffin_jumper", "stop");
  await Promise.all([
    ...["fogger", "grave_shaker", "coffin_jumper_hw", "fogger_hw", "grave_shaker_hw"].map((id) =>
      client.expect(`halloween/${id}/cmd`, command("stop")),
    ),
    ...["coffin_jumper", "fogger", "grave_shaker"].map((id) => client.expect(`halloween/${id}/state`, "idle")),
  ]);
  expect(client.texts("halloween/coffin_jumper/telemetry/scare")).toEqual(["1"]);
});

test("after a scare the coffin cools down, and is armed again; nobody scares in between", async () => {
  const targets = [
    { ids: ["fogger"], action: "start", ms: 200 },
    { ids: ["grave_shaker", "another_grave"], action: "shake", ms: 100 },
  ];
  const client = await startWithCoffin({ jump_ms: 100, cooldown_s: 1, targets }, "coffin_jumper");
  await client.expect("halloween/coffin_jumper/state", "idle");
  await converse(client, "coffin_jumper", [["arm", "state", "armed"]]);

  for (const scare of ["1", "2"]) {
    await client.publish(PIR, "1");
    await client.expect("halloween/coffin_jumper/telemetry/scare", scare);
    await client.publish(PIR, "1");
    await client.expect("halloween/coffin_jumper/state", "cooldown");
    await client.publish(PIR, "1");
    await client.expect("halloween/coffin_jumper/state", "armed");
  }
  expect(client.texts("halloween/coffin_jumper/state").slice(-7)).toEqual([
    ...["armed", "firing", "cooldown"],
    ...["armed", "firing", "cooldown", "armed"],
  ]);
  expect(client.texts("halloween/coffin_jumper/telemetry/scare")).toEqual(["1", "2"]);
  expect(sentTo(client, "coffin_jumper_hw")).toEqual(["arm", "jump 100", "jump 100"]);
  expect(sentTo(client, "another_grave")).toEqual(["shake 100", "stop", "shake 100", "stop"]);
});

test("the coffin's lid jumps by hand while it is armed, and stays armed", async () => {
  const client = await startHaunt();
  await client.expect("halloween/coffin_jumper/state", "idle");
  await converse(client, "coffin_jumper", [
    ["jump 150", "status/error", /it is disarmed: send "arm" first/],
    ["arm", "state", "armed"],
  ]);
  for (const sent of ["jump 150", { action: "jump", args: 150 }]) {
    await client.command("coffin_jumper", sent);
    await client.expect("halloween/coffin_jumper_hw/cmd", command("jump", 150));
    for (const state of ["firing", "armed"]) await client.expect("halloween/coffin_jumper/state", state);
  }
  await converse(client, "coffin_jumper", [
    ["jump high", "status/warn", /^jump refused: .*"high"/],
    ["jump 60s", "status/error", /RangeError: at most 5000 ms, got 60000/],
  ]);

  await client.command("coffin_jumper", "jump 4000");
  await client.expect("halloween/coffin_jumper_hw/cmd", command("jump", 4000));
  await client.expect("halloween/coffin_jumper/state", "firing");
  await converse(client, "coffin_jumper", [["stop", "state", "idle"]]);
  await client.expect("halloween/coffin_jumper_hw/cmd", command("stop"));
});

test("a coffin with targets that make no sense fails, and says what to write", async () => {
  const client = await startWithCoffin({ targets: [{ ids: "fogger", ms: 300 }] }, "coffin_jumper,fogger");
  const runstate = await client.expect("halloween/coffin_jumper/status/runstate", /"failed"/);
  expect(JSON.parse(runstate).detail).toMatch(
    /config\.yaml:\d+ targets\[0\]\.ids: expected array, got "fogger"\n.*config\.yaml:\d+ targets\[0\]\.action: expected string, got nothing/,
  );
  await client.expect("halloween/fogger/status/availability", "online");
});

test("each shipped prop's README lists its commands, topics and config keys", async () => {
  const client = await startHaunt();
  expect(readdirSync(PROPS).filter((id) => existsSync(join(PROPS, id, "backend")))).toEqual(IDS);
  for (const id of IDS) {
    const readme = readFileSync(join(PROPS, id, "README.md"), "utf8");
    const rowsUnder = (head: string): string[] => {
      const table = readme.split("\n\n").find((paragraph) => paragraph.startsWith(`| ${head} `)) ?? "";
      return [...table.matchAll(/^\| `([a-z_/]+)/gm)].map(([, name]) => name ?? "");
    };

    await client.command(id, "what");
    const known = (await client.expect(`halloween/${id}/status/warn`)).split("known: ")[1]?.split(", ");
    expect(rowsUnder("command").sort(), id).toEqual(known);

    const source = readFileSync(join(PROPS, id, "backend/worker.ts"), "utf8");
    const used = new Set([...source.matchAll(/this\.config\.([a-z_]+)/g)].map(([, key]) => key));
    expect(new Set(rowsUnder("key")), id).toEqual(used);

    const published = [...source.matchAll(/this\.telemetry\("([a-z_]+)"/g)].map(([, key]) => `telemetry/${key}`);
    const topics = rowsUnder(`topic under \`halloween/${id}/\``);
    expect(topics, id).toEqual(expect.arrayContaining([...new Set(published), "cmd", "status/availability"]));
    expect(topics.includes("state"), id).toBe(source.includes("this.state = "));

    for (const file of readdirSync(join(PROPS, id, "backend")).filter((name) => name.startsWith("config."))) {
      const keys = Object.keys(parse(readFileSync(join(PROPS, id, "backend", file), "utf8")));
      expect([...used], file).toEqual(expect.arrayContaining(keys));
    }
  }
});
