import { expect, test } from "vitest";
import { BROKER, startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";
import { PacketType, startProxy } from "./harness/proxy.ts";
import { leaveOnline, RollCallRun, startBoard } from "./harness/roll-call.ts";

const availability = (id: string) => `halloween/${id}/status/availability`;

/** Puts 60 s forward: 30 s until whoever was silent is asked, 30 s until it is judged. */
async function passMinute(run: RollCallRun): Promise<void> {
  await run.clock.advance(30_000);
  await run.clock.advance(30_000);
}

/** The ids that the roll call says to have set offline until now. */
async function setOffline(run: RollCallRun): Promise<string[]> {
  await run.barrier();
  return run.log.all.flatMap((line) => /^(\S+) is set offline/.exec(line)?.[1] ?? []).sort();
}

test("a board that died while the broker restarted is set offline after 60 s; those that live stay online", async () => {
  const broker = await startBroker({ persistent: true });
  const proxy = await startProxy(broker.port);
  const ids = ["dead_hw", "talker_hw", "pinger_hw", "asserting_hw"];
  for (const id of ids) await (await startBoard(broker.url, id)).publish(availability(id), "online", { retain: true });
  const run = await RollCallRun.start(proxy.url);
  await run.suspects(...ids);

  await proxy.stop();
  await broker.stop();
  await broker.start();
  if (BROKER === "aedes") await leaveOnline(broker.url, ...ids);
  const [talker, pinger, asserting] = await Promise.all(
    ["talker_hw", "pinger_hw", "asserting_hw"].map((id) => startBoard(broker.url, id)),
  );
  const client = await TestClient.connect(broker.url);
  run.anew();
  await proxy.start();
  await run.up(1);
  await run.suspects(...ids);
  await talker?.publish("halloween/talker_hw/telemetry/level/left", "7", { qos: 0 });
  await asserting?.publish(availability("asserting_hw"), "online", { retain: true });
  await run.leaves("talker_hw", "asserting_hw");

  await run.clock.advance(30_000);
  const ping = JSON.parse((await pinger?.expect("halloween/pinger_hw/cmd")) ?? "") as Record<string, unknown>;
  expect(ping).toMatchObject({ action: "ping", args: null, id: expect.stringMatching(/^ping-\w+$/) });
  expect(ping.reply_to).toBe(`halloween/worker_host/reply/${ping.id}`);
  await pinger?.publish(String(ping.reply_to), JSON.stringify({ id: ping.id, status: "ok", ms: 1 }));
  await run.leaves("pinger_hw");
  expect(await shown(broker.url, "dead_hw")).toBe("online");

  await run.clock.advance(30_000);
  await client.expect(availability("dead_hw"), "offline");
  expect(await shown(broker.url, "dead_hw")).toBe("offline");
  for (const id of ["talker_hw", "pinger_hw", "asserting_hw"]) expect(await shown(broker.url, id)).toBe("online");
  expect(await setOffline(run)).toEqual(["dead_hw"]);
  // Whoever spoke before that was not asked.
  expect([talker, asserting].map((board) => board?.seen.all.length)).toEqual([0, 0]);
  expect(run.said).toEqual([
    "dead_hw is set offline: the broker shows it online, but it has been silent for 60 s and answers no ping",
  ]);
});

/** What the broker shows to somebody who subscribes now. */
async function shown(url: string, id: string): Promise<string | undefined> {
  const client = await TestClient.connect(url, [availability(id)]);
  await client.barrier();
  const text = client.texts(availability(id)).at(-1);
  await client.close();
  return text;
}

test("what others say of a board, or retained, is no sign of its life", async () => {
  const broker = await startBroker();
  await leaveOnline(broker.url, "dead_hw", "alive_hw");
  const client = await TestClient.connect(broker.url);
  await client.publish("halloween/dead_hw/state", "armed", { retain: true });
  const run = await RollCallRun.start(broker.url);
  await run.suspects("dead_hw", "alive_hw");
  await client.publish("halloween/dead_hw/cmd", "fire");
  await client.publish("halloween/dead_hw/reply/a1", "{}");
  await client.publish("halloween/dead_hw/status/runstate", "{}", { retain: true });
  await client.publish("halloween/dead_hw/status/lock_out", "{}", { retain: true });
  await client.publish("halloween/dead_hw/description", "", { retain: true });
  await client.publish("halloween/alive_hw/status/warn", "low on fluid");
  await run.leaves("alive_hw");
  await passMinute(run);
  await client.expect(availability("dead_hw"), "offline");
  expect(await setOffline(run)).toEqual(["dead_hw"]);
});

test("one that was set offline is online again with its first telemetry, and is then left alone", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  await leaveOnline(broker.url, "slow_hw", "dead_hw");
  const run = await RollCallRun.start(proxy.url);
  await run.suspects("slow_hw", "dead_hw");
  const client = await TestClient.connect(broker.url);
  await passMinute(run);
  for (const id of ["slow_hw", "dead_hw"]) await client.expect(availability(id), "offline");
  // Our own word has come back to us: it is no sign of life.
  await run.barrier();
  expect(await shown(broker.url, "slow_hw")).toBe("offline");

  const board = await startBoard(broker.url, "slow_hw");
  await board.publish("halloween/slow_hw/telemetry/level", "7", { qos: 0 });
  await client.expect(availability("slow_hw"), "online");
  await run.leaves("slow_hw");
  expect(run.said.at(-1)).toBe("slow_hw is online again");
  expect(await run.log.find((line) => line === "slow_hw is online again", "the log")).toBeDefined();

  // It leaves; a reconnect of ours must not repeat what we said then.
  await board.publish(availability("slow_hw"), "offline", { retain: true });
  await proxy.stop();
  await proxy.start();
  await run.up(1);
  await run.barrier();
  expect(await shown(broker.url, "slow_hw")).toBe("offline");
  expect(run.said.filter((text) => text.startsWith("dead_hw is online"))).toEqual([]);
});

