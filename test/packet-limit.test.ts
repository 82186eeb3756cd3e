import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../worker-host/base/clock.ts";
import { Connection, type ConnectionOptions } from "../worker-host/mqtt/connection.ts";
import { ConnectGate, explainDisconnect } from "../worker-host/mqtt/mqtt-client.ts";
import { PacketLimit } from "../worker-host/mqtt/packet-limit.ts";
import type { BrokerOptions } from "../worker-host/mqtt/wire.ts";
import { TestClock } from "../worker-host/testing/test-clock.ts";
import { BROKER, startBroker, type TestBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";
import { type Frame, PacketType, startProxy } from "./harness/proxy.ts";
import { Happenings, patiently } from "./harness/wait.ts";

/** What the shipped mosquitto.conf and the embedded broker take. */
const SHIPPED_BYTES = 1_048_576;

const CAMERA = workerSource(`
  async do_shoot() { this.telemetry("taken", await this.publish("pictures/last", Buffer.alloc(1_500_000), { retain: true })); }
  async do_glance() { this.telemetry("taken", await this.publish("pictures/small", Buffer.alloc(150_000), { retain: true })); }
  do_ping(n: string) { this.telemetry("pong", n); }
`);

const isConnect = (clientId: string) => (frame: Frame) =>
  frame.type === PacketType.CONNECT && frame.clientId.includes(clientId);

async function expectPongs(client: TestClient, id: string, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    await client.command(id, `ping ${n}`);
    await client.expect(`halloween/${id}/telemetry/pong`, String(n));
  }
}

test("a message that is too large for the broker is named with its size; all else of its worker goes on", async () => {
  const broker = await startBroker({ maxPacketBytes: SHIPPED_BYTES });
  const proxy = await startProxy(broker.port);
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker: proxy, props: { "camera/backend/worker.ts": CAMERA } });
  await client.expect("halloween/camera/status/availability", "online");

  await client.command("camera", "shoot");
  const said = await client.expect("halloween/camera/status/error", /1500000 bytes/);
  expect(said).toContain("pictures/last");
  // A broker that speaks MQTT 5 announces its limit. Of another one it is learned, at the price of two connections.
  if (BROKER === "mosquitto") {
    expect(said).toMatch(/was not sent: .* the broker takes 1048576 at most$/);
    await client.expect("halloween/camera/telemetry/taken", "false");
  } else expect(said).toMatch(/is dropped: the broker cut the connection twice as it came/);

  await patiently(expectPongs(client, "camera", 11), () => "eleven answers");
  await client.command("camera", "glance");
  await client.expect("halloween/camera/telemetry/taken", "true");
  // Known by now, it costs no connection.
  const before = proxy.frames.filter(isConnect("-camera-")).length;
  await client.command("camera", "shoot");
  await client.expect("halloween/camera/status/error", /was not sent/);
  await expectPongs(client, "camera", 1);
  expect(proxy.frames.filter(isConnect("-camera-")).length).toBe(before);
  expect(before).toBeLessThanOrEqual(BROKER === "mosquitto" ? 1 : 3);
  expect((await host.logged(/pictures\/last of 1500000 bytes/)).level).toBe(50);
});

test.runIf(BROKER === "mosquitto")(
  "under a limit of 2000 bytes host and workers run, and name what does not fit: descriptions, states",
  async () => {
    const broker = await startBroker({ maxPacketBytes: 2_000 });
    const proxy = await startProxy(broker.port);
    const client = await TestClient.connect(broker.url);
    const long = workerSource(
      `static description = "fog ".repeat(1_000);
       async start() { await super.start(); this.state = "x".repeat(3_000); this.state = "armed"; }
       do_ping(n: string) { this.telemetry("pong", n); }`,
    );
    const props = Object.fromEntries(
      Array.from({ length: 20 }, (_, i) => [`quite_a_long_name_${i}/backend/worker.ts`, workerSource()]),
    );
    await startHost({ broker: proxy, props: { ...props, "long/backend/worker.ts": long } });
    await client.expect("halloween/long/status/error", /halloween\/long\/state of 3000 bytes was not sent/);
    await client.expect("halloween/long/status/error", /halloween\/long\/description of \d+ bytes was not sent/);
    await client.expect(
      "halloween/worker_host/status/error",
      /halloween\/worker_host\/description of \d+ bytes was not/,
    );
    await client.expect("halloween/long/state", "armed");
    await expectPongs(client, "long", 11);
    await client.command("worker_host", "all_stop");
    await client.expect("halloween/worker_host/status/all_stop", "engaged");
    expect(proxy.frames.filter(isConnect("-long-")).length).toBe(1);
    expect(client.texts("halloween/long/status/availability")).toEqual(["online"]);
  },
);

