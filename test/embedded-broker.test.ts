import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import mqtt from "mqtt";
import { pino } from "pino";
import { expect, onTestFinished, test, vi } from "vitest";
import { systemClock } from "../worker-host/base/clock.ts";
import { EmbeddedBroker } from "../worker-host/host/broker/broker.ts";
import { ConnectionLimit, PasswordGuard } from "../worker-host/host/broker/broker-limits.ts";
import { RetainedMessages } from "../worker-host/host/broker/broker-memory.ts";
import { TestClock } from "../worker-host/testing/test-clock.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { BIN, startHost } from "./harness/host.ts";
import { connectPacket, packet, RawClient, subscribePacket, text } from "./harness/raw-client.ts";

const CALM = workerSource(`
  async start() { this.telemetry("pid", process.pid, { retain: true, qos: 1 }); }
  pongs = 0;
  do_ping() { this.telemetry("pong", ++this.pongs); }
  async do_fire() {
    await this.hold(60_000, () => this.telemetry("fog", "on"), () => this.telemetry("fog", "off"));
  }`);

const FILTERS = ["halloween/calm/telemetry/+", "halloween/calm/status/+", "halloween/broadcast/cmd"];

async function startCalm() {
  const host = await startHost({ props: { "calm/backend/worker.ts": CALM } });
  const port = await host.port();
  const url = await host.url();
  const client = await TestClient.connect(url, FILTERS);
  return { host, port, url, client };
}

/** More than the kernel keeps for a client that doesn't read. */
const FLOOD = 16_000;

async function flood(client: TestClient, qos: 0 | 1, count = FLOOD): Promise<void> {
  const payload = "x".repeat(1000);
  for (let sent = 0; sent < count; sent += 500) {
    await Promise.all(
      Array.from({ length: 500 }, () => client.publish("halloween/loud/telemetry/noise", payload, { qos })),
    );
  }
}

for (const qos of [0, 1] as const) {
  test(`a client that stops reading, at QoS ${qos}, holds up nothing: commands and all-stop arrive at once`, async () => {
    const { host, port, url, client } = await startCalm();
    const loud = await TestClient.connect(url, []);
    const stalled = await RawClient.connect(port, { id: "stalled" });
    await stalled.subscribe(["halloween/#"], qos);
    stalled.stopReading();

    await client.command("calm", "fire");
    await client.expect("halloween/calm/telemetry/fog", "on");
    const flooded = flood(loud, qos);
    for (let i = 0; i < 100; i++) await client.command("calm", "ping");
    for (let i = 1; i <= 100; i++) await client.expect("halloween/calm/telemetry/pong", String(i));
    await flooded;
    const since = performance.now();
    await client.command("worker_host", "all_stop");
    await client.expect("halloween/broadcast/cmd", /"stop"/);
    const heard = performance.now() - since;
    await client.expect("halloween/calm/telemetry/fog", "off");
    const obeyed = performance.now() - since;
    // Both take some 20 ms; with the stalled client in the way they took more than 10 s.
    expect(heard).toBeLessThan(2000);
    expect(obeyed).toBeLessThan(2000);
    await host.logged(/^the client "stalled" at 127\.0\.0\.1 was disconnected: .*unread/);
    expect(host.log.all.filter(({ msg }) => /"stalled"/.test(msg))).toHaveLength(1);
  });
}

test("four clients that flood the host at QoS 1 are slowed down: the host stays connected, and hears all-stop", async () => {
  const { host, port, client } = await startCalm();
  const availability = "halloween/worker_host/status/availability";
  await client.subscribe(availability);
  await client.expect(availability, "online");
  await client.command("calm", "fire");
  await client.expect("halloween/calm/telemetry/fog", "on");
  const noise = packet(0x32, [
    text("halloween/worker_host/cmd"),
    Buffer.from([0, 1]),
    Buffer.from("noise".repeat(100)),
  ]);
  const chunk = Buffer.concat(Array.from({ length: 200 }, () => noise));
  const flooders = await Promise.all([0, 1, 2, 3].map((i) => RawClient.connect(port, { id: `flooder${i}` })));
  for (const { socket } of flooders) {
    const send = () => {
      while (socket.write(chunk));
    };
    socket.on("drain", send);
    send();
  }
  // The host tells of them once a second.
  let told = 0;
  const isFourth = ({ msg }: { msg: string }) => /more were left out; .*"noise/.test(msg) && ++told === 4;
  await host.log.find(isFourth, "the fourth line about the flood");
  await client.command("worker_host", "all_stop");
  await client.expect("halloween/calm/telemetry/fog", "off");
  for (const { socket } of flooders) socket.destroy();
  expect(client.texts(availability)).toEqual(["online"]);
  expect(host.log.all.filter(({ msg }) => /was disconnected/.test(msg))).toEqual([]);
});

