import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import mqtt from "mqtt";
import { expect, onTestFinished, test } from "vitest";
import { BROKER, startBroker, type TestBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { workerSource } from "../harness/folder.ts";
import { startHost } from "../harness/host.ts";

const CALM = workerSource(`
  n = 0;
  async start() { this.telemetry("pid", process.pid, { retain: true, qos: 1 }); }
  do_count() { this.telemetry("count", ++this.n); }
  do_tick() { this.n++; }
  do_flood() {
    this.every(1, () => { for (let i = 0; i < 5000; i++) this.telemetry("noise", "x".repeat(100)); });
    this.every(1, () => { for (let i = 0; i < 1000; i++) this.publish("flood/retained", "y".repeat(100) + i, { retain: true, qos: 1 }); });
  }`);

async function startCalm() {
  const broker = await startBroker();
  const filters = ["halloween/+/status/#", "halloween/+/telemetry/count", "halloween/+/telemetry/pid"];
  const client = await TestClient.connect(broker.url, filters);
  const host = await startHost({
    broker,
    props: { "calm/backend/worker.ts": CALM, "loud/backend/worker.ts": CALM },
  });
  const pid = Number(await client.expect("halloween/calm/telemetry/pid"));
  return { broker, client, host, pid };
}

/** A flood takes both cores for as long as it lasts. */
const FLOOD_PATIENCE_MS = 45_000;

/** What `commands` sends one worker arrives, all of it, and nobody was ended meanwhile. */
async function expectCalm(client: TestClient, pid: number, commands = 300): Promise<void> {
  const from = client.texts("halloween/calm/telemetry/count").length;
  for (let i = 0; i < commands; i++) await client.command("calm", "count");
  await client.expect("halloween/calm/telemetry/count", String(from + commands), FLOOD_PATIENCE_MS);
  expect(client.texts("halloween/calm/telemetry/count").length).toBe(from + commands);
  expect(client.texts("halloween/calm/telemetry/pid")).toEqual([String(pid)]);
  expect(client.texts("halloween/calm/status/error")).toEqual([]);
}

function residentMb(pid: number): number {
  const [, kilobytes = "0"] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) / 1024;
}

test("a worker that publishes in a tight loop harms nobody", async () => {
  const { client, pid } = await startCalm();
  await client.command("loud", "flood");
  await expectCalm(client, pid, 100);
  expect(residentMb(pid)).toBeLessThan(512);
  await client.command("loud", "stop");
});

test("what a broker doesn't take is dropped, counted and told; retained values come later", async () => {
  const broker = await startBroker();
  const valve = await startValve(broker.port);
  const client = await TestClient.connect(broker.url, ["halloween/+/status/#", "halloween/+/telemetry/+", "flood/#"]);
  const burst = workerSource(`
    async start() { this.telemetry("pid", process.pid, { retain: true, qos: 1 }); }
    do_ping() { this.telemetry("pong", 1); }
    async do_burst() {
      for (let i = 0; i < 300; i++) {
        for (let j = 0; j < 200; j++) this.telemetry("noise", "x".repeat(1000));
        void this.publish("flood/last", i, { retain: true, qos: 1 });
        await this.sleep(1);
      }
    }`);
  const through: TestBroker = { ...broker, port: valve.port, url: valve.url };
  await startHost({ broker: through, props: { "loud/backend/worker.ts": burst } });
  const pid = Number(await client.expect("halloween/loud/telemetry/pid"));
  valve.shut();
  await client.command("loud", "burst");
  await new Promise((resolve) => setTimeout(resolve, 2000));
  expect(residentMb(pid)).toBeLessThan(512);
  valve.open();
  const dropped = /^\d+ messages were dropped: they came faster than the broker/;
  await client.expect("halloween/loud/status/warn", dropped, FLOOD_PATIENCE_MS);
  await client.expect("flood/last", "299", FLOOD_PATIENCE_MS);
  await client.command("loud", "ping");
  await client.expect("halloween/loud/telemetry/pong");
});

for (const [perSecond, commands] of [
  [20_000, 300],
  [50_000, 20],
] as const) {
  test(`a client that sends ${perSecond} commands a second to one worker: another loses none`, async () => {
    const { broker, client, pid } = await startCalm();
    const stop = await startFlood(broker, "halloween/loud/cmd", perSecond);
    await expectCalm(client, pid, commands);
    stop();
    expect(residentMb(pid)).toBeLessThan(512);
  });
}