function connectionTo(broker: BrokerOptions, options: Partial<ConnectionOptions>): Connection {
  const connection = new Connection({
    broker,
    clientId: "old",
    log: pino({ level: "silent" }),
    clock: systemClock,
    random: Math.random,
    gate: new ConnectGate(),
    ...options,
  });
  onTestFinished(() => connection.stop());
  return connection;
}

/** A connection of MQTT 3.1.1, which has no announcements. */
async function connectOldStyle({ url }: Pick<TestBroker, "url">) {
  const refused = new Happenings<string>();
  const ups = new Happenings<number>();
  const connection = connectionTo(
    { url, protocolVersion: 4 },
    {
      onUp: () => ups.add(ups.all.length),
      onTooLarge: (topic, text) => refused.add(`${topic}: ${text}`),
    },
  );
  await connection.start();
  return { connection, refused, ups };
}

test.each([0, 1] as const)("a limit that is not announced is learned, also of a message at QoS %s", async (qos) => {
  const broker = await startBroker({ maxPacketBytes: SHIPPED_BYTES });
  const client = await TestClient.connect(broker.url);
  const { connection, refused, ups } = await connectOldStyle(broker);
  await connection.publish("halloween/old/state", "armed", { qos: 1, retain: true });
  void connection.publish("pictures/last", Buffer.alloc(1_500_000), { qos, retain: true });
  const text = await refused.find(() => true, "what is too large");
  expect(text).toMatch(/^pictures\/last: the message to pictures\/last of 1500000 bytes is dropped: .*cut .* twice/);
  await ups.find((count) => count === 2, "the third connection");
  await connection.publish("halloween/old/telemetry/after", "fits", { qos: 1 });
  await client.expect("halloween/old/telemetry/after", "fits");
  expect(connection.retained("halloween/old/state")).toBe("armed");
  expect(connection.retained("pictures/last")).toBeUndefined();
  expect(await connection.publish("pictures/last", Buffer.alloc(1_600_000))).toBe("dropped");
  expect(await connection.publish("pictures/last", "small", { qos: 1 })).not.toBe("dropped");
  expect(ups.all.length).toBe(3);
});

test.runIf(BROKER === "mosquitto")(
  "a filter that makes a larger packet than the broker takes is refused with its size; the others are heard",
  async () => {
    const broker = await startBroker({ maxPacketBytes: 2_000 });
    const proxy = await startProxy(broker.port);
    const client = await TestClient.connect(broker.url);
    const wide = workerSource(`
      async start() {
        await super.start();
        const end = await this.subscribe("x".repeat(3_000), () => {});
        await Promise.all(Array.from({ length: 60 }, (_, n) => this.subscribe("x".repeat(100) + n, () => this.telemetry("heard", n))));
        end();
      }
      do_ping(n: string) { this.telemetry("pong", n); }`);
    await startHost({ broker: proxy, props: { "wide/backend/worker.ts": wide } });
    const said = await client.expect("halloween/wide/status/error", /^the subscription/);
    expect(said).toMatch(
      /^the subscription to x{200}… of 3000 bytes was not sent: it makes a packet of 30\d\d bytes, and/,
    );
    expect(said).toMatch(/the broker takes 2000 at most$/);
    await expectPongs(client, "wide", 1);
    for (const n of [0, 59]) {
      await client.publish(`${"x".repeat(100)}${n}`, "boo");
      await client.expect("halloween/wide/telemetry/heard", String(n));
    }
    expect(proxy.frames.filter(isConnect("-wide-"))).toHaveLength(1);
  },
);

test("a limit that is not announced is learned of a subscription too", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const proxy = await startProxy(broker.port);
  proxy.decide = ({ type, bytes }) => (type === PacketType.SUBSCRIBE && bytes.length > 2_000 ? "cut-before" : "pass");
  const { connection, refused, ups } = await connectOldStyle(proxy);
  const heard = new Happenings<string>();
  const many = Array.from({ length: 60 }, (_, n) => "x".repeat(100) + n);
  for (const filter of [...many, "y".repeat(1_020)]) await connection.subscribe(filter, () => heard.add(filter));
  void connection.subscribe("x".repeat(3_000), () => {});
  const text = await refused.find(() => true, "what is too large");
  expect(text).toMatch(
    /: the subscription to x{200}… of 3000 bytes was not sent: the broker cut .* of 3000 bytes, twice$/,
  );
  await ups.find((count) => count === 1, "a connection that holds");
  for (const filter of [...many.slice(-1), "y".repeat(1_020)]) {
    await client.publish(filter, "boo");
    await heard.find((found) => found === filter, filter);
  }
  expect(proxy.frames.filter(isConnect("old"))).toHaveLength(3);
  expect(refused.all).toHaveLength(1);
});