test("a client that never acknowledges, and is away, gets nothing later: the broker keeps no queue", async () => {
  const { host, port, url, client } = await startCalm();
  const loud = await TestClient.connect(url, []);
  const lasting = { id: "lasting", clean: false };
  const first = await RawClient.connect(port, lasting);
  await first.subscribe(["halloween/loud/#"], 1);
  await flood(loud, 1, 1000);
  first.socket.destroy();
  await first.closed;
  await flood(loud, 1, 1000);

  const second = await RawClient.connect(port, lasting);
  await client.barrier();
  // CONNACK, accepted, with no session.
  expect([...second.received]).toEqual([0x20, 2, 0, 0]);
  await host.logged(/^the client "lasting" at 127\.0\.0\.1 asks for a lasting session: the embedded broker keeps none/);
});

test("with 256 descriptors and 400 silent sockets: all-stop is written, and a dead worker comes back", async () => {
  const host = await startHost({
    props: { "calm/backend/worker.ts": CALM },
    command: ["sh", "-c", `ulimit -n 256; exec "$@"`, "sh", process.execPath, BIN],
  });
  const client = await TestClient.connect(await host.url(), FILTERS);
  const port = await host.port();
  const first = Number(await client.expect("halloween/calm/telemetry/pid"));

  await Promise.all(Array.from({ length: 400 }, () => RawClient.open(port)));
  await host.logged(/^\d+ connections are open, .* that had sent no CONNECT was closed to make room/);
  process.kill(first, "SIGKILL");
  await client.expect("halloween/calm/telemetry/pid", new RegExp(`^(?!${first}$)`));
  const reply_to = "halloween/cli/reply/stopped";
  await client.subscribe(reply_to);
  await client.command("worker_host", { action: "all_stop", reply_to });
  await client.expect("halloween/broadcast/cmd", /"stop"/);
  // The answer says where it is not written.
  expect(JSON.parse(await client.expect(reply_to)).result).not.toHaveProperty("unsaved");
  expect(JSON.parse(readFileSync(join(host.cwd, "data/all_stop.json"), "utf8"))).toMatchObject({ engaged: true });
  expect(host.log.all.filter(({ msg }) => /connections are open/.test(msg)).length).toBeLessThan(5);
  expect(host.log.all.filter(({ level }) => level >= 60)).toEqual([]);
});

test("when strangers have all places: a dead worker comes back, and all-stop is heard and told", async () => {
  const host = await startHost({
    props: { "calm/backend/worker.ts": CALM },
    command: ["sh", "-c", `ulimit -n 256; exec "$@"`, "sh", process.execPath, BIN],
  });
  const client = await TestClient.connect(await host.url(), FILTERS);
  const port = await host.port();
  const first = Number(await client.expect("halloween/calm/telemetry/pid"));

  let [strangers, refused, over] = [0, 0, false];
  const fill = async () => {
    while (!over) {
      try {
        await RawClient.connect(port, { id: `stranger${strangers + refused}` });
        strangers++;
      } catch {
        refused++;
      }
    }
  };
  const filled = fill();
  await vi.waitUntil(() => refused > 0, { timeout: 20_000 });
  expect(strangers).toBeGreaterThan(100);
  process.kill(first, "SIGKILL");
  await client.expect("halloween/calm/telemetry/pid", new RegExp(`^(?!${first}$)`));
  await client.command("worker_host", "all_stop");
  await client.expect("halloween/broadcast/cmd", /"stop"/);
  over = true;
  await filled;
  expect(host.log.all.filter(({ level }) => level >= 60)).toEqual([]);
});

test("a socket that has sent no whole CONNECT after 5 s is closed, and one of more than 64 KiB at once", async () => {
  const { host, port } = await startCalm();
  const silent = await RawClient.open(port);
  const half = await RawClient.open(port);
  half.socket.write(connectPacket({ willBytes: 10_000 }).subarray(0, 5000));
  const big = await RawClient.open(port);
  big.socket.write(connectPacket({ willBytes: 65_530 }).subarray(0, 100));
  await big.closed;
  await host.logged(/^a client at 127\.0\.0\.1 was disconnected: it sent 65\d+ bytes in one packet/);
  await Promise.all([silent.closed, half.closed]);
  await host.logged(/^a client at 127\.0\.0\.1 was disconnected: it sent no CONNECT within 5 s$/);
});

