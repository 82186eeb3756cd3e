import { expect, test } from "vitest";
import { BROKER, startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { shared } from "./harness/ending.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";
import { type Frame, PacketType, protocolLevelOf, startProxy, topicOf, type Verdict } from "./harness/proxy.ts";

const PING = workerSource("do_ping() { this.telemetry('pong', 1); }");

const SENDER = workerSource(
  "do_go() { return this.command('receiver', 'count', 1).then((taken) => this.telemetry('taken', taken)); }\n do_ping() { this.telemetry('pong', 1); }",
);
const RECEIVER = workerSource("n = 0;\n do_count() { this.n++; }\n do_report() { this.telemetry('report', this.n); }");

interface Cut {
  name: string;
  /** Whose connection. */
  of: "sender" | "receiver";
  matches: (frame: Frame) => boolean;
  verdict: Verdict;
  /** How often the command may have run in the end. */
  runs: number;
}

const isCommand = ({ type, bytes }: Frame) =>
  type === PacketType.PUBLISH && topicOf(bytes) === "halloween/receiver/cmd";
const isAck = ({ type }: Frame) => type === PacketType.PUBACK;

const CUTS: Cut[] = [
  { name: "the sender's PUBLISH is lost", of: "sender", matches: isCommand, verdict: "cut-before", runs: 0 },
  { name: "the sender is cut after its PUBLISH", of: "sender", matches: isCommand, verdict: "cut-after", runs: 1 },
  {
    name: "the sender's PUBACK is lost",
    of: "sender",
    matches: (frame) => isAck(frame) && frame.towards === "client",
    verdict: "cut-before",
    runs: 1,
  },
  {
    name: "the sender is cut after its PUBACK",
    of: "sender",
    matches: (frame) => isAck(frame) && frame.towards === "client",
    verdict: "cut-after",
    runs: 1,
  },
  { name: "the receiver's PUBLISH is lost", of: "receiver", matches: isCommand, verdict: "cut-before", runs: 0 },
  { name: "the receiver is cut after its PUBLISH", of: "receiver", matches: isCommand, verdict: "cut-after", runs: 1 },
  {
    name: "the receiver's PUBACK is lost",
    of: "receiver",
    matches: (frame) => isAck(frame) && frame.towards === "broker",
    verdict: "cut-before",
    runs: 1,
  },
  {
    name: "the receiver is cut after its PUBACK",
    of: "receiver",
    matches: (frame) => isAck(frame) && frame.towards === "broker",
    verdict: "cut-after",
    runs: 1,
  },
];

/** A sender and a receiver, all of whose packets pass through a proxy. */
const pair = shared(async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  const client = await TestClient.connect(broker.url);
  await startHost({
    broker: proxy,
    props: { "sender/backend/worker.ts": SENDER, "receiver/backend/worker.ts": RECEIVER },
  });
  for (const id of ["sender", "receiver"]) await client.expect(`halloween/${id}/status/availability`, "online");
  const connects = proxy.frames.filter(({ type }) => type === PacketType.CONNECT);
  /** How often the command has run. */
  const runs = async () => {
    await client.command("receiver", "report");
    return Number(await client.expect("halloween/receiver/telemetry/report"));
  };
  return { proxy, client, connects, runs };
});

test.each(CUTS)("$name: the command runs at most once, and never late", async ({ of, matches, verdict, runs }) => {
  const { proxy, client, runs: runsSoFar } = await pair();
  const before = await runsSoFar();
  let armed = true;
  // Only what follows the command counts: other acknowledgements come before.
  let published = false;
  proxy.decide = (frame) => {
    if (!armed || !frame.clientId.includes(`-${of}-`)) return "pass";
    const hit = matches(frame) && (published || isCommand(frame));
    published ||= isCommand(frame);
    if (!hit) return "pass";
    armed = false;
    return verdict;
  };
  await client.command("sender", "go");
  await client.expect(`halloween/${of}/status/availability`, "online");
  expect(armed).toBe(false);

  // Whatever would be sent again is sent before the sender answers this.
  await client.command("sender", "ping");
  await client.expect("halloween/sender/telemetry/pong");
  expect((await runsSoFar()) - before).toBe(runs);
});

test("while the broker is away workers run on; what they said then is dropped, counted and told once", async () => {
  const broker = await startBroker();
  const before = await TestClient.connect(broker.url);
  const host = await startHost({
    broker,
    props: {
      "busy/backend/worker.ts": workerSource(
        `n = 0; told = 0;
         async start() {
           this.state = "armed";
           this.telemetry("kept", "first", { retain: true });
           this.every(20, async () => {
             this.telemetry("n", ++this.n);
             if (!(await this.command("fogger", "late", this.n)) && ++this.told === 5) { this.state = "lonely"; this.log.info("five in vain"); }
           });
         }`,
      ),
    },
  });
  await before.expect("halloween/busy/telemetry/n");
  await broker.stop();
  await host.logged("five in vain");
  await host.logged(/trying again until it works/);
  expect((await host.logged(/^fogger was not told "late": the broker is away, or did not take it$/)).worker).toBe(
    "busy",
  );
  await broker.start();

  const after = await TestClient.connect(broker.url);
  await after.expect("halloween/busy/status/availability", "online");
  await after.expect("halloween/busy/state", "lonely");
  await after.expect("halloween/busy/telemetry/kept", "first");
  await after.expect("halloween/busy/status/runstate", /"running"/);
  await after.expect("halloween/worker_host/status/availability", "online");
  await host.logged(/^connected to .* again$/);
  await host.logged(/^\d+ messages were dropped while the broker was away$/);

  // Nothing that was said while the broker was away arrives: the numbers go on from a later one, without a gap.
  await after.expect("halloween/busy/telemetry/n");
  const numbers = after.texts("halloween/busy/telemetry/n").map(Number);
  const late = after.texts("halloween/fogger/cmd").map((text) => (JSON.parse(text) as { args: number }).args);
  const first = Math.min(...numbers);
  expect(first).toBeGreaterThan(5);
  for (const n of late) expect(n).toBeGreaterThanOrEqual(first - 1);
  const told = host.log.all.filter(({ msg }) => /were dropped while/.test(msg));
  expect(told).toHaveLength(1);
});

