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
      const refused = client.expectNext(
        `halloween/${COFFIN}/status/warn`,
        new RegExp(`^${action} refused: all-stop is engaged`),
      );
      await client.command(COFFIN, action);
      await refused;
    }
    const pong = client.expectNext(`halloween/${COFFIN}/telemetry/pong`);
    await client.command(COFFIN, "ping");
    await pong;
    await client.publish(TOPIC, "clear", { retain: true });
    const refused = client.expectNext(`halloween/${COFFIN}/status/warn`, /^jump refused: it is disarmed/);
    await client.command(COFFIN, "jump");
    await refused;
    expect(board.pin(VALVE)).toBe(0);
  });

  test("holds over a reboot of the board", async () => {
    const bench = await startCoffin();
    const { client, board } = bench;
    await client.publish(TOPIC, "engaged", { retain: true });
    await client.expect(`halloween/${COFFIN}/state`, "disarmed");
    const online = client.expectNext(`halloween/${COFFIN}/status/availability`, "online");
    board.tell({ reset: true });
    await online;
    const refused = client.expectNext(`halloween/${COFFIN}/status/warn`, /^arm refused: all-stop is engaged/);
    await client.command(COFFIN, "arm");
    await refused;
  });

  test("of several hosts: each has to clear its own", async () => {
    const { client } = await startCoffin();
    const attic = "halloween/attic/status/all_stop";
    await client.publish(attic, "engaged", { retain: true });
    await client.publish(TOPIC, "engaged", { retain: true });
    await client.publish(TOPIC, "clear", { retain: true });
    const refused = client.expectNext(`halloween/${COFFIN}/status/warn`, /^arm refused: all-stop is engaged/);
    await client.command(COFFIN, "arm");
    await refused;
    await client.publish(attic, "clear", { retain: true });
    const armed = client.expectNext(`halloween/${COFFIN}/state`, "armed");
    await client.command(COFFIN, "arm");
    await armed;
  });
});

test("blocked stays blocked over a reboot, and arming doesn't undo it", async () => {
  const bench = await startCoffin();
  const { client, board } = bench;
  await jump(bench);
  const closed = board.pinTurns(VALVE, 0);
  // The valve closes first; only the state tells that it is kept.
  const blocked = client.expectNext(`halloween/${COFFIN}/state`, "blocked");
  await client.command(COFFIN, "block");
  await closed;
  await blocked;
  const online = client.expectNext(`halloween/${COFFIN}/status/availability`, "online");
  board.tell({ reset: true });
  await online;
  await client.command(COFFIN, "arm");
  await client.command(COFFIN, "jump");
  await client.expect(`halloween/${COFFIN}/status/warn`, /jump refused: it is blocked/);
  const armed = client.expectNext(`halloween/${COFFIN}/state`, "armed");
  await client.command(COFFIN, "unblock");
  await armed;
  await jump(bench, 100);
});