/** An embedded broker in this process, with a clock of its own, and what it logs at warn. */
async function startOwn(
  options: { credentials?: { username: string; password: string }; maxConnections?: number } = {},
) {
  const warned: string[] = [];
  const write = (line: string) => void warned.push((JSON.parse(line) as { msg: string }).msg);
  const clock = new TestClock();
  const log = pino({ level: "warn" }, { write });
  const broker = await EmbeddedBroker.start({ port: 0, lan: false, maxConnections: 100, log, clock, ...options });
  onTestFinished(() => broker.stop());
  return { broker, port: broker.port, url: broker.options.url, clock, warned };
}

test("wrong passwords are logged with their address: the first at once, then their number", async () => {
  const credentials = { username: "haunt", password: "boo" };
  const { url, clock, warned } = await startOwn({ credentials });
  const guess = (password: string) => TestClient.connect(url, [], { ...credentials, password, clientId: "guesser" });
  for (let i = 0; i < 5; i++) await expect(guess(`guess ${i}`)).rejects.toThrow(/Not authorized/);
  const line = 'the client "guesser" at 127.0.0.1 was refused: wrong user name or password';
  expect(warned).toEqual([line]);
  await clock.advance(10_000);
  expect(warned).toEqual([line, `${line} (4 more such in the last 10 s)`]);
  await TestClient.connect(url, [], credentials);
  await clock.advance(20_000);
  expect(warned).toHaveLength(2);
});

test("after a wrong password, the next of that address is looked at a second later, one by one", () => {
  const due: (() => void)[] = [];
  const clock = {
    ...systemClock,
    after: (ms: number, callback: () => void) => {
      expect(ms).toBe(1000);
      due.push(callback);
      return () => {};
    },
  };
  const guard = new PasswordGuard(clock);
  const looked: string[] = [];
  const take = (address: string, name: string, right: boolean) =>
    guard.take(address, () => {
      looked.push(name);
      return right;
    });
  expect(take("10.0.0.7", "first", false)).toBe(true);
  for (const name of ["second", "third"]) expect(take("10.0.0.7", name, false)).toBe(true);
  for (const name of ["right", "too"]) expect(take("10.0.0.7", name, true)).toBe(true);
  expect(take("10.0.0.8", "another", true)).toBe(true);
  expect(looked).toEqual(["first", "another"]);
  due.shift()?.();
  expect(looked).toEqual(["first", "another", "second"]);
  due.shift()?.();
  due.shift()?.();
  // Those with the right one wait for no second more.
  expect(looked).toEqual(["first", "another", "second", "third", "right", "too"]);
  expect(due).toEqual([]);
  expect(take("10.0.0.7", "later", false)).toBe(true);
  expect(looked.at(-1)).toBe("later");
  // So many of one address may wait, and the rest are turned away unseen.
  const taken = Array.from({ length: 30 }, (_, at) => take("10.0.0.7", `flood ${at}`, true));
  expect(taken.filter(Boolean)).toHaveLength(20);
  due.shift()?.();
  expect(looked.filter((name) => name.startsWith("flood"))).toHaveLength(20);
});

test("who guesses on this machine holds up none of its own, and may leave while waiting", async () => {
  const credentials = { username: "haunt", password: "boo" };
  const { port, url, clock, warned } = await startOwn({ credentials });
  const guess = () => TestClient.connect(url, [], { ...credentials, password: "guess", clientId: "guesser" });
  const guesses = Array.from({ length: 30 }, () => guess().catch((error: Error) => error.message));
  await vi.waitFor(() => expect(warned).toHaveLength(1), { timeout: 10_000 });
  await TestClient.connect(url, [], credentials);
  const leaving = await RawClient.open(port);
  leaving.socket.end(connectPacket());
  await clock.advance(30_000);
  expect(await Promise.all(guesses)).toEqual(guesses.map(() => expect.stringMatching(/Not authorized/)));
  await leaving.closed;
  expect(warned.filter((line) => !line.includes("at 127.0.0.1 was refused: "))).toEqual([]);
  await TestClient.connect(url, [], credentials);
});

test("when all places are taken by clients, a new one is refused, and comes in when one has left", async () => {
  const { port, warned } = await startOwn({ maxConnections: 3 });
  const clients = await Promise.all([0, 1, 2].map((i) => RawClient.connect(port, { id: `c${i}` })));
  await expect(RawClient.connect(port, { id: "late" })).rejects.toThrow();
  expect(warned).toEqual([
    expect.stringMatching(/^a connection from 127\.0\.0\.1 was refused: 3 connections are open/),
  ]);
  clients[0]?.socket.destroy();
  await vi.waitFor(() => RawClient.connect(port, { id: "late" }), { timeout: 10_000 });
});