test("one that was set offline and says online itself is right again by that", async () => {
  const broker = await startBroker();
  await leaveOnline(broker.url, "back_hw");
  const run = await RollCallRun.start(broker.url);
  await run.suspects("back_hw");
  const client = await TestClient.connect(broker.url);
  await passMinute(run);
  await client.expect(availability("back_hw"), "offline");
  await run.barrier();
  const board = await startBoard(broker.url, "back_hw");
  await board.publish(availability("back_hw"), "online", { retain: true });
  await run.leaves("back_hw");
  await run.barrier();
  await client.barrier();
  expect(client.texts(availability("back_hw"))).toEqual(["online", "offline", "online"]);
  expect(run.said.at(-1)).toBe("back_hw is online again");
});

test("its own word that crosses ours wins: alive is online, gone is offline", async () => {
  const broker = await startBroker();
  await leaveOnline(broker.url, "crossing_hw", "fleeting_hw");
  const board = await TestClient.connect(broker.url, []);
  const client = await TestClient.connect(broker.url);
  const run = await RollCallRun.start(broker.url, {
    before: async (topic, payload) => {
      // Each says otherwise, once, while ours is on its way.
      if (topic === availability("crossing_hw") && payload === "offline") {
        await board.publish(topic, "online", { retain: true });
      } else if (topic === availability("fleeting_hw") && payload === "online" && run.said.length < 4) {
        await board.publish(topic, "offline", { retain: true });
      } else return;
      await run.barrier();
    },
  });
  await run.suspects("crossing_hw", "fleeting_hw");
  await passMinute(run);
  await client.expect(availability("fleeting_hw"), "offline");
  await run.leaves("crossing_hw");
  expect(await shown(broker.url, "crossing_hw")).toBe("online");

  await run.barrier();
  await board.publish("halloween/fleeting_hw/telemetry/level", "7");
  await run.log.find((line) => /^fleeting_hw is set offline: it went/.test(line), "the end of fleeting_hw");
  expect(await shown(broker.url, "fleeting_hw")).toBe("offline");
  await run.barrier();
  await board.publish("halloween/fleeting_hw/telemetry/level", "7");
  await run.leaves("fleeting_hw");
  expect(await shown(broker.url, "fleeting_hw")).toBe("online");
});

