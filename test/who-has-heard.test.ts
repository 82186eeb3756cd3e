import mqtt from "mqtt";
import { expect, onTestFinished, test } from "vitest";
import type { Runstate } from "../worker-host/contract/description.ts";
import { Topics } from "../worker-host/contract/topics.ts";
import type { Shown } from "../worker-host/host/bus/boards.ts";
import type { Planned } from "../worker-host/host/plan/plan.ts";
import { Records } from "../worker-host/host/runners/records.ts";
import { StopReceipts } from "../worker-host/host/safety/stop-receipts.ts";
import type { MessageHandler } from "../worker-host/mqtt/wire.ts";
import { TestClock } from "../worker-host/testing/test-clock.ts";
import { FakeBoard } from "./harness/board.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

const ALL_STOP = "halloween/worker_host/status/all_stop";
const HEARD = "halloween/worker_host/status/all_stop_heard";
const BROADCAST = "halloween/broadcast/cmd";
const LAMP = workerSource('do_stop() { this.telemetry("stopped", 1); }');
/** Its `stop` is never over. */
const STUCK = workerSource("async do_stop() { await new Promise(() => {}); }");

interface Heard {
  heard: { id: string; ms: number }[];
  not_heard: { id: string; why?: string }[];
  not_held: { id: string; why: string }[];
}

const OBEYS: Shown = {
  availability: "online",
  described: true,
  stops: true,
  isHost: false,
  chip: "esp32",
  page: undefined,
  told: true,
};

const describing = (commands: object) => ({ description: JSON.stringify({ contract: 1, board: "esp32", commands }) });
const idsOf = (list: { id: string }[]) => list.map(({ id }) => id).sort();

async function start(props: Record<string, string> = { "lamp/backend/worker.ts": LAMP }) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props });
  const tell = async (action: string, args?: unknown) => {
    const reply_to = `halloween/cli/reply/${action}`;
    await client.command("worker_host", { action, args, id: action, reply_to });
    return JSON.parse(await client.expect(reply_to)) as { status: string; from: string; result: Heard };
  };
  return { broker, client, host, tell, env: { MQTT_HOST: "127.0.0.1", MQTT_PORT: String(broker.port) } };
}

test("all_stop says who confirmed it, who did not, and who can't be held", { timeout: 60_000 }, async () => {
  const { broker, client, host, tell, env } = await start({
    "lamp/backend/worker.ts": LAMP,
    "stuck/backend/worker.ts": STUCK,
  });
  await FakeBoard.start(broker.url, "obeys_hw", describing({ stop: {} }));
  await FakeBoard.start(broker.url, "deaf_hw", { ...describing({ stop: {} }), deaf: true });
  // No host, whatever it lists.
  const listing = { board: "esp32", workers: [{ id: "lamp" }], commands: { jump: {} } };
  await FakeBoard.start(broker.url, "jumps_hw", { description: JSON.stringify(listing), deaf: true });
  await FakeBoard.start(broker.url, "mute_hw", { description: "", deaf: true });
  await client.publish("halloween/solenoid/state", "on", { retain: true });
  // One that is off by now, and would have obeyed.
  await client.publish("halloween/off_hw/description", JSON.stringify({ commands: { stop: {} } }), { retain: true });
  await client.publish("halloween/off_hw/status/availability", "offline", { retain: true });
  await client.barrier();

  const { from, result } = await tell("all_stop");
  expect(from).toBe("worker_host");
  expect(idsOf(result.heard)).toEqual(["lamp", "obeys_hw"]);
  for (const { ms } of result.heard) expect(ms).toBeGreaterThanOrEqual(0);
  expect(idsOf(result.not_heard)).toEqual(["deaf_hw", "stuck"]);
  expect(result.not_held.sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
    { id: "jumps_hw", why: 'its description names no "stop"' },
    { id: "mute_hw", why: "it describes nothing" },
    { id: "solenoid", why: "it describes nothing" },
  ]);
  expect(JSON.parse(await client.expect(HEARD))).toMatchObject({ heard: result.heard, not_heard: result.not_heard });
  await client.expect(
    "halloween/worker_host/status/warn",
    /^all-stop: heard: .*; not heard: .*, go and look; can't be held: .*solenoid/,
  );
  // What it tells names where to answer, and that it is a part of all-stop.
  expect(JSON.parse(await client.expect(BROADCAST))).toEqual({
    action: "stop",
    args: null,
    id: expect.any(String),
    reply_to: expect.stringMatching(/^halloween\/worker_host\/reply\/stop\//),
    reason: "all_stop",
  });
  const { stderr } = await runCli(["list", "--running"], { env });
  expect(stderr).toMatch(
    /^all-stop is engaged\nheard: .*\nnot heard: (deaf_hw, stuck|stuck, deaf_hw), go and look\ncan't be held: /,
  );
  expect(host.log.all.some(({ msg }) => /not heard/.test(msg))).toBe(true);
});