test("for the host and its workers there is a place as long as strangers have any: the newest makes room", async () => {
  const { port, broker, warned } = await startOwn({ maxConnections: 3 });
  const { url, username = "", password = "" } = broker.ownOptions;
  const own = (clientId: string) => TestClient.connect(url, [], { username, password, clientId });
  const strangers = await Promise.all([0, 1].map((i) => RawClient.connect(port, { id: `c${i}` })));
  const newest = await RawClient.connect(port, { id: "newest" });
  await own("worker1");
  await newest.closed;
  await Promise.all([own("worker2"), own("worker3")]);
  await Promise.all(strangers.map(({ closed }) => closed));
  await expect(own("worker4")).rejects.toThrow(/unavailable/);
  const full = "3 connections are open, the most for this limit of open files (ulimit -n)";
  expect(warned).toEqual([
    `${full}: the newest, from 127.0.0.1, was closed to make room for a worker`,
    `a connection from 127.0.0.1 was refused: ${full}`,
  ]);
});

test("only the password of this start makes a client the host's own", async () => {
  const { url } = await startOwn({ credentials: { username: "haunt", password: "boo" } });
  const guess = TestClient.connect(url, [], { username: "worker_host", password: "boo" });
  await expect(guess).rejects.toThrow(/Not authorized/);
});

test("another machine gets half of the places, and its connections count until they are closed", async () => {
  const refused: string[] = [];
  const limit = new ConnectionLimit(4, (_key, text) => void refused.push(text));
  // A socket that isn't connected has no address, and so none of this machine.
  const [first, second, third, fourth] = Array.from({ length: 4 }, () => new Socket()) as [
    Socket,
    Socket,
    Socket,
    Socket,
  ];
  expect([first, second, third].map((socket) => limit.admit(socket))).toEqual([true, true, false]);
  expect(refused).toEqual([
    "a connection from an unknown address was refused: an unknown address has 2 connections open",
  ]);
  first.destroy();
  await once(first, "close");
  expect(limit.admit(fourth)).toBe(true);
  limit.destroyAll();
});

test("a client has at most 5,000 filters, each of at most 1,024 characters", async () => {
  const { port, warned } = await startOwn();
  const client = await RawClient.connect(port);
  const filters = Array.from({ length: 5000 }, (_, i) => `many/${i}`);
  for (let at = 0; at < 5000; at += 100) {
    expect(await client.subscribe(filters.slice(at, at + 100))).toEqual(Array.from({ length: 100 }, () => 0));
  }
  expect(await client.subscribe(["many/more", "many/0"])).toEqual([128, 0]);
  const other = await RawClient.connect(port, { id: "other" });
  expect(await other.subscribe(["x".repeat(1025), "x".repeat(1024)])).toEqual([128, 0]);
  expect(warned).toEqual([
    'a subscription of the client "raw" at 127.0.0.1 was refused: it has 5000 filters, the most that a client may have; use "+" and "#"',
  ]);
});

test("a client that falls behind loses messages at QoS 0, is told of in the log, and stays", async () => {
  const { port, url, warned } = await startOwn();
  const slow = await RawClient.connect(port, { id: "slow" });
  await slow.subscribe(["big/#"]);
  const loud = await TestClient.connect(url, []);
  slow.stopReading();
  for (let i = 0; i < 16; i++) await loud.publish("big/message", Buffer.alloc(1_000_000), { qos: 0 });
  await loud.barrier();
  slow.socket.resume();
  await vi.waitFor(() => expect(warned).toHaveLength(1), { timeout: 10_000 });
  expect(warned[0]).toMatch(/^the client "slow" at 127\.0\.0\.1 reads too slowly: \d+ messages at QoS 0 were dropped$/);
  expect(await slow.subscribe(["still/here"])).toEqual([0]);
});

