import { describe, expect, test } from "vitest";
import { COFFIN, jump, startCoffin, VALVE } from "../harness/bench.ts";

describe("all-stop", () => {
  const TOPIC = "halloween/worker_host/status/all_stop";

  test("ends what runs, refuses everything else, and clearing it starts nothing", async () => {
    const bench = await startCoffin();
    const { client, board } = bench;
    await jump(bench);
    const closed = board.pinTurns(VALVE, 0);
    await client.publish(TOPIC, "engaged", { retain: true });
    await closed;
    for (const action of ["arm", "jump", "reset"]) {
      await client.command(COFFIN, action);
      await client.expect(`halloween/${COFFIN}/status/warn`, new RegExp(`^${action} refused: all-stop is engaged`));
    }
    await client.command(COFFIN, "ping");
    await client.expect(`halloween/${COFFIN}/telemetry/pong`);
    await client.publish(TOPIC, "clear", { retain: true });
    await client.command(COFFIN, "jump");
    await client.expect(`halloween/${COFFIN}/status/warn`, /^jump refused: it is disarmed/);
    expect(board.pin(VALVE)).toBe(0);
  });

  test("holds over a reboot of the board", async () => {
    const bench = await startCoffin();
    const { client, board } = bench;
    await client.publish(TOPIC, "engaged", { retain: true });
    await client.expect(`halloween/${COFFIN}/state`, "disarmed");
    board.tell({ reset: true });
    await client.expect(`halloween/${COFFIN}/status/availability`, "online");
    await client.command(COFFIN, "arm");
    await client.expect(`halloween/${COFFIN}/status/warn`, /^arm refused: all-stop is engaged/);
  });

  test("of several hosts: each has to clear its own", async () => {
    const { client } = await startCoffin();
    const attic = "halloween/attic/status/all_stop";
    await client.publish(attic, "engaged", { retain: true });
    await client.publish(TOPIC, "engaged", { retain: true });
    await client.publish(TOPIC, "clear", { retain: true });
    await client.command(COFFIN, "arm");
    await client.expect(`halloween/${COFFIN}/status/warn`, /^arm refused: all-stop is engaged/);
    await client.publish(attic, "clear", { retain: true });
    await client.command(COFFIN, "arm");
    await client.expect(`halloween/${COFFIN}/state`, "armed");
  });
});

test("blocked stays blocked over a reboot, and arming doesn't undo it", async () => {
  const bench = await startCoffin();
  const { client, board } = bench;
  await jump(bench);
  const closed = board.pinTurns(VALVE, 0);
  // The valve closes first; only the state tells that it is kept.
  await client.command(COFFIN, "block");
  await closed;
  await client.expect(`halloween/${COFFIN}/state`, "blocked");
  board.tell({ reset: true });
  await client.expect(`halloween/${COFFIN}/status/availability`, "online");
  await client.command(COFFIN, "arm");
  await client.command(COFFIN, "jump");
  await client.expect(`halloween/${COFFIN}/status/warn`, /jump refused: it is blocked/);
  await client.command(COFFIN, "unblock");
  await client.expect(`halloween/${COFFIN}/state`, "armed");
  await jump(bench, 100);
});