/** What collects the answers, told of one board and of workers in these states, and how it is told of an answer. */
async function startReceipts(states: Record<string, Runstate> = {}) {
  const clock = new TestClock();
  const handlers: MessageHandler[] = [];
  const published: string[] = [];
  const records = new Records({
    clock,
    show: String,
    lockedOut: () => undefined,
    boardOf: () => undefined,
    onChange: () => {},
  });
  for (const [id, state] of Object.entries(states)) records.add({ id } as Planned).become(state);
  const become = (id: string, state: Runstate) => records.get(id)?.become(state);
  const receipts = new StopReceipts({
    topics: new Topics("halloween", "worker_host"),
    clock,
    newId: () => "1",
    hostConnection: {
      subscribe: async (_filter, handler) => {
        handlers.push(handler);
        return () => {};
      },
      publish: (topic) => void published.push(topic),
      warn: () => {},
    },
    records,
    shown: () => new Map([["obeys_hw", OBEYS]]),
  });
  await receipts.start();
  const answer = (from: string) => {
    const payload = new TextEncoder().encode(JSON.stringify({ status: "ok", from }));
    handlers[0]?.({ topic: "halloween/worker_host/reply/stop/1", payload, qos: 1, retain: false });
  };
  return { clock, receipts, published, answer, become };
}

test("where all have confirmed it, who has heard is known before the two seconds are over", async () => {
  const { clock, receipts, published, answer } = await startReceipts();
  const heard = receipts.stopAll();
  answer("obeys_hw");
  await clock.advance(1_000);
  // It would not be there if it were known later.
  expect(published).toContain(HEARD);
  expect(idsOf((await heard).heard)).toEqual(["obeys_hw"]);
});

test("a worker that ends or starts meanwhile is named, with that for a reason; it is waited for where it may answer", async () => {
  const { clock, receipts, answer, become } = await startReceipts({
    ...{ lamp: "running", quits: "running", ends: "stopping", confirms: "stopping", starts: "starting" },
    ...{ off: "stopped", broken: "failed" },
  });
  const heard = receipts.stopAll();
  for (const id of ["obeys_hw", "lamp", "confirms"]) answer(id);
  become("quits", "stopping");
  become("ends", "stopped");
  await clock.advance(2_000);
  expect(idsOf((await heard).heard)).toEqual(["confirms", "lamp", "obeys_hw"]);
  expect((await heard).not_heard).toEqual([
    { id: "ends", why: "it is ending" },
    { id: "quits", why: "it is ending" },
    { id: "starts", why: "it is starting" },
  ]);
  const alone = receipts.stopOne("confirms");
  answer("confirms");
  await clock.advance(200);
  expect(await alone).toMatchObject({ heard: [{ id: "confirms" }], not_heard: [] });
  const starting = receipts.stopOne("starts");
  await clock.advance(200);
  expect(await starting).toMatchObject({ heard: [], not_heard: [{ id: "starts", why: "it is starting" }] });
});

test("of 1,500 strangers that answer, some 1,000 are counted", async () => {
  const { clock, receipts, answer } = await startReceipts();
  const heard = receipts.stopAll();
  for (let i = 0; i < 1_500; i++) answer(`guest_${i}`);
  answer("obeys_hw");
  await clock.advance(2_000);
  expect((await heard).left_out ?? 0).toBeLessThanOrEqual(2);
  expect((await heard).heard).toHaveLength(1_000);
});

test("the command line tells who has heard", async () => {
  const { broker, client, env } = await start();
  await FakeBoard.start(broker.url, "obeys_hw", describing({ stop: {} }));
  await client.barrier();
  const { code, stdout } = await runCli(["all-stop", "guest", "down"], { env });
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /^all-stop is engaged\nall-stop is engaged by cli \(guest down\) since .*: only stop and safe commands run until "npx worker-host all-clear"\nheard: (lamp, obeys_hw|obeys_hw, lamp), in \d+ ms\n$/,
  );
  const [text = ""] = client.texts(HEARD);
  expect((JSON.parse(text) as Heard).not_heard).toEqual([]);
  expect(client.texts("halloween/worker_host/status/warn")).toEqual([]);
});

