import { expect, test } from "vitest";
import { startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { startBoard } from "../harness/sketch.ts";

/** The sketch that docs/firmware.md goes through. */
const ID = "strobe_hw";
const LAMP = 26;

async function start() {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const board = startBoard("strobe", { broker });
  await client.expect(`halloween/${ID}/status/availability`, "online");
  const flashes = () => board.trace.all.filter(({ pin, value }) => pin === LAMP && value === 1);
  return { client, board, flashes };
}

test("it flashes as often as it was told, and then no more", async () => {
  const { client, board, flashes } = await start();
  await client.command(ID, "flash 1s 5");
  for (const state of ["flashing", "idle"]) await client.expect(`halloween/${ID}/state`, state);
  // At 0, 200, 400, 600 and 800 ms; fewer where the loop is late.
  expect(flashes().length).toBeGreaterThan(1);
  expect(flashes().length).toBeLessThanOrEqual(5);
  expect(board.pin(LAMP)).toBe(0);
});

test("stop ends it, and a second one while it flashes is refused", async () => {
  const { client, board, flashes } = await start();
  await client.command(ID, "flash 10s 8");
  await client.expect(`halloween/${ID}/state`, "flashing");
  await client.command(ID, "flash");
  await client.expect(`halloween/${ID}/status/warn`, "flash refused: it flashes already");
  await client.command(ID, "stop");
  await client.expect(`halloween/${ID}/state`, "idle");
  const count = flashes().length;
  expect(board.pin(LAMP)).toBe(0);
  await client.command(ID, "flash 100 9");
  await client.expect(`halloween/${ID}/status/warn`, /hz: expected a number from 1 to 8/);
  expect(flashes()).toHaveLength(count);
});
