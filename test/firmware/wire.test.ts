import { describe, expect, test } from "vitest";
import { startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { type Board, startBoard } from "../harness/sketch.ts";

const SKETCHES = [
  ["coffin_jumper", "coffin_jumper_hw"],
  ["fogger", "fogger_hw"],
  ["grave_shaker", "grave_shaker_hw"],
  ["panic_button", "panic_button"],
] as const;

/** The fogger is warm, and nobody presses the panic button; an open contact would count as that. */
const AT_REST: Record<number, 0 | 1> = { 27: 0 };

async function start(sketch: string, id: string): Promise<{ client: TestClient; board: Board }> {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const board = startBoard(sketch, { broker, inputs: AT_REST });
  await client.expect(`halloween/${id}/status/availability`, "online");
  return { client, board };
}

let replies = 0;

/** What a board answers. */
async function ask(client: TestClient, id: string, action: string, args?: unknown): Promise<Record<string, unknown>> {
  const reply_to = `halloween/cli/reply/${++replies}`;
  await client.command(id, { action, args, id: `ask${replies}`, reply_to });
  return JSON.parse(await client.expect(reply_to));
}

describe.each(SKETCHES)("the board of %s", (sketch, id) => {
  test("describes itself before it is online, and says what every board says", async () => {
    const { client } = await start(sketch, id);
    const description = JSON.parse(await client.expect(`halloween/${id}/description`));
    expect(description).toMatchObject({ contract: 1, id, class: sketch, board: "linux" });
    for (const [action, about] of Object.entries<{ description: string }>(description.commands)) {
      expect(about.description, action).toMatch(/^(off|[A-Z]).{3}/);
    }
    expect(Object.keys(description.commands)).toEqual(expect.arrayContaining(["ping", "stop", "rename"]));
    await client.expect(`halloween/${id}/state`, /^[a-z]+$/);
    await client.expect(`halloween/${id}/telemetry/reset_reason`, "power_on");
    for (const key of ["rssi", "uptime", "heap"]) await client.expect(`halloween/${id}/telemetry/${key}`, /^-?\d+$/);
    const topics = client.seen.all.map(({ topic }) => topic.replace(`halloween/${id}/`, ""));
    expect(topics.indexOf("description")).toBeLessThan(topics.indexOf("status/availability"));
    expect(topics.indexOf("state")).toBeLessThan(topics.indexOf("status/availability"));
    const declared = Object.keys(description.telemetry).map((key) => `telemetry/${key}`);
    const said = topics.filter((topic) => topic.startsWith("telemetry/"));
    expect(declared).toEqual(expect.arrayContaining(said));
  });

  test("answers ping and stop, in text and in JSON, with a reply where one is asked for", async () => {
    const { client } = await start(sketch, id);
    await client.command(id, "ping");
    await client.expect(`halloween/${id}/telemetry/pong`, "ok");
    expect(await ask(client, id, "ping")).toMatchObject({
      id: `ask${replies}`,
      from: id,
      status: "ok",
      result: "pong",
    });
    expect(await ask(client, id, "stop")).toMatchObject({ status: "ok", ms: expect.any(Number) });
    expect(await ask(client, id, "dance")).toMatchObject({
      status: "error",
      refused: true,
      error: expect.stringMatching(/^it is unknown; known: .*ping, stop/),
    });
  });

  test("refuses what is none, and goes on", async () => {
    const { client } = await start(sketch, id);
    const warn = `halloween/${id}/status/warn`;
    const talk: [string | Buffer, RegExp][] = [
      ["", /^empty command refused/],
      ['{"action": "ping"', /but is not JSON/],
      [Buffer.from([0xff, 0xfe, 0]), /not UTF-8/],
      ['{"action": "ping", "reply_to": "halloween/x/cmd"}', /"ping" refused: a reply goes to halloween\/<id>\/reply/],
      ["x".repeat(3000), /command of 3000 bytes refused: at most 1024/],
      ["x".repeat(1025), /command of 1025 bytes refused: at most 1024/],
    ];
    for (const [payload, answer] of talk) {
      await client.publish(`halloween/${id}/cmd`, payload);
      await client.expect(warn, answer);
    }
    expect(client.texts("halloween/x/cmd")).toEqual([]);
    expect(await ask(client, id, "ping")).toMatchObject({ status: "ok" });
  });

  test("obeys a stop however it is spelled, and forgives what that doesn't need", async () => {
    const { client } = await start(sketch, id);
    const warn = `halloween/${id}/status/warn`;
    expect(await ask(client, id, "All-Stop", { by: 7 })).toMatchObject({ status: "ok" });
    expect(await ask(client, id, "STOP")).toMatchObject({ status: "ok" });
    const reply_to = "halloween/cli/reply/forgiven";
    await client.command(id, { action: "Stop", id: 7, expires_at: "soon", reply_to });
    await client.expect(warn, 'stop obeyed, though "id": expected a text');
    expect(JSON.parse(await client.expect(reply_to))).toMatchObject({ status: "ok" });
    await client.command(id, { action: "stop", reply_to: "halloween/x/cmd" });
    await client.expect(warn, /^stop obeyed without a reply: a reply goes to halloween\/<id>\/reply\/<name> only/);
    expect(client.texts("halloween/x/cmd")).toEqual([]);
    const refused = client.texts(warn).length;
    for (const payload of [`stop${" ".repeat(3000)}`, `{"action":"stop","args":"${"x".repeat(3000)}"}`])
      await client.publish(`halloween/${id}/cmd`, payload);
    expect(await ask(client, id, "ping")).toMatchObject({ status: "ok" });
    expect(client.texts(warn)).toHaveLength(refused);
  });

  test("confirms the stop of an all-stop, and under its own id", async () => {
    const { client } = await start(sketch, id);
    const reply_to = "halloween/worker_host/reply/stop/1";
    await client.command("broadcast", { action: "stop", args: null, id: "s1", reply_to, reason: "all_stop" });
    expect(JSON.parse(await client.expect(reply_to))).toMatchObject({ id: "s1", from: id, status: "ok" });
    // The answer to the worker beside it is that worker's alone.
    if (!id.endsWith("_hw")) return;
    const other = "halloween/cli/reply/beside";
    await client.command(id.replace(/_hw$/, ""), { action: "stop", reply_to: other });
    await ask(client, id, "ping");
    expect(client.texts(other)).toEqual([]);
  });

  test("runs a command with the same id once", async () => {
    const { client } = await start(sketch, id);
    const command = { action: "ping", id: "once", reply_to: "halloween/cli/reply/once" };
    await client.command(id, command);
    expect(JSON.parse(await client.expect("halloween/cli/reply/once"))).toMatchObject({ status: "ok" });
    await client.command(id, command);
    expect(JSON.parse(await client.expect("halloween/cli/reply/once"))).toMatchObject({
      status: "error",
      error: expect.stringMatching(/has run already/),
    });
  });

  test("takes a retained command for none", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    await client.publish(`halloween/${id}/cmd`, "ping", { retain: true });
    startBoard(sketch, { broker, inputs: AT_REST });
    await client.expect(`halloween/${id}/status/warn`, /^retained command refused: "ping"/);
    await ask(client, id, "stop");
    expect(client.texts(`halloween/${id}/telemetry/pong`)).toEqual([]);
  });

  test("rename: leaves nothing under its old id, and comes up under the new one", async () => {
    const { client, board } = await start(sketch, id);
    expect(await ask(client, id, "rename", "no way")).toMatchObject({
      error: expect.stringMatching(/letters, digits/),
    });
    expect(await ask(client, id, "rename", "broadcast")).toMatchObject({ error: expect.stringMatching(/reserved/) });
    expect(await ask(client, id, "rename", id)).toMatchObject({ error: expect.stringMatching(/already/) });
    const reset = board.resets("software");
    expect(await ask(client, id, "rename", "moved_hw")).toMatchObject({ status: "ok" });
    await reset;
    await client.expect("halloween/moved_hw/status/availability", "online");
    expect(await ask(client, "moved_hw", "ping")).toMatchObject({ status: "ok" });
    const late = await TestClient.connect(client.url, [`halloween/${id}/#`]);
    await late.barrier();
    expect(late.seen.all.filter(({ topic }) => topic.startsWith("halloween/"))).toEqual([]);
    board.tell({ reset: true });
    await client.expect("halloween/moved_hw/status/availability", "online");
  });
});

