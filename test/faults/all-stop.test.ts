import mqtt from "mqtt";
import { expect, onTestFinished, test } from "vitest";
import { startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { workerSource } from "../harness/folder.ts";
import { startHost } from "../harness/host.ts";
import { repeatUntil } from "../harness/repeat.ts";

const TOPIC = "halloween/worker_host/status/all_stop";
const MOVING = `
  n = 0;
  do_count() { this.n++; }
  async do_fire() { await this.hold(60_000, () => this.telemetry("fog", "on"), () => this.telemetry("fog", "off")); }
  do_stop() { this.telemetry("stopped", this.n); }
  onAllStop() { this.telemetry("told", this.n); }
`;

test("all-stop while a worker hangs: the others stop at once, the process is ended, and all come up idle", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await startHost({
    broker,
    props: {
      "apart/backend/worker.ts": workerSource(MOVING),
      "apart/backend/config.yaml": "worker: { isolation: own }",
      "beside/backend/worker.ts": workerSource(MOVING),
      "hung/backend/worker.ts": workerSource(
        "do_hang() { this.telemetry('here', 1); setTimeout(() => { for (;;); }, 20); }",
      ),
    },
    env: { WORKER_STALL_KILL_MS: "60000" },
  });
  for (const id of ["apart", "beside"]) {
    await client.command(id, "fire");
    await client.expect(`halloween/${id}/telemetry/fog`, "on");
  }
  await client.command("hung", "hang");
  await client.expect("halloween/hung/telemetry/here");
  // It hangs when the host says so.
  await client.expect("halloween/worker_host/status/warn", /held up for \d+ ms; last entered was hung/);

  await client.command("worker_host", "all_stop");
  await client.expect("halloween/apart/telemetry/fog", "off");
  await client.expect(
    "halloween/hung/status/error",
    /hung held up all-stop in do_hang: its process did not answer in 250 ms/,
  );
  // What the hung process's workers had switched on goes off before they are back.
  await client.expect("halloween/beside/telemetry/stopped");
  await client.expect("halloween/beside/telemetry/told");
  for (const text of ["offline", "online"]) await client.expect("halloween/beside/status/availability", text);
  await client.command("beside", "fire");
  await client.expect("halloween/beside/status/warn", /"fire" refused: all-stop is engaged/);
  const topics = client.seen.all.map(({ topic, text }) => `${topic} ${text}`);
  expect(topics.indexOf("halloween/apart/telemetry/fog off")).toBeLessThan(
    topics.indexOf("halloween/beside/status/availability offline"),
  );
});

for (const qos of [0, 1] as const) {
  test(`all-stop while 20,000 messages a second arrive at QoS ${qos}: all are told, the flooded worker too`, async ({
    annotate,
  }) => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url, [
      ...["halloween/+/telemetry/#", "halloween/+/status/#", "halloween/cli/reply/#"],
    ]);
    const ids = ["calm1", "calm2", "flooded"];
    const props = Object.fromEntries(ids.map((id) => [`${id}/backend/worker.ts`, workerSource(MOVING)]));
    await startHost({ broker, props });
    const flood = await startFlood(broker.url, "halloween/flooded/cmd", qos);
    const counted = () => Number(client.texts("halloween/flooded/telemetry/stopped").at(-1) ?? 0);
    while (counted() < 1000) await stopped(client, "flooded");
    const began = performance.now();
    await client.command("worker_host", "all_stop");
    await Promise.all(ids.map((id) => client.expect(`halloween/${id}/telemetry/told`)));
    const ms = Math.round(performance.now() - began);
    await client.expect(TOPIC, "engaged");
    const sent = flood.stop();
    await annotate(`${sent.perSecond} messages a second at QoS ${qos}: the last worker was told after ${ms} ms`);
    // From then on none of the flood was run.
    const told = Number(client.texts("halloween/flooded/telemetry/told").at(-1));
    const reply_to = "halloween/cli/reply/stop";
    await repeatUntil(client, "flooded", { action: "stop", reply_to }, reply_to, /"ok"/);
    await client.barrier();
    expect(Number(client.texts("halloween/flooded/telemetry/stopped").at(-1))).toBe(told);
    for (const id of ids) expect(client.texts(`halloween/${id}/status/availability`)).toEqual(["online"]);
  });
}

/** What the worker says to `stop`, which is sent until it gets through: a broker drops what a flooded client's queue has no room for. */
function stopped(client: TestClient, id: string): Promise<string> {
  return repeatUntil(client, id, "stop", `halloween/${id}/telemetry/stopped`);
}

/** Publishes 20,000 commands a second, as far as the machine can. */
async function startFlood(url: string, topic: string, qos: 0 | 1) {
  const client = await mqtt.connectAsync(url, { protocolVersion: 4, reconnectPeriod: 0 });
  client.on("error", () => {});
  let sent = 0;
  let acknowledged = 0;
  const began = performance.now();
  const timer = setInterval(() => {
    const due = ((performance.now() - began) / 1000) * 20_000;
    for (; sent < due && sent - acknowledged < 2_000; sent++)
      client.publish(topic, "count", { qos }, () => acknowledged++);
  }, 5);
  const stop = () => {
    clearInterval(timer);
    return { perSecond: Math.round(sent / ((performance.now() - began) / 1000)) };
  };
  onTestFinished(() => {
    stop();
    client.end(true);
  });
  return { stop };
}