test("a live offline of its own ends the doubt, and nothing is said for it", async () => {
  const broker = await startBroker();
  await leaveOnline(broker.url, "leaving_hw", "dead_hw");
  const run = await RollCallRun.start(broker.url);
  await run.suspects("leaving_hw", "dead_hw");
  const client = await TestClient.connect(broker.url);
  await client.publish(availability("leaving_hw"), "offline", { retain: true });
  await run.leaves("leaving_hw");
  await passMinute(run);
  await client.expect(availability("dead_hw"), "offline");
  expect(await setOffline(run)).toEqual(["dead_hw"]);
  await client.publish("halloween/leaving_hw/telemetry/last", "bye");
  await client.expect("halloween/leaving_hw/telemetry/last");
  await run.barrier();
  expect(await shown(broker.url, "leaving_hw")).toBe("offline");
});

test("the host and what runs in it are never suspected; a worker of its own that came to nothing is", async () => {
  const broker = await startBroker();
  const workers = new Map([
    ["running", { over: false }],
    ["broken", { over: true }],
    ["spoke", { over: true }],
    ["mended", { over: true }],
    ["left", { over: true }],
  ]);
  await leaveOnline(broker.url, "dead_hw", "worker_host", "broadcast", ...workers.keys());
  const uptimes = ["0 seconds", "900 seconds"];
  const proxy = await startProxy(broker.port);
  const run = await RollCallRun.start(proxy.url, { workers, uptime: () => uptimes.shift() ?? "" });
  await run.suspects("dead_hw");
  const client = await TestClient.connect(broker.url);
  await client.publish(availability("spoke"), "online", { retain: true });
  await run.barrier();
  await passMinute(run);
  await client.expect(availability("dead_hw"), "offline");
  await run.suspects("broken", "mended", "left");
  await client.publish(availability("mended"), "online", { retain: true });
  await run.leaves("mended");

  // They are still to be judged where the broker, which ran on, is believed by now.
  await proxy.stop();
  await run.leaves("broken", "left");
  await client.publish(availability("left"), "offline", { retain: true });
  run.anew();
  await proxy.start();
  await run.leaves("left");
  await run.suspects("broken");
  await passMinute(run);
  await client.expect(availability("broken"), "offline");
  expect(await setOffline(run)).toEqual(["broken", "dead_hw"]);
  expect(run.said).toHaveLength(2);
  for (const id of ["worker_host", "broadcast", "running", "spoke"]) expect(run.doubted(id), id).toBe(false);
});

test("one that came back while we were away is asked once more; one that was cleared is forgotten", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  const ids = ["back_hw", "dead_hw", "removed_hw"];
  await leaveOnline(broker.url, ...ids);
  const uptimes = ["0 seconds", "900 seconds"];
  const run = await RollCallRun.start(proxy.url, { uptime: () => uptimes.shift() ?? "" });
  await run.suspects(...ids);
  const client = await TestClient.connect(broker.url);
  await passMinute(run);
  for (const id of ids) await client.expect(availability(id), "offline");
  await client.expect("halloween/back_hw/cmd", /"ping"/);
  await run.barrier();
  await client.publish(availability("removed_hw"), "", { retain: true });
  await run.leaves("removed_hw");
  expect(run.said).toHaveLength(3);

  await proxy.stop();
  await run.leaves("back_hw", "dead_hw");
  await client.publish(availability("back_hw"), "online", { retain: true });
  run.anew();
  await proxy.start();
  await run.suspects("back_hw", "dead_hw");
  await run.barrier();
  await client.barrier();
  const asked = client.texts("halloween/dead_hw/cmd").length;
  await run.clock.advance(30_000);
  await client.publish(
    (JSON.parse(await client.expect("halloween/back_hw/cmd")) as { reply_to: string }).reply_to,
    "{}",
  );
  await run.leaves("back_hw");
  expect(client.texts("halloween/dead_hw/cmd")).toHaveLength(asked);
  expect(await shown(broker.url, "back_hw")).toBe("online");
});

