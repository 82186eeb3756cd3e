import { describe, expect, test } from "vitest";
import { FOGGER, fog, PUMP, startFogger } from "../harness/bench.ts";
import { startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { repeatUntil } from "../harness/repeat.ts";
import { startBoard } from "../harness/sketch.ts";

test("a flood of commands keeps no stop from it, and what it couldn't take is counted", async () => {
  const bench = await startFogger();
  const { client, board } = bench;
  const [on, off] = [board.pinTurns(PUMP, 1), board.pinTurns(PUMP, 0)];
  await fog(bench, 10_000);
  const ping = () => client.publish(`halloween/${FOGGER}/cmd`, "ping", { qos: 0 });
  const flood = Array.from({ length: 3000 }, ping);
  // A broker whose queue for the board is full drops messages: `stop` is sent until one gets through.
  const stop = () => void client.command(FOGGER, "stop");
  stop();
  flood.push(...Array.from({ length: 1000 }, ping));
  const again = setInterval(stop, 100);
  await off.finally(() => clearInterval(again));
  // The stop has ended it, and not its time.
  expect((await off).ms - (await on).ms).toBeLessThan(9_900);
  await Promise.all(flood);
  const warn = await client.expect(
    `halloween/${FOGGER}/status/warn`,
    /commands dropped|more were left out|a stop came after it/,
  );
  expect(warn).toBeDefined();
  const reply_to = "halloween/cli/reply/after";
  await repeatUntil(client, FOGGER, { action: "ping", reply_to }, reply_to);
});

test("a payload of 3,000 bytes in the middle of an action changes nothing", async () => {
  const bench = await startFogger();
  await fog(bench);
  await bench.client.publish(`halloween/${FOGGER}/cmd`, `start ${"x".repeat(3000)}`);
  await bench.client.expect(`halloween/${FOGGER}/status/warn`, /command of 3006 bytes refused: at most 1024/);
  expect(bench.board.pin(PUMP)).toBe(1);
});

describe("the panic button", () => {
  const BUTTON = 27;
  const LAMP = 26;

  test("asks for all-stop until the latch is engaged, stops the boards itself, and shows the latch", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    const board = startBoard("panic_button", { broker, inputs: { [BUTTON]: 0 } });
    await client.expect("halloween/panic_button/state", "ready");
    board.set(BUTTON, 1);
    await client.expect("halloween/worker_host/cmd", "all_stop the panic button");
    await client.expect("halloween/broadcast/cmd", "stop");
    await client.expect("halloween/worker_host/cmd", "all_stop the panic button");
    await client.publish("halloween/worker_host/status/all_stop", "engaged", { retain: true });
    await client.expect("halloween/panic_button/state", "engaged");
    await board.shows(LAMP, 1);
    const off = board.pinTurns(LAMP, 0);
    board.set(BUTTON, 0);
    await client.expect("halloween/panic_button/telemetry/pressed", "false");
    await client.publish("halloween/worker_host/status/all_stop", "clear", { retain: true });
    await off;
    await client.expect("halloween/panic_button/state", "ready");
  });

  test("takes a broken wire for pressed", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    startBoard("panic_button", { broker });
    await client.expect("halloween/worker_host/cmd", "all_stop the panic button");
    await client.expect("halloween/panic_button/state", "pressed");
  });
});
