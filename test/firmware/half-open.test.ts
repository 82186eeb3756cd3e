import { test } from "vitest";
import { COFFIN, jump, VALVE } from "../harness/bench.ts";
import { startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { startProxy } from "../harness/proxy.ts";
import { startBoard, type Trace } from "../harness/sketch.ts";

test("half open, so that nothing arrives and nothing breaks: off by its time, then disarmed", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  const client = await TestClient.connect(broker.url);
  const board = startBoard("coffin_jumper", { broker: proxy });
  await client.expect(`halloween/${COFFIN}/status/availability`, "online");
  await client.command(COFFIN, "arm");
  await client.expect(`halloween/${COFFIN}/state`, "armed");
  const closed = board.pinTurns(VALVE, 0);
  await jump({ broker, client, board }, 1000);
  let thaw = (_: "pass") => {};
  const thawed = new Promise<"pass">((resolve) => {
    thaw = resolve;
  });
  proxy.decide = () => thawed;
  await closed;
  const noticed = ({ serial }: Trace) => /everything off: the broker is out of reach/.test(serial ?? "");
  await board.trace.next(noticed, "that the board notices", 40_000);
  await client.expect(`halloween/${COFFIN}/status/availability`, "offline");
  proxy.decide = () => "pass";
  thaw("pass");
  await client.expect(`halloween/${COFFIN}/state`, "disarmed");
});