test("a word of ours that is lost with the connection is not taken for said", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  await leaveOnline(broker.url, "slow_hw");
  let cut = async () => {};
  const uptimes = ["0 seconds", "900 seconds"];
  const run = await RollCallRun.start(proxy.url, {
    uptime: () => uptimes.shift() ?? "",
    before: (_, payload) => (payload === "online" ? cut() : Promise.resolve()),
  });
  await run.suspects("slow_hw");
  const client = await TestClient.connect(broker.url);
  await passMinute(run);
  await client.expect(availability("slow_hw"), "offline");
  await run.barrier();
  cut = async () => {
    cut = async () => {};
    await proxy.stop();
    await run.leaves("slow_hw");
  };
  await client.publish("halloween/slow_hw/telemetry/level", "7");
  await run.leaves("slow_hw");
  expect(run.said).toHaveLength(1);
  run.anew();
  await proxy.start();
  await run.suspects("slow_hw");
  await run.barrier();
  await client.publish("halloween/slow_hw/telemetry/level", "7");
  await run.leaves("slow_hw");
  expect(await shown(broker.url, "slow_hw")).toBe("online");
});

test("whom a restarted broker no longer shows is not set offline", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  await leaveOnline(broker.url, "gone_hw", "dead_hw");
  const run = await RollCallRun.start(proxy.url, { uptime: () => "0 seconds" });
  await run.suspects("gone_hw", "dead_hw");
  await proxy.stop();
  await run.leaves("gone_hw", "dead_hw");
  const client = await TestClient.connect(broker.url);
  await client.publish(availability("gone_hw"), "", { retain: true });
  run.anew();
  await proxy.start();
  await run.suspects("dead_hw");
  await passMinute(run);
  await client.expect(availability("dead_hw"), "offline");
  expect(await setOffline(run)).toEqual(["dead_hw"]);
});

test("one that was heard is not suspected again when the broker sends once more what it retains", async () => {
  const broker = await startBroker();
  await leaveOnline(broker.url, "alive_hw", "dead_hw");
  const run = await RollCallRun.start(broker.url);
  await run.suspects("alive_hw", "dead_hw");
  const client = await TestClient.connect(broker.url);
  await client.publish("halloween/alive_hw/state", "idle", { retain: true });
  await run.leaves("alive_hw");
  await run.sendAgain("alive_hw");
  await passMinute(run);
  await client.expect(availability("dead_hw"), "offline");
  expect(await setOffline(run)).toEqual(["dead_hw"]);
});

const UPTIME = "+ $SYS/broker/uptime";
const EVERYBODY = "+ halloween/+/status/availability";

test.each([
  ["0 seconds", true],
  ["59 seconds", true],
  ["60 seconds", false],
  ["86400 seconds", false],
  ["2 days", true],
  ["", true],
])('a broker that says "%s" at the first connect: are those online asked? %s', async (uptime, asked) => {
  const broker = await startBroker();
  await leaveOnline(broker.url, "dead_hw");
  const run = await RollCallRun.start(broker.url, { uptime: () => uptime });
  if (asked) await run.suspects("dead_hw");
  await run.barrier();
  expect(run.filters.all.includes(EVERYBODY)).toBe(asked);
  // A broker that is believed isn't even listened to.
  if (!asked) expect(run.filters.all).toEqual([UPTIME]);
});

test("a broker that tells nothing for 2 s is asked about", async () => {
  const broker = await startBroker();
  await leaveOnline(broker.url, "dead_hw");
  const run = await RollCallRun.start(broker.url, { uptime: () => new Promise<string>(() => {}) });
  expect(run.filters.all).toEqual([UPTIME]);
  await run.clock.advance(2_000);
  await run.suspects("dead_hw");
});

test.each([
  ["ran on", 1_000, 1_000 + 3_600, false],
  ["ran on, and tells it 11 s late", 1_000, 1_000 + 3_589, false],
  ["was started 1 s before us, ran on, and tells it 11 s late", 1, 3_590, false],
  ["was restarted an hour ago", 1_000, 3_580, true],
  ["was restarted 50 s ago", 1_000, 50, true],
])("a broker that %s, at a reconnect after an hour", async (_, first, second, asked) => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  const uptimes = [first, second];
  const run = await RollCallRun.start(proxy.url, { uptime: () => `${uptimes.shift()} seconds` });
  // What was found at the first connect is over.
  await passMinute(run);
  await proxy.stop();
  await run.clock.advance(3_540_000);
  await leaveOnline(broker.url, "dead_hw");
  run.anew();
  await proxy.start();
  await run.up(1);
  if (asked) await run.suspects("dead_hw");
  await run.barrier();
  expect(run.filters.all.includes(EVERYBODY)).toBe(asked);
  if (!asked) expect(run.filters.all).toEqual([UPTIME]);
});