test("a board whose state changes as it is renamed leaves nothing under its old id either", async () => {
  const { client } = await start("coffin_jumper", "coffin_jumper_hw");
  await client.command("coffin_jumper_hw", "arm");
  await client.expect("halloween/coffin_jumper_hw/state", "armed");
  // It disarms for it.
  expect(await ask(client, "coffin_jumper_hw", "rename", "lid_hw")).toMatchObject({ status: "ok" });
  await client.expect("halloween/lid_hw/status/availability", "online");
  const late = await TestClient.connect(client.url, ["halloween/coffin_jumper_hw/#"]);
  await late.barrier();
  expect(late.seen.all.filter(({ topic }) => topic.startsWith("halloween/"))).toEqual([]);
});

test("arguments are read as the server's side reads them", async () => {
  const { client } = await start("grave_shaker", "grave_shaker_hw");
  const talk: [string, string | RegExp][] = [
    ["shake", "80"],
    ["shake 200 10", "10"],
    ["shake ms=200 level=20", "20"],
    ["shake level=30", "30"],
    ["shake 0.2s 40", "40"],
    ['{"action": "shake", "args": {"ms": 200, "level": 50}}', "50"],
    ['{"action": "shake", "args": [200, 60]}', "60"],
    ['{"action": "shake", "args": {"ms": "0.2s", "level": 70}}', "70"],
    ['shake {"ms": 200, "level": 75}', "75"],
    ["shake soon", /ms: expected a number from 1 to 10000, got soon/],
    ["shake 200 101", /level: expected a number from 1 to 100, got 101/],
    ["shake 200 -1", /level: expected a number from 1 to 100, got -1/],
    ["shake 200 1e99", /level: expected/],
    ["shake 200 nan", /level: expected/],
    ["shake 1 2 3", /too many arguments: it takes 2/],
    ["shake pace=3", /it has no argument pace; the first one is ms/],
    ['{"action": "shake", "args": {"pace": 3}}', /it has an argument too many/],
    ['{"action": "shake", "args": {"ms": "200"}}', /ms: expected/],
    ['{"action": "shake", "args": true}', /ms: expected a number from 1 to 10000, got true/],
  ];
  for (const [command, answer] of talk) {
    const key = typeof answer === "string" ? "telemetry/level" : "status/warn";
    await client.command("grave_shaker_hw", command);
    await client.expect(`halloween/grave_shaker_hw/${key}`, answer);
  }
});

