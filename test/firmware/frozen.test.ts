import { test } from "vitest";
import { COFFIN, startCoffin } from "../harness/bench.ts";

test("frozen: the broker says offline when the keepalive runs out, and the board comes back by itself", async () => {
  const { client, board } = await startCoffin();
  board.signal("SIGSTOP");
  await client.expect(`halloween/${COFFIN}/status/availability`, "offline", 40_000);
  board.signal("SIGCONT");
  await client.expect(`halloween/${COFFIN}/status/availability`, "online");
  // A watchdog that saw the freeze has reset the chip: the coffin is in `fault`.
  await client.expect(`halloween/${COFFIN}/state`, /^(disarmed|fault)$/);
});