test("a connection that is lost before the broker says how long it has been running leaves that in doubt", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  const uptimes = [new Promise<string>(() => {}), "900 seconds"];
  const run = await RollCallRun.start(proxy.url, { uptime: () => uptimes.shift() ?? "" });
  await leaveOnline(broker.url, "dead_hw");
  await proxy.stop();
  await proxy.start();
  await run.suspects("dead_hw");
});

test("a connection that is lost stops the count: silence counts while we listen only", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  await leaveOnline(broker.url, "dead_hw");
  const uptimes = ["0 seconds", "900 seconds"];
  const run = await RollCallRun.start(proxy.url, { uptime: () => uptimes.shift() ?? "" });
  await run.suspects("dead_hw");
  const client = await TestClient.connect(broker.url);
  await run.clock.advance(50_000);
  await client.expect("halloween/dead_hw/cmd");
  await proxy.stop();
  await run.leaves("dead_hw");
  await run.clock.advance(600_000);
  expect(run.said).toEqual([]);

  run.anew();
  await proxy.start();
  await run.suspects("dead_hw");
  await run.clock.advance(30_000);
  await run.barrier();
  await client.barrier();
  expect(client.texts("halloween/dead_hw/cmd")).toHaveLength(2);
  expect(await setOffline(run)).toEqual([]);
  await run.clock.advance(30_000);
  await client.expect(availability("dead_hw"), "offline");
});

test("at most 1,000 are suspected at once", async () => {
  const broker = await startBroker();
  const ids = Array.from({ length: 1_010 }, (_, i) => `ghost${i}_hw`);
  await leaveOnline(broker.url, ...ids);
  const run = await RollCallRun.start(broker.url);
  const isLimit = (line: string) => line.startsWith("more than 1000 ids are shown online");
  await run.log.find(isLimit, "the limit", 45_000);
  await run.barrier();
  await passMinute(run);
  expect(await setOffline(run)).toHaveLength(1_000);
  expect(ids.filter((id) => run.doubted(id))).toHaveLength(1_000);
  expect(run.log.all).toHaveLength(1_001);
}, 60_000);

test("a host listens to whom a restarted broker shows online, and not to its own workers", async () => {
  const broker = await startBroker({ persistent: true });
  const ids = ["ghost_hw", "lab"];
  for (const id of ids) await (await startBoard(broker.url, id)).publish(availability(id), "online", { retain: true });
  await broker.stop();
  await broker.start();
  if (BROKER === "aedes") await leaveOnline(broker.url, ...ids);
  const proxy = await startProxy(broker.port);
  const packets = (type: number, text: string) =>
    proxy.frames.filter((frame) => frame.type === type && frame.bytes.includes(text)).length;
  const seen = (type: number, text: string) =>
    new Promise<void>((resolve) => {
      proxy.decide = () => {
        // The packet is on the list when this is asked about it.
        if (packets(type, text) > 0) resolve();
        return "pass";
      };
    });
  const subscribed = seen(PacketType.SUBSCRIBE, "halloween/ghost_hw/+/#");
  await startHost({ broker: proxy, props: { "lab/backend/worker.ts": workerSource() } });
  await subscribed;
  expect(packets(PacketType.SUBSCRIBE, "halloween/lab/+/#")).toBe(0);

  const unsubscribed = seen(PacketType.UNSUBSCRIBE, "halloween/ghost_hw/+/#");
  const board = await startBoard(broker.url, "ghost_hw");
  const client = await TestClient.connect(broker.url);
  // The broker may still be about to grant what the host asked for.
  await client.barrier();
  await board.publish("halloween/ghost_hw/telemetry/level", "7", { qos: 0 });
  await unsubscribed;
});