test("a broker that is given by name is looked for with mDNS", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  startBoard("fogger", {
    broker,
    env: { HOST_MDNS: "haunt=127.0.0.1", MQTT_URL: `mqtt://haunt.local:${broker.port}` },
  });
  await client.expect("halloween/fogger_hw/status/availability", "online");
});

test("the settings are typed into a menu, kept, and what is wrong is not taken", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url, ["spuk/#"]);
  const board = startBoard("fogger", { broker });
  board.type("\r\n");
  await board.says(/Which one\?/);
  for (const [item, value] of [
    ["1", "My WiFi"],
    ["2", "a secret with spaces"],
    ["3", `127.0.0.1:${broker.port}`],
    ["7", "spuk"],
  ]) {
    board.type(`${item}\r\n${value}\r\n`);
  }
  board.type("8\nfog machine\n");
  await board.says(/^an id has letters/);
  board.type("8\nattic_fogger_hw\n");
  await board.says(/id +attic_fogger_hw/);
  expect(board.trace.all.some(({ serial }) => serial?.includes("a secret"))).toBe(false);
  board.type("s\n");
  await board.resets("software");
  await client.expect("spuk/attic_fogger_hw/status/availability", "online");
});

test("a board without a broker, or with none that is there, waits, and can be told", async () => {
  const board = startBoard("fogger", { broker: { port: 1 } });
  await board.says(/press Enter for the settings/);
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  board.type(`\n3\n127.0.0.1:${broker.port}\ns\n`);
  await client.expect("halloween/fogger_hw/status/availability", "online");
});
