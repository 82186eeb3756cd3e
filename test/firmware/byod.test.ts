import { describe, expect, test } from "vitest";
import { startBroker, type TestBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { type Board, startBoard } from "../harness/sketch.ts";

/** The sketch without our library, whole in docs/bring-your-own-device.md. */
const SKETCH = "bare_board";
const ID = "lamp_hw";
const LAMP = 26;
const ALL_STOP = "halloween/worker_host/status/all_stop";
const AVAILABILITY = `halloween/${ID}/status/availability`;
const STATE = `halloween/${ID}/state`;
const WARN = `halloween/${ID}/status/warn`;

interface Bench {
  broker: TestBroker;
  client: TestClient;
  board: Board;
}

async function start(): Promise<Bench> {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const board = startBoard(SKETCH, { broker });
  await client.expect(AVAILABILITY, "online");
  return { broker, client, board };
}

/** The lamp is on. */
async function light({ client, board }: Bench, command: string | object = "start 5000"): Promise<void> {
  const on = board.pinTurns(LAMP, 1);
  await client.command(ID, command);
  await on;
}

async function refused({ client, board }: Bench, command: string | object | Buffer): Promise<void> {
  if (Buffer.isBuffer(command)) await client.publish(`halloween/${ID}/cmd`, command);
  else await client.command(ID, command);
  await client.expect(WARN, /^refused: /);
  expect(board.pin(LAMP), String(command)).toBe(0);
}

async function pong({ client }: Bench): Promise<void> {
  await client.command(ID, { action: "ping", args: null, id: "p1" });
  await client.expect(`halloween/${ID}/telemetry/pong`, "ok");
}

test("its pin is off before anything else, and then it says what it is, and that it is online", async () => {
  const { client, board } = await start();
  expect(board.trace.all[0]).toMatchObject({ pin: LAMP, mode: "output" });
  expect(board.trace.all.filter(({ pin, value }) => pin === LAMP && value === 1)).toEqual([]);
  const description = JSON.parse(await client.expect(`halloween/${ID}/description`));
  expect(description).toMatchObject({ contract: 1, id: ID, board: "linux" });
  expect(Object.keys(description.commands).sort()).toEqual(["ping", "start", "stop"]);
  const topics = client.seen.all.map(({ topic }) => topic);
  expect(topics.indexOf(STATE)).toBeLessThan(topics.indexOf(AVAILABILITY));
  const late = await TestClient.connect(client.url);
  await late.expect(AVAILABILITY, "online");
  await late.expect(STATE, "idle");
  await late.barrier();
  expect(late.seen.all.filter(({ topic, retain }) => topic.startsWith(`halloween/${ID}/`) && !retain)).toEqual([]);
});

test("its will: killed, the broker says offline", async () => {
  const { client, board } = await start();
  await board.kill();
  await client.expect(AVAILABILITY, "offline");
});

test("it answers ping, in text and in JSON", async () => {
  const bench = await start();
  await bench.client.command(ID, "ping");
  await bench.client.expect(`halloween/${ID}/telemetry/pong`, "ok");
  await pong(bench);
});

describe("the lamp", () => {
  test.each([["start 300"], ["start"], [{ action: "start", args: 300, id: "a1" }], [{ action: "start", args: null }]])(
    "goes on with %j, and off by itself",
    async (command) => {
      const bench = await start();
      const off = bench.board.pinTurns(LAMP, 0);
      await light(bench, command);
      await bench.client.expect(STATE, "on");
      await off;
      await bench.client.expect(STATE, "idle");
    },
  );

  test("goes off while the loop hangs", async () => {
    const bench = await start();
    const off = bench.board.pinTurns(LAMP, 0);
    await light(bench, "start 300");
    bench.board.tell({ hang: true });
    await off;
    bench.board.tell({ hang: false });
    await pong(bench);
  });

  test("can't be kept on by one start after the other", async () => {
    const bench = await start();
    const on = bench.board.pinTurns(LAMP, 1);
    const off = bench.board.pinTurns(LAMP, 0);
    const again = setInterval(() => void bench.client.command(ID, "start 1000"), 100);
    await off.finally(() => clearInterval(again));
    expect((await off).ms - (await on).ms).toBeLessThan(5000);
  });

  test.each([["stop"], [{ action: "stop", args: null, id: "s1" }]])("goes off with %j", async (command) => {
    const bench = await start();
    await light(bench);
    const off = bench.board.pinTurns(LAMP, 0);
    await bench.client.command(ID, command);
    await off;
  });

  test("goes off with the stop for all, and heeds nothing else that is for all", async () => {
    const bench = await start();
    await bench.client.publish("halloween/broadcast/cmd", "start");
    await light(bench);
    const off = bench.board.pinTurns(LAMP, 0);
    await bench.client.publish("halloween/broadcast/cmd", "stop");
    await off;
    await pong(bench);
    expect(bench.board.trace.all.filter(({ pin, value }) => pin === LAMP && value === 1)).toHaveLength(1);
  });

  test("goes off with the broker, and the board is back with it", async () => {
    const bench = await start();
    await light(bench);
    const off = bench.board.pinTurns(LAMP, 0);
    await bench.broker.stop();
    await off;
    await bench.broker.start();
    const client = await TestClient.connect(bench.broker.url);
    await client.expect(AVAILABILITY, "online");
    await client.expect(STATE, "idle");
    await client.expect(`halloween/${ID}/description`);
    await light({ ...bench, client }, "start 60");
  });

  test("goes off with the WiFi", async () => {
    const bench = await start();
    await light(bench);
    const off = bench.board.pinTurns(LAMP, 0);
    bench.board.tell({ wifi: false });
    await off;
  });
});

test("a retained command is none", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await client.publish(`halloween/${ID}/cmd`, "start 5000", { retain: true });
  await client.publish("halloween/broadcast/cmd", "stop", { retain: true });
  const board = startBoard(SKETCH, { broker });
  await client.expect(AVAILABILITY, "online");
  await pong({ broker, client, board });
  expect(board.trace.all.filter(({ pin, value }) => pin === LAMP && value === 1)).toEqual([]);
});

test("all-stop ends what runs and refuses start, over a reboot too, until it is cleared", async () => {
  const bench = await start();
  const { client, board } = bench;
  await light(bench);
  const off = board.pinTurns(LAMP, 0);
  await client.publish(ALL_STOP, "engaged", { retain: true });
  await off;
  await refused(bench, "start");
  await pong(bench);
  board.tell({ reset: true });
  await client.expect(AVAILABILITY, "online");
  await refused(bench, { action: "start", args: 1000 });
  await client.publish(ALL_STOP, "clear", { retain: true });
  await pong(bench);
  await light(bench, "start 60");
});

test("what is no command of its own does nothing, and it goes on", async () => {
  const bench = await start();
  const odd: (string | object | Buffer)[] = [
    ...["dance", "start 49", "start 5001", "start -1", "start soon", "start nan", "start 1e99"],
    ...["", " ", '{"action": "start"', "[".repeat(200), `{"a":${"[".repeat(200)}`, "{}", '{"action": 3}'],
    ...[{ action: "start", args: "1000" }, { action: "start", args: { ms: 1000 } }, { args: { action: "start" } }],
    Buffer.from([0xff, 0xfe, 0x00]),
  ];
  for (const command of odd) await refused(bench, command);
  // Longer than it reads, and longer than the client's buffer.
  for (const length of [256, 3000]) await bench.client.publish(`halloween/${ID}/cmd`, `start ${"1".repeat(length)}`);
  await pong(bench);
  expect(bench.board.pin(LAMP)).toBe(0);
});