test("boards and the latch are told at once, whoever is waited for", async () => {
  const { broker, client, tell } = await start();
  await FakeBoard.start(broker.url, "deaf_hw", { ...describing({ stop: {} }), deaf: true });
  await client.barrier();
  const answer = tell("all_stop");
  await client.expect(ALL_STOP, "engaged");
  await client.expect(BROADCAST, /"stop"/);
  // While the host still waits for the one that is deaf, more of them are told too, and the answers are the same.
  await client.command("worker_host", "all_stop");
  await client.expect(BROADCAST, /"stop"/);
  expect(client.texts(HEARD)).toEqual([]);
  expect(idsOf((await answer).result.not_heard)).toEqual(["deaf_hw"]);
  await client.expect(HEARD);
});

test("a lock-out says whether it was heard, and whether it can hold at all", { timeout: 60_000 }, async () => {
  const { broker, client, tell, env } = await start();
  await FakeBoard.start(broker.url, "obeys_hw", describing({ stop: {} }));
  await FakeBoard.start(broker.url, "deaf_hw", { ...describing({ stop: {} }), deaf: true });
  await FakeBoard.start(broker.url, "jumps_hw", { ...describing({ jump: {} }), deaf: true });
  await client.barrier();
  expect((await tell("lock_out", "lamp it flickers")).result).toMatchObject({ heard: [{ id: "lamp" }], not_heard: [] });
  const lockOut = async (id: string) => (await runCli(["lock-out", id, "it leaks"], { env })).stdout;
  expect(await lockOut("obeys_hw")).toMatch(/^obeys_hw is locked out until .*\nheard: obeys_hw, in \d+ ms\n$/);
  expect(await lockOut("deaf_hw")).toMatch(/^deaf_hw is locked out until .*\nnot heard: deaf_hw, go and look\n$/);
  expect(await lockOut("jumps_hw")).toMatch(
    /^jumps_hw is told to take no command until .*\ncan't be held: jumps_hw \(its description names no "stop"\), go and look\n$/,
  );
  expect(await lockOut("nowhere")).toMatch(/can't be held: nowhere \(it describes nothing\), go and look\n$/);
});

test("a stranger's answers are bounded, and stand for nobody else", async () => {
  const { broker, client, tell } = await start();
  const stranger = await mqtt.connectAsync(broker.url, { protocolVersion: 4, reconnectPeriod: 0 });
  onTestFinished(() => stranger.endAsync(true));
  await stranger.subscribeAsync(BROADCAST, { qos: 1 });
  stranger.on("message", (_topic, payload) => {
    const { reply_to } = JSON.parse(payload.toString()) as { reply_to: string };
    const say = (text: string) => stranger.publish(reply_to, text, { qos: 1 });
    for (const from of [7, "", "a/b", "broadcast", "x".repeat(300), null]) say(JSON.stringify({ status: "ok", from }));
    for (const text of ["", "null", "[", '{"status":"ok"}', '{"status":"so","from":"it"}', "x".repeat(20_000)])
      say(text);
    say(JSON.stringify({ status: "ok", from: "guest", pad: "x".repeat(9_000) }));
    for (let i = 0; i < 1_500; i++) say(JSON.stringify({ status: "ok", from: `guest_${i}` }));
  });
  await FakeBoard.start(broker.url, "deaf_hw", { ...describing({ stop: {} }), deaf: true });
  await client.barrier();
  const { result } = await tell("all_stop");
  expect(idsOf(result.not_heard)).toEqual(["deaf_hw"]);
  expect(result.heard.length).toBeLessThanOrEqual(1_000);
  expect(result.heard.every(({ id }) => id === "lamp" || /^guest_\d+$/.test(id))).toBe(true);
});

test("of two hosts, each hears the other's workers, and takes no host for a board", { timeout: 60_000 }, async () => {
  const { broker, tell } = await start();
  const attic = await startHost({ broker, props: { "bat/backend/worker.ts": LAMP }, args: ["--name", "attic"] });
  const client = await TestClient.connect(broker.url, ["halloween/attic/description"]);
  await client.expect("halloween/attic/description", /"all_stop"/);
  const { result } = await tell("all_stop");
  expect(idsOf(result.heard)).toEqual(["bat", "lamp"]);
  expect([...result.not_heard, ...result.not_held]).toEqual([]);
  await attic.stop();
});