test("a thousand clients that come at once, and talk", async () => {
  const { broker, client, host, pid } = await startCalm();
  const clients = await Promise.all(
    Array.from({ length: 1000 }, (_, i) =>
      mqtt.connectAsync(broker.url, { protocolVersion: 4, reconnectPeriod: 0, clientId: `crowd-${i}` }),
    ),
  );
  onTestFinished(() => {
    for (const one of clients) one.end(true);
  });
  for (const [i, one] of clients.entries()) {
    one.on("error", () => {});
    one.publish(`halloween/crowd_${i}/telemetry/n`, String(i));
    one.publish(`halloween/crowd_${i}/status/availability`, "online", { qos: 1, retain: true });
  }
  await expectCalm(client, pid);
  expect(host.child.exitCode).toBe(null);
});

test("random bytes as commands: each is refused, what is too much to say is counted, and all go on", async () => {
  const { client, host, pid } = await startCalm();
  for (let i = 0; i < 5000; i++) {
    const payload = randomBytes(Math.floor(Math.random() * 64));
    const topic = ["halloween/calm/cmd", "halloween/worker_host/cmd", "halloween/broadcast/cmd"][i % 3] ?? "";
    void client.publish(topic, payload, { qos: 0 });
  }
  await client.publish("halloween/calm/cmd", randomBytes(70_000));
  await client.expect("halloween/calm/status/warn", /\d+ more were left out; the last: /);
  await client.expect("halloween/worker_host/status/warn", /\d+ more were left out; the last: /);
  await expectCalm(client, pid);
  expect(host.child.exitCode).toBe(null);
});

test("random topics under the prefix harm nobody", async () => {
  const { client, host, pid } = await startCalm();
  const words = [
    "calm",
    "status",
    "cmd",
    "availability",
    "runstate",
    "é",
    "__proto__",
    "constructor",
    "x".repeat(200),
    "$SYS",
    "",
  ];
  for (let i = 0; i < 5000; i++) {
    const topic = [
      "halloween",
      ...Array.from({ length: i % 5 }, () => words[Math.floor(Math.random() * words.length)]),
    ].join("/");
    if (/^halloween\/calm\/(cmd|telemetry)/.test(topic)) continue;
    void client.publish(topic, randomBytes(16), { qos: 0 });
  }
  await expectCalm(client, pid);
  expect(host.child.exitCode).toBe(null);
});

test.runIf(BROKER === "aedes")("random bytes at the embedded broker's port", async () => {
  const { broker, client, pid } = await startCalm();
  for (let i = 0; i < 300; i++) {
    const socket = connect(broker.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.end(randomBytes(1 + Math.floor(Math.random() * 500)));
    onTestFinished(() => {
      socket.destroy();
    });
  }
  await expectCalm(client, pid);
});

/** A way to a broker that can be shut: nothing is read from those who send through it. */
async function startValve(port: number) {
  const senders = new Set<Socket>();
  const server = createServer((sender) => {
    const broker = connect(port, "127.0.0.1");
    senders.add(sender);
    for (const socket of [sender, broker]) socket.on("error", () => {});
    sender.pipe(broker);
    broker.pipe(sender);
    sender.once("close", () => {
      senders.delete(sender);
      broker.destroy();
    });
    broker.once("close", () => sender.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const sender of senders) sender.destroy();
  });
  const at = (server.address() as AddressInfo).port;
  return {
    port: at,
    url: `mqtt://127.0.0.1:${at}`,
    shut: () => senders.forEach((sender) => void sender.pause()),
    open: () => senders.forEach((sender) => void sender.resume()),
  };
}

/** Publishes commands, as many a second as the machine can up to `perSecond`; gives what ends it. */
async function startFlood(broker: TestBroker, topic: string, perSecond: number): Promise<() => void> {
  const client = await mqtt.connectAsync(broker.url, { protocolVersion: 4, reconnectPeriod: 0 });
  client.on("error", () => {});
  let sent = 0;
  let written = 0;
  const began = performance.now();
  const timer = setInterval(() => {
    const due = ((performance.now() - began) / 1000) * perSecond;
    for (; sent < due && sent - written < 5_000; sent++) client.publish(topic, "tick", { qos: 0 }, () => written++);
  }, 2);
  const stop = () => clearInterval(timer);
  onTestFinished(() => {
    stop();
    client.end(true);
  });
  return stop;
}
