import { join } from "node:path";
import mqtt from "mqtt";
import { expect, onTestFinished, test } from "vitest";
import { access, makeAccess, startGuardedBroker } from "../harness/access.ts";
import { BROKER } from "../harness/broker.ts";
import { startBoard } from "../harness/sketch.ts";
import { Happenings } from "../harness/wait.ts";

test.runIf(BROKER === "mosquitto")("a board with a user of its own, over TLS, where access rules hold", async () => {
  const { cwd, passwords } = await makeAccess();
  await access(cwd, "tls");
  const { port, tlsPort } = await startGuardedBroker(cwd);
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    username: "worker_host",
    password: passwords.get("worker_host") ?? "",
  });
  onTestFinished(() => {
    client.end(true);
  });
  const seen = new Happenings<string>();
  client.on("message", (topic, payload) => seen.add(`${topic} ${payload}`));
  await client.subscribeAsync("halloween/#");
  const start = (ca: string) =>
    startBoard("fogger", {
      broker: { port },
      inputs: { 27: 0 },
      env: {
        MQTT_URL: `mqtts://localhost:${tlsPort}`,
        MQTT_CA: ca,
        MQTT_USERNAME: "fogger_hw",
        MQTT_PASSWORD: passwords.get("fogger_hw") ?? "",
      },
    });
  const board = start(join(cwd, "access/ca.crt"));
  await seen.find((line) => line === "halloween/fogger_hw/status/availability online", "online over TLS");
  await seen.find((line) => line === "halloween/fogger_hw/state idle", "warm");
  await client.publishAsync("halloween/fogger_hw/cmd", "start 200");
  await seen.find((line) => line === "halloween/fogger_hw/state fogging", "fogging");
  await client.publishAsync("halloween/worker_host/status/all_stop", "engaged", { qos: 1, retain: true });
  await board.says(/everything off: all-stop/);
  const pong = seen.next((line) => line.startsWith("halloween/cli/reply/1 "), "the reply");
  await client.publishAsync("halloween/fogger_hw/cmd", '{"action":"ping","reply_to":"halloween/cli/reply/1"}');
  expect(await pong).toMatch(/"pong"/);
});
