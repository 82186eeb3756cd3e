import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { COFFIN, jump, startCoffin, VALVE } from "../harness/bench.ts";
import { startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { startBoard } from "../harness/sketch.ts";

describe("the link", () => {
  test("lost with the broker: off and disarmed; back with it, and all is said again", async () => {
    const bench = await startCoffin();
    const { broker, board } = bench;
    await jump(bench);
    const closed = board.pinTurns(VALVE, 0);
    await broker.stop();
    await closed;
    const online = board.trace.next(({ serial }) => /is online/.test(serial ?? ""), "online again");
    await broker.start();
    await online;
    const client = await TestClient.connect(broker.url);
    await client.expect(`halloween/${COFFIN}/status/availability`, "online");
    await client.expect(`halloween/${COFFIN}/state`, "disarmed");
    await client.expect(`halloween/${COFFIN}/description`);
    await client.command(COFFIN, "jump");
    await client.expect(`halloween/${COFFIN}/status/warn`, /jump refused: it is disarmed/);
    expect(board.pin(VALVE)).toBe(0);
  });

  test("lost for less than its limit changes nothing", async () => {
    const bench = await startCoffin();
    const online = bench.board.trace.next(({ serial }) => /is online/.test(serial ?? ""), "online again");
    await bench.broker.stop();
    await bench.broker.start();
    await online;
    const client = await TestClient.connect(bench.broker.url);
    await client.expect(`halloween/${COFFIN}/state`, "armed");
  });

  test("not looked at for so long, because the loop hung: off and disarmed, whatever was in between", async () => {
    const { client, board } = await startCoffin();
    board.tell({ hang: true });
    // Longer than a link may be lost, less than the watchdog waits.
    await sleep(3_500);
    board.tell({ hang: false });
    await client.expect(`halloween/${COFFIN}/state`, "disarmed");
  });

  test("lost with the WiFi: off and disarmed, and back with it", async () => {
    const bench = await startCoffin();
    const { client, board } = bench;
    await jump(bench);
    const closed = board.pinTurns(VALVE, 0);
    board.tell({ wifi: false });
    await closed;
    const online = board.trace.next(({ serial }) => /is online/.test(serial ?? ""), "online again");
    board.tell({ wifi: true });
    await online;
    await client.expect(`halloween/${COFFIN}/state`, "disarmed");
    const late = await TestClient.connect(client.url);
    await late.expect(`halloween/${COFFIN}/status/availability`, "online");
  });

  test("killed: the broker says offline at once", async () => {
    const { client, board } = await startCoffin();
    await board.kill();
    await client.expect(`halloween/${COFFIN}/status/availability`, "offline");
  });
});

describe("millis() wraps", () => {
  test("during an action, a cooldown and a link", async () => {
    const bench = await startCoffin({ millis: 2 ** 32 - 2500 });
    const opened = bench.board.pinTurns(VALVE, 1);
    const closed = bench.board.pinTurns(VALVE, 0);
    bench.board.tell({ millis: 2 ** 32 - 1500 });
    await bench.client.command(COFFIN, "jump 3000");
    const before = (await opened).ms;
    const after = (await closed).ms;
    expect(before).toBeGreaterThan(after);
    expect((after - before + 2 ** 32) % 2 ** 32).toBeGreaterThanOrEqual(2_900);
    for (const state of ["jumping", "cooldown", "armed"]) await bench.client.expect(`halloween/${COFFIN}/state`, state);
    await jump(bench, 100);
    expect(bench.client.texts(`halloween/${COFFIN}/status/error`)).toEqual([]);
  });
});

describe("commands that are left over", () => {
  test("retained: none is run at the start, whatever it is", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    await client.publish(`halloween/${COFFIN}/cmd`, "arm", { retain: true });
    await client.publish("halloween/coffin_jumper/cmd", "jump", { retain: true });
    await client.publish("halloween/broadcast/cmd", "jump", { retain: true });
    const board = startBoard("coffin_jumper", { broker });
    await client.expect(`halloween/${COFFIN}/status/warn`, /^retained command refused: "arm"/);
    await client.expect(`halloween/${COFFIN}/state`, "disarmed");
    expect(board.pin(VALVE)).toBe(0);
  });

  test("sent while it was away: none is run when it is back", async () => {
    const bench = await startCoffin();
    await bench.board.kill();
    await bench.client.expect(`halloween/${COFFIN}/status/availability`, "offline");
    await bench.client.command(COFFIN, "arm");
    startBoard("coffin_jumper", { broker: bench.broker, env: { HOST_NVS: bench.board.nvs } });
    await bench.client.expect(`halloween/${COFFIN}/status/availability`, "online");
    await bench.client.barrier();
    expect(bench.client.texts(`halloween/${COFFIN}/state`).at(-1)).toBe("disarmed");
  });
});
