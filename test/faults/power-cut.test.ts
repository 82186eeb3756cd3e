import { once } from "node:events";
import { expect, test } from "vitest";
import { freePort } from "../../bench/ports.mjs";
import { BROKER, startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { makeFolder, workerSource } from "../harness/folder.ts";
import { startHost } from "../harness/host.ts";

const TOPIC = "halloween/worker_host/status/all_stop";
const FOGGER = workerSource("do_fire() { this.telemetry('fog', 'on'); } do_ping() { this.telemetry('pong', 1); }");

test.runIf(BROKER === "mosquitto")("broker and host lose their power together: nothing moves after it", async () => {
  const broker = await startBroker({ persistent: true });
  const props = { "fogger/backend/worker.ts": FOGGER };
  const host = await startHost({ broker, props });
  const client = await TestClient.connect(broker.url);
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
  await broker.stop();

  await broker.start();
  const after = await TestClient.connect(broker.url);
  await startHost({ broker, cwd: host.cwd, props });
  await after.expect(TOPIC, "engaged");
  await after.expect("halloween/fogger/status/warn", /retained command refused: "fire"/);
  await after.command("fogger", "ping");
  await after.expect("halloween/fogger/status/warn", /"ping" refused: all-stop is engaged/);
  await after.command("worker_host", "all_clear");
  await after.expect(TOPIC, "clear");
  await after.command("fogger", "ping");
  await after.expect("halloween/fogger/telemetry/pong");
  expect(after.texts("halloween/fogger/telemetry/fog")).toEqual([]);
});

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
