import { expect, test } from "vitest";
import { FOGGER, fog, PUMP, startFogger } from "../harness/bench.ts";

test("and stays off when it was on for too long of late; prolonging it is no way round", async () => {
  const bench = await startFogger();
  const { client, board } = bench;
  const begun = board.pinTurns(PUMP, 1);
  const ended = board.pinTurns(PUMP, 0);
  // One after the other, so that it is never off.
  const again = setInterval(() => void client.command(FOGGER, "start 4000"), 200);
  await ended.finally(() => clearInterval(again));
  const onMs = (await ended).ms - (await begun).ms;
  // The limit of 10 s ended it, not the next one, which is 30 s.
  expect(onMs).toBeGreaterThanOrEqual(9_900);
  expect(onMs).toBeLessThan(25_000);
  expect(client.texts(`halloween/${FOGGER}/status/error`)).toEqual([]);
  for (const _ of [1, 2]) {
    await fog(bench, 10_000);
    await board.pinTurns(PUMP, 0);
  }
  await client.command(FOGGER, "start 10000");
  await client.expect(`halloween/${FOGGER}/status/warn`, /start refused: it was on for too long of late/);
});