test("a broker that isn't there at the start is waited for, with one line", async () => {
  const broker = await startBroker();
  await broker.stop();
  const host = await startHost({ broker, dontWait: true, props: { "lab/backend/worker.ts": PING } });
  const line = await host.logged(/trying again until it works/);
  expect(line.msg).toMatch(/^mqtt:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/);
  // Time for more attempts, and so for more lines, if it wrote any.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await broker.start();
  await host.ready();
  const client = await TestClient.connect(broker.url);
  await client.expect("halloween/lab/status/availability", "online");
  expect(host.log.all.filter(({ msg }) => msg === line.msg)).toHaveLength(1);
});

test("a host that waits for its broker can be stopped", async () => {
  const broker = await startBroker();
  await broker.stop();
  const host = await startHost({ broker, dontWait: true, props: { "lab/backend/worker.ts": PING } });
  await host.logged(/trying again until it works/);
  expect(await host.stop()).toEqual({ code: 0, signal: null });
});

test.each([
  [
    "wrong",
    { MQTT_USERNAME: "mallory", MQTT_PASSWORD: "guess" },
    /refuses user "mallory": wrong or missing credentials; set MQTT_USERNAME/,
  ],
  ["no", {}, /refuses a client without a user name: wrong or missing credentials/],
])("%s credentials are said in words", async (_, env, says) => {
  const broker = await startBroker({ user: { username: "haunt", password: "boo" } });
  const host = await startHost({
    broker,
    env: env as Record<string, string>,
    dontWait: true,
    props: { "lab/backend/worker.ts": PING },
  });
  expect((await host.logged(says)).level).toBe(50);
  expect((await host.stop()).code).toBe(0);
  expect(`${host.stdout}${host.stderr}`).not.toContain("guess");
});

test("the right credentials let host and workers in", async () => {
  const broker = await startBroker({ user: { username: "haunt", password: "boo" } });
  await startHost({
    broker,
    env: { MQTT_USERNAME: "haunt", MQTT_PASSWORD: "boo" },
    props: { "lab/backend/worker.ts": PING },
  });
  const client = await TestClient.connect(broker.url, undefined, { username: "haunt", password: "boo" });
  await client.expect("halloween/lab/status/availability", "online");
});

test("MQTT 5 is tried once, by the host; workers connect with what the broker was found to speak", async () => {
  const { connects } = await pair();
  const levels = connects.map(({ clientId, bytes }) => [
    clientId.split("-").slice(0, 2).join("-"),
    protocolLevelOf(bytes),
  ]);
  const workers = ["receiver", "sender"].map((id) => [`halloween-${id}`, BROKER === "aedes" ? 4 : 5]);
  const host =
    BROKER === "aedes"
      ? [
          ["halloween-worker_host", 5],
          ["halloween-worker_host", 4],
          ["halloween-worker_host", 4],
        ]
      : [
          ["halloween-worker_host", 5],
          ["halloween-worker_host", 5],
        ];
  expect(levels.slice(0, host.length)).toEqual(host);
  expect(levels.slice(host.length).sort()).toEqual(workers);
  expect(new Set(connects.map(({ clientId }) => clientId)).size).toBe(connects.length);
});

test("at most 50 connects are in flight", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  const limit = 50;
  const count = 60;
  let [connects, inFlight, most] = [0, 0, 0];
  const held: (() => void)[] = [];
  const release = () => {
    for (const letGo of held.splice(0)) letGo();
  };
  proxy.decide = ({ type, clientId }) => {
    if (!/-w\d+-/.test(clientId)) return "pass";
    if (type === PacketType.CONNECT) {
      connects++;
      most = Math.max(most, ++inFlight);
    }
    if (type !== PacketType.CONNACK) return "pass";
    return new Promise((resolve) => {
      held.push(() => {
        inFlight--;
        resolve("pass");
      });
      // Time for more than the limit to come, if they could.
      if (held.length === limit || connects === count) setTimeout(release, 100);
    });
  };
  const props = Object.fromEntries(Array.from({ length: count }, (_, i) => [`w${i}/backend/worker.ts`, PING]));
  const host = await startHost({ broker: proxy, props });
  expect(await host.ready()).toMatchObject({ running: count });
  expect(most).toBe(limit);
});