test("where the broker's limit is known, no cut is taken for a size", () => {
  const limit = new PacketLimit(new TestClock());
  limit.connected(1_000_000);
  const description = "x".repeat(24_000);
  for (let cut = 0; cut < 3; cut++) {
    limit.sent("message", "host/description", description);
    expect(limit.cut()).toBeUndefined();
  }
  expect(limit.fault("host/description", description, { qos: 1 }, 4)).toBeUndefined();
  expect(limit.fault("host/description", "x".repeat(1_000_000), { qos: 1 }, 4)).toMatch(/takes 1000000 at most$/);
});

test("what is retained is not to blame where a connection is cut by chance", async () => {
  const broker = await startBroker({ maxPacketBytes: SHIPPED_BYTES });
  const proxy = await startProxy(broker.port);
  const { connection, refused, ups } = await connectOldStyle(proxy);
  await connection.publish("pictures/small", Buffer.alloc(150_000), { qos: 1, retain: true });
  for (let round = 1; round <= 3; round++) {
    await proxy.stop();
    await proxy.start();
    await ups.find((count) => count === round, "the next connection");
    await connection.publish("pictures/small", Buffer.alloc(150_000), { qos: 1, retain: true });
  }
  expect(refused.all).toEqual([]);
  expect(connection.retained("pictures/small")).toHaveLength(150_000);
});

test("a connection that does not hold is made again less and less often, and says so once", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  const client = await TestClient.connect(broker.url);
  const connects = new Happenings<number>();
  proxy.decide = (frame) => {
    if (isConnect("-lab-")(frame)) connects.add(performance.now());
    const isRestored = frame.type === PacketType.SUBSCRIBE && frame.clientId.includes("-lab-");
    return isRestored ? "cut-before" : "pass";
  };
  const host = await startHost({
    broker: proxy,
    dontWait: true,
    props: { "lab/backend/worker.ts": workerSource("do_ping(n: string) { this.telemetry('pong', n); }") },
  });
  const line = await host.logged(/the broker cuts it again and again/);
  expect(line).toMatchObject({ worker: "lab", level: 40 });
  await patiently(
    connects.find(() => connects.all.length === 6, "six attempts"),
    () => "six attempts",
  );
  // A tenth of a second each time would make it half a second.
  const [first = 0] = connects.all;
  expect((connects.all.at(-1) ?? 0) - first).toBeGreaterThan(1_500);
  expect(host.log.all.filter(({ msg }) => /again and again/.test(msg))).toHaveLength(1);
  proxy.decide = () => "pass";
  await client.expect("halloween/lab/status/availability", "online");
  await expectPongs(client, "lab", 1);
});

test("a password that was changed while the host runs is said in words", async () => {
  const user = { username: "haunt", password: "boo" };
  const broker = await startBroker({ user });
  const env = { MQTT_USERNAME: user.username, MQTT_PASSWORD: user.password };
  const host = await startHost({ broker, env, props: { "lab/backend/worker.ts": workerSource() } });
  await broker.stop();
  await startBroker({ user: { ...user, password: "changed" }, port: broker.port });
  const line = await host.logged(/refuses user "haunt": wrong or missing credentials; set MQTT_USERNAME/);
  expect(line.level).toBeGreaterThanOrEqual(40);
});

test("the reason that a broker of MQTT 5 gives is told in words, once", async () => {
  const connackAndDisconnect = Buffer.from([0x20, 3, 0, 0, 0, 0xe0, 2, 149, 0]);
  const server = createServer((socket) => socket.once("data", () => socket.end(connackAndDisconnect)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const told = new Happenings<{ text: string; told: string }>();
  const { port } = server.address() as AddressInfo;
  const url = `mqtt://127.0.0.1:${port}`;
  const connection = connectionTo(
    { url, protocolVersion: 5 },
    { onDown: ({ text }, when) => told.add({ text, told: when }) },
  );
  await connection.start();
  const text = `${url} ended the connection: a packet was too large for it`;
  await told.find((each) => each.told === "told before", "the second end");
  expect(told.all.slice(0, 2)).toEqual([
    { text, told: "new" },
    { text, told: "told before" },
  ]);
});

test.each([
  [139, false, "mqtt://broker ended the connection: it is shutting down"],
  [142, true, "mqtt://broker ended the connection: another client took over the session: it has the same client id"],
  [151, true, "mqtt://broker ended the connection: a quota was exceeded"],
  [199, true, "mqtt://broker ended the connection: reason code 199"],
  [
    135,
    true,
    'mqtt://broker refuses user "haunt": wrong or missing credentials; set MQTT_USERNAME and MQTT_PASSWORD to ones that it knows',
  ],
])("a DISCONNECT with the code %s is explained", (code, refused, text) => {
  const broker = { url: "mqtt://broker", username: "haunt", protocolVersion: 5 } as const;
  expect(explainDisconnect(code, broker)).toEqual({ refused, text });
});