test("the host's own connection, in this process, is not cut for its pace, as a socket is", async () => {
  const { port, url, broker, warned } = await startOwn();
  const { username = "", password = "" } = broker.ownOptions;
  const { open } = broker;
  if (!open) throw new Error("this system has no such sockets");
  const own = new mqtt.MqttClient(open, { protocolVersion: 4, reconnectPeriod: 0, username, password });
  onTestFinished(() => void own.end(true));
  await new Promise<void>((resolve) => own.once("connect", () => resolve()));
  await own.subscribeAsync("big/#");
  // It takes one message, and no other.
  own.handleMessage = () => {};
  const stalled = await RawClient.connect(port, { id: "stalled" });
  await stalled.subscribe(["big/#"]);
  stalled.stopReading();
  const loud = await TestClient.connect(url, []);
  for (let i = 0; i < 16; i++) await loud.publish("big/message", Buffer.alloc(1_000_000), { qos: 0 });
  await vi.waitFor(
    () => expect(warned).toContainEqual(expect.stringMatching(/^the client "stalled" .* was disconnected/)),
    {
      timeout: 10_000,
    },
  );
  expect(own.connected).toBe(true);
  expect(warned).toHaveLength(1);
});

test("who ends a subscription and takes it anew in one go has it, as often as that is done", async () => {
  const { port, url } = await startOwn();
  const client = await RawClient.connect(port);
  const loud = await TestClient.connect(url, []);
  await client.subscribe(["lab/#", "other"]);
  const again = (id: number) =>
    Buffer.concat([packet(0xa2, [Buffer.from([1, id]), text("lab/#")]), subscribePacket([2, id], ["lab/#"])]);
  client.socket.write(Buffer.concat([again(1), again(2)]));
  await vi.waitFor(() => expect(client.received.includes(packet(0x90, [Buffer.from([2, 2, 0])]))).toBe(true));
  await loud.publish("lab/state", "heard");
  await vi.waitFor(() => expect(String(client.received)).toContain("heard"));
  await loud.publish("other", "the last");
  await vi.waitFor(() => expect(String(client.received)).toContain("the last"));
  expect(String(client.received).split("heard")).toHaveLength(2);
});

test("retained messages are bounded; the last value of a topic is never a stale one", async () => {
  const refused: string[] = [];
  const retained = new RetainedMessages({ messages: 3, bytes: 5000 }, (_key, text) => void refused.push(text));
  const store = (topic: string, bytes: number) =>
    retained.store({ topic, payload: Buffer.alloc(bytes, topic), qos: 1 });
  const kept = async (...filters: string[]) => {
    const found: string[] = [];
    for await (const { topic, payload } of retained.matching(filters)) found.push(`${topic} ${payload.length}`);
    return found;
  };
  store("a/1", 100);
  store("a/2", 4000);
  store("b/1", 800);
  expect(await kept("a/+", "#", "b/1")).toEqual(["a/1 100", "a/2 4000", "b/1 800"]);
  expect(await kept("b/1", "a/1", "a/1", "c/1")).toEqual(["b/1 800", "a/1 100"]);
  store("c/1", 1);
  expect(refused).toEqual([
    expect.stringMatching(
      /^a retained message on "c\/1" was passed on but not kept: .* 3 of at most 3 retained messages/,
    ),
  ]);
  // Small values of known topics are kept whatever the bounds; a big one that doesn't fit takes its old value along.
  store("b/1", 1024);
  store("a/1", 2000);
  expect(await kept("#")).toEqual(["a/2 4000", "b/1 1024"]);
  expect(refused).toHaveLength(2);
  store("a/2", 0);
  store("c/1", 1);
  expect(await kept("#")).toEqual(["b/1 1024", "c/1 1"]);
});

test("what a client publishes stays in its order, over QoS and retained messages", async () => {
  const { url } = await startOwn();
  const listener = await mqtt.connectAsync(url, { protocolVersion: 4 });
  onTestFinished(() => void listener.end(true));
  const heard: string[] = [];
  const all = new Promise<void>((resolve) => {
    // As they arrive: at QoS 2 a client hands a message out after a handshake of its own.
    listener.on("packetreceive", (arrived) => {
      if (arrived.cmd === "publish") heard.push(arrived.payload.toString());
      if (heard.length === 300) resolve();
    });
  });
  await listener.subscribeAsync("lab/#", { qos: 2 });
  const sender = await mqtt.connectAsync(url, { protocolVersion: 4 });
  onTestFinished(() => void sender.end(true));
  // QoS 0 and 1, plain and retained, and QoS 2, in an order that has each after each.
  const kinds = ["0", "1 retained", "2", "0 retained", "1"];
  const sent = Array.from({ length: 300 }, (_, i) => {
    const kind = kinds[(i * i + Math.floor(i / 5)) % kinds.length] ?? "";
    const qos = Number(kind[0]) as 0 | 1 | 2;
    void sender.publishAsync(`lab/${kind}`, String(i), { qos, retain: kind.endsWith("retained") });
    return String(i);
  });
  await all;
  expect(heard).toEqual(sent);
});
