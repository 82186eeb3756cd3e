import { describe, expect, test } from "vitest";
import { COFFIN, FOGGER, fog, jump, PUMP, READY, startCoffin, startFogger, VALVE } from "../harness/bench.ts";
import { startBroker } from "../harness/broker.ts";
import { startBoard } from "../harness/sketch.ts";

describe("pins", () => {
  test.each([
    ["coffin_jumper", VALVE],
    ["fogger", PUMP],
    ["grave_shaker", 25],
  ])("of %s are off before anything else runs", async (sketch, pin) => {
    const board = startBoard(sketch, { broker: await startBroker() });
    const { mode } = await board.trace.find(() => true, "the first thing that it does");
    expect([board.trace.all[0]?.pin, mode]).toEqual([pin, "output"]);
    await board.says(/is online/);
    expect(board.trace.all.filter((line) => line.pin === pin && (line.value ?? 0) > 0)).toEqual([]);
  });
});

describe("what is on goes off", () => {
  test("by the loop alone", async () => {
    const bench = await startCoffin();
    bench.board.tell({ timers: false, watchdog: false });
    const opened = bench.board.pinTurns(VALVE, 1);
    const closed = bench.board.pinTurns(VALVE, 0);
    await bench.client.command(COFFIN, "jump 1000");
    // Counted from a moment before the pin is on, so that it may be on for a little less.
    expect((await closed).ms - (await opened).ms).toBeGreaterThanOrEqual(900);
    for (const state of ["jumping", "cooldown", "armed"]) await bench.client.expect(`halloween/${COFFIN}/state`, state);
    expect(bench.client.texts(`halloween/${COFFIN}/status/error`)).toEqual([]);
  });

  test("by esp_timer alone, while the loop hangs", async () => {
    const bench = await startCoffin();
    bench.board.tell({ watchdog: false });
    const closed = bench.board.pinTurns(VALVE, 0);
    await jump(bench, 2000);
    bench.board.tell({ hang: true });
    await closed;
    bench.board.tell({ hang: false });
    await bench.client.expect(`halloween/${COFFIN}/status/error`, /pin 26 was cut off by its timer: the loop was late/);
    await bench.client.expect(`halloween/${COFFIN}/state`, "cooldown");
  });

  test("by esp_timer alone, while a publish holds up the loop", async () => {
    const bench = await startFogger();
    bench.board.tell({ watchdog: false });
    const off = bench.board.pinTurns(PUMP, 0);
    // Its state is published when the pump is on.
    await bench.board.told({ publish_stall_ms: 2000 });
    await fog(bench, 300);
    await off;
    bench.board.tell({ publish_stall_ms: 0 });
    await bench.client.expect(`halloween/${FOGGER}/status/error`, /cut off by its timer/);
  });

  test("by the watchdog alone, and the board says so, and is to be looked at", async () => {
    const bench = await startCoffin();
    const { client, board } = bench;
    board.tell({ timers: false });
    await jump(bench);
    const reset = board.resets("task_watchdog");
    board.tell({ hang: true });
    await reset;
    expect(board.pin(VALVE)).toBe(0);
    await client.expect(`halloween/${COFFIN}/telemetry/reset_reason`, "task_watchdog");
    await client.expect(
      `halloween/${COFFIN}/status/error`,
      /^it was reset \(task_watchdog\): what it was doing was cut off/,
    );
    await client.expect(`halloween/${COFFIN}/state`, "fault");
    await client.command(COFFIN, "arm");
    await client.command(COFFIN, "jump");
    await client.expect(`halloween/${COFFIN}/status/warn`, /jump refused: it was reset in the middle of something/);
    await client.command(COFFIN, "reset");
    await client.expect(`halloween/${COFFIN}/state`, "armed");
    await jump(bench, 100);
  });

  test("by stop, in the middle", async () => {
    const bench = await startCoffin();
    await jump(bench);
    const closed = bench.board.pinTurns(VALVE, 0);
    await bench.client.command(COFFIN, "stop");
    await closed;
    await bench.client.expect(`halloween/${COFFIN}/state`, "disarmed");
  });

  test("by the stop of the worker beside it, and by nothing else that is sent there", async () => {
    const bench = await startCoffin();
    await bench.client.command("coffin_jumper", "jump");
    await bench.client.command("coffin_jumper", "disarm");
    await jump(bench);
    const closed = bench.board.pinTurns(VALVE, 0);
    await bench.client.command("coffin_jumper", { action: "stop", reply_to: "halloween/cli/reply/s" });
    await closed;
    await bench.client.expect(`halloween/${COFFIN}/state`, "disarmed");
    await bench.client.barrier();
    expect(bench.client.texts(`halloween/${COFFIN}/status/warn`)).toEqual([]);
    expect(bench.client.texts("halloween/cli/reply/s")).toEqual([]);
  });

  test("by the stop for all, and by no other command for all", async () => {
    const bench = await startFogger();
    await fog(bench);
    const off = bench.board.pinTurns(PUMP, 0);
    await bench.client.publish("halloween/broadcast/cmd", "set_mode off");
    await bench.client.publish("halloween/broadcast/cmd", "stop");
    await off;
    await bench.client.expect(`halloween/${FOGGER}/state`, "idle");
  });

  test("by a lock-out, until it is released", async () => {
    const bench = await startFogger();
    const { client, board } = bench;
    await fog(bench);
    const off = board.pinTurns(PUMP, 0);
    const topic = `halloween/${FOGGER}/status/lock_out`;
    await client.publish(topic, "the hose leaks", { retain: true });
    await off;
    await client.command(FOGGER, "start");
    await client.expect(`halloween/${FOGGER}/status/warn`, /start refused: it is locked out/);
    await client.publish(topic, "", { retain: true });
    await fog(bench, 100);
  });

  test("when the heater is not ready any more", async () => {
    const bench = await startFogger();
    await fog(bench);
    const off = bench.board.pinTurns(PUMP, 0);
    bench.board.set(READY, 1);
    await off;
    await bench.client.expect(`halloween/${FOGGER}/state`, "heating");
    await bench.client.command(FOGGER, "start");
    await bench.client.expect(`halloween/${FOGGER}/status/warn`, /start refused: the heater is not ready/);
  });
});
