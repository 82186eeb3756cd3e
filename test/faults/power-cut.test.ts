import { once } from "node:events";
import mqtt from "mqtt";
import { expect, onTestFinished, test } from "vitest";
import { freePort } from "../../bench/ports.mjs";
import { BROKER, startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { makeFolder, workerSource } from "../harness/folder.ts";
import { startHost } from "../harness/host.ts";

const TOPIC = "halloween/worker_host/status/all_stop";
const FOGGER = workerSource("do_fire() { this.telemetry('fog', 'on'); } do_ping() { this.telemetry('pong', 1); }");

/** A board: it says that it is online, and has the broker say when it isn't. */
async function startBoard(url: string): Promise<mqtt.MqttClient> {
  const topic = "halloween/fogger_hw/status/availability";
  const board = await mqtt.connectAsync(url, {
    protocolVersion: 4,
    reconnectPeriod: 0,
    will: { topic, payload: Buffer.from("offline"), qos: 1, retain: true },
  });
  board.on("error", () => {});
  onTestFinished(() => {
    board.end(true);
  });
  await board.publishAsync(topic, "online", { qos: 1, retain: true });
  return board;
}

test.runIf(BROKER === "mosquitto")(
  "broker, host and board lose their power together: nothing moves after it, and nobody is online who isn't",
  async () => {
    const broker = await startBroker({ persistent: true });
    const props = { "fogger/backend/worker.ts": FOGGER };
    const host = await startHost({ broker, props });
    const client = await TestClient.connect(broker.url);
    const board = await startBoard(broker.url);
    await client.expect("halloween/fogger_hw/status/availability", "online");
    await client.command("worker_host", { action: "all_stop", reply_to: "halloween/cli/reply/stopped" });
    await client.expect(TOPIC, "engaged");
    // It is told before it is written; the answer says that it is.
    expect(JSON.parse(await client.expect("halloween/cli/reply/stopped")).result).not.toHaveProperty("unsaved");

    host.child.kill("SIGKILL");
    await host.exit;
    // What the broker saved is older than that, and it has a command that somebody sent with the retain flag.
    await client.publish(TOPIC, "clear", { retain: true });
    await client.publish("halloween/fogger/cmd", "fire", { retain: true });
    await client.barrier();
    // It had no time to tell of anybody.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await broker.stop();
    board.end(true);

    await broker.start();
    const after = await TestClient.connect(broker.url);
    await after.expect("halloween/fogger_hw/status/availability", "online");
    await startHost({ broker, cwd: host.cwd, props });
    await after.expect(TOPIC, "engaged");
    await after.expect("halloween/fogger/status/warn", /retained command refused: "fire"/);
    await after.command("fogger", "ping");
    await after.expect("halloween/fogger/status/warn", /"ping" refused: all-stop is engaged/);
    // 30 s until the board is asked, 30 s until it is judged.
    await after.expect("halloween/fogger_hw/status/availability", "offline", 90_000);
    await after.command("worker_host", "all_clear");
    await after.expect(TOPIC, "clear");
    await after.command("fogger", "ping");
    await after.expect("halloween/fogger/telemetry/pong");
    expect(after.texts("halloween/fogger/telemetry/fog")).toEqual([]);
  },
  150_000,
);

test.runIf(BROKER === "aedes")("the embedded broker forgets what was retained, and the host doesn't", async () => {
  const port = String(await freePort());
  const cwd = makeFolder({ "props/fogger/backend/worker.ts": FOGGER });
  const args = ["--broker-port", port];
  const host = await startHost({ cwd, args });
  const url = `mqtt://127.0.0.1:${port}`;
  const client = await TestClient.connect(url);
  await client.command("worker_host", { action: "all_stop", reply_to: "halloween/cli/reply/stopped" });
  await client.expect(TOPIC, "engaged");
  const locking = { action: "lock_out", args: "fogger the hose leaks", reply_to: "halloween/cli/reply/locked" };
  await client.command("worker_host", locking);
  await client.expect("halloween/fogger/status/lock_out");
  // They are told before they are written; the answers say that they are.
  for (const answer of ["stopped", "locked"]) {
    const reply = JSON.parse(await client.expect(`halloween/cli/reply/${answer}`));
    expect(reply).toMatchObject({ status: "ok" });
    expect(reply.result).not.toHaveProperty("unsaved");
  }
  host.child.kill("SIGKILL");
  await once(host.child, "close");

  await startHost({ cwd, args });
  const after = await TestClient.connect(url);
  await after.expect(TOPIC, "engaged");
  await after.expect("halloween/fogger/status/lock_out", "the hose leaks");
  await after.command("worker_host", "all_clear");
  await after.expect(TOPIC, "clear");
  await after.command("fogger", "fire");
  await after.expect("halloween/fogger/status/warn", /"fire" refused: it is locked out/);
});
