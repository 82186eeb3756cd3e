import { expect, test } from "vitest";
import type { HostDescription, RunstatePayload } from "../worker-host/contract/description.ts";
import { startBroker, type TestBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";
import { type Frame, PacketType, startProxy, topicOf, type Verdict } from "./harness/proxy.ts";
import { rounds } from "./harness/rounds.ts";
import { Happenings } from "./harness/wait.ts";

const PING = workerSource("do_ping() { this.telemetry('pong', process.ppid); }");
const LAB = { "lab/backend/worker.ts": PING };
/** Long enough for a busy machine, where several hosts ask at once. */
const PATIENT = { WORKER_CLAIM_MS: "1000" };
const ONLINE = "halloween/lab/status/availability";
const CLAIM = "halloween/worker_host/claim";
const HOST_ONLINE = "halloween/worker_host/status/availability";
const WAITING = /^another host runs under the name "worker_host" at .*: waiting until it is gone$/;

const standby = (broker: TestBroker) =>
  startHost({ broker, props: LAB, dontWait: true, args: ["--standby"], env: PATIENT });

/** The host that runs the lab. */
async function answering(client: TestClient): Promise<number> {
  await client.command("lab", "ping");
  return Number(await client.expect("halloween/lab/telemetry/pong"));
}

function runstates(client: TestClient, id: string): RunstatePayload[] {
  return client.texts(`halloween/${id}/status/runstate`).map((text) => JSON.parse(text));
}

test("a second host of the same name is refused in words; the first never blinks", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const first = await startHost({ broker, props: LAB });
  await client.expect(HOST_ONLINE, "online");
  const second = await startHost({
    broker,
    props: { ...LAB, "two/backend/worker.ts": PING },
    env: PATIENT,
    dontWait: true,
  });
  expect(await second.exit).toEqual({ code: 1, signal: null });
  expect(second.stderr).toBe(
    `another host runs under the name "worker_host" at ${broker.url}; stop it, name this one otherwise (--name), or let it wait (--standby)\n`,
  );
  expect(await answering(client)).toBe(first.pid);
  await client.barrier();
  expect(client.texts(HOST_ONLINE)).toEqual(["online"]);
  expect(client.texts(ONLINE)).toEqual(["online"]);
  expect(client.seen.all.filter(({ topic }) => topic.startsWith("halloween/two/"))).toEqual([]);
});

test.each(["SIGKILL", "SIGINT"] as const)("a standby takes over when the first gets %s, not before", async (signal) => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const first = await startHost({ broker, props: LAB });
  const second = await standby(broker);
  await second.logged(WAITING);
  expect(await answering(client)).toBe(first.pid);
  expect(client.texts(ONLINE)).toEqual(["online"]);

  first.child.kill(signal);
  for (const text of ["offline", "online"]) await client.expect(HOST_ONLINE, text);
  await second.logged('no host runs under the name "worker_host" any more: taking over');
  await second.ready();
  expect(await answering(client)).toBe(second.pid);
  await client.barrier();
  expect(client.texts(ONLINE)).toEqual(["online", "offline", "online"]);
  expect(client.texts(HOST_ONLINE)).toEqual(["online", "offline", "online"]);
});

const ROUNDS = rounds(10);

test(`three hosts are started at once, ${ROUNDS} times: never two are active, never none`, {
  timeout: 180_000,
}, async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    const hosts = await Promise.all([1, 2, 3].map(() => standby(broker)));
    const active = await Promise.race(hosts.map((host) => host.ready().then(() => host)));
    await Promise.all(hosts.filter((host) => host !== active).map((host) => host.logged(WAITING)));
    expect(await answering(client)).toBe(active.pid);
    await client.barrier();
    expect(client.texts(HOST_ONLINE)).toEqual(["online"]);
    expect(client.texts(ONLINE)).toEqual(["online"]);
    await Promise.all(hosts.map((host) => host.stop("SIGKILL")));
    await broker.stop();
  }
});

test("of two that wait, one takes over", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const first = await startHost({ broker, props: LAB });
  const others = await Promise.all([1, 2].map(() => standby(broker)));
  await Promise.all(others.map((host) => host.logged(WAITING)));
  first.child.kill("SIGKILL");
  const next = await Promise.race(others.map((host) => host.ready().then(() => host)));
  expect(await answering(client)).toBe(next.pid);
  next.child.kill("SIGKILL");
  const last = others.find((host) => host !== next);
  await last?.ready();
  expect(await answering(client)).toBe(last?.pid);
  expect(client.texts(HOST_ONLINE)).toEqual(["online", "offline", "online", "offline", "online"]);
});

test("after a restart of the broker, the one that was active stays it", async () => {
  const broker = await startBroker();
  const first = await startHost({ broker, props: LAB });
  const second = await standby(broker);
  await second.logged(WAITING);
  await broker.stop();
  await first.logged(/trying again until it works/);
  await broker.start();
  const client = await TestClient.connect(broker.url);
  await client.expect(HOST_ONLINE, "online");
  await client.expect(ONLINE, "online");
  expect(await answering(client)).toBe(first.pid);
  expect(second.log.all.filter(({ msg }) => msg === "ready")).toEqual([]);

  // One that waits leaves without a trace; one whose broker is away leaves too.
  expect(await second.stop()).toEqual({ code: 0, signal: null });
  await client.barrier();
  expect(client.texts(HOST_ONLINE)).toEqual(["online"]);
  await broker.stop();
  expect(await first.stop()).toEqual({ code: 0, signal: null });
});

test("after a restart of the broker, a standby that is back first leaves the name to the one that was active", async () => {
  const broker = await startBroker();
  const [near, far] = [await startProxy(broker.port), await startProxy(broker.port)];
  const first = await startHost({ broker: far, props: LAB });
  const second = await standby(near);
  await second.logged(WAITING);
  await Promise.all([far.stop(), near.stop()]);
  await broker.stop();
  const back = new Happenings<Frame>();
  near.decide = (frame) => {
    back.add(frame);
    return "pass";
  };
  await broker.start();
  const client = await TestClient.connect(broker.url);
  await near.start();
  await back.find(({ type }) => type === PacketType.SUBSCRIBE, "the standby's return");
  // Time to ask for the name, if it would.
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(client.texts(CLAIM)).toEqual([]);
  await far.start();
  await client.expect(ONLINE, "online");
  expect(await answering(client)).toBe(first.pid);
});

test("a host whose name was taken over while it was cut off ends, and leaves the other one alone", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const proxy = await startProxy(broker.port);
  const first = await startHost({ broker: proxy, props: LAB });
  const second = await standby(broker);
  await second.logged(WAITING);
  await proxy.stop();
  await second.ready();
  await proxy.start();
  expect(await first.exit).toEqual({ code: 1, signal: null });
  expect(first.stderr).toBe(
    `another host runs under the name "worker_host" at ${proxy.url}: it took over while this one was cut off, so this one ends\n`,
  );
  expect(await answering(client)).toBe(second.pid);
  await client.barrier();
  // A will that fires while the other one comes up has it say once more that it is there.
  const changes = (topic: string) => client.texts(topic).filter((text, at, all) => text !== all[at - 1]);
  expect(changes(HOST_ONLINE)).toEqual(["online", "offline", "online"]);
  expect(changes(ONLINE)).toEqual(["online", "offline", "online"]);
});

const TELLING = workerSource("do_ping() { this.telemetry('pid', process.pid); }", 'console.log("loaded");');

test("until the claim is made anew no worker connects, also not in a process that comes up meanwhile", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker: proxy, props: { "lab/backend/worker.ts": TELLING } });
  await client.command("lab", "ping");
  const runner = Number(await client.expect("halloween/lab/telemetry/pid"));

  let letThrough = () => {};
  const released = new Promise<void>((resolve) => {
    letThrough = resolve;
  });
  const claims = new Happenings<string>();
  proxy.decide = async ({ type, towards, bytes }): Promise<Verdict> => {
    if (type !== PacketType.PUBLISH || towards !== "broker" || topicOf(bytes) !== CLAIM) return "pass";
    claims.add(bytes.toString());
    await released;
    return "pass";
  };
  await proxy.stop();
  await client.expect(ONLINE, "offline");
  await host.logged(/trying again until it works/);
  const [before, loads] = [proxy.frames.length, host.log.all.filter(({ msg }) => msg === "loaded").length];
  await proxy.start();
  await claims.find((text) => text.includes("reclaim "), "the claim");
  process.kill(runner, "SIGKILL");
  while (host.log.all.filter(({ msg }) => msg === "loaded").length === loads) {
    await host.log.next(({ msg }) => msg === "loaded", "the next process");
  }
  // Time to connect, for who could.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const connects = proxy.frames.slice(before).filter(({ type }) => type === PacketType.CONNECT);
  expect(connects.map(({ clientId }) => clientId).filter((id) => !id.includes("-worker_host-claim-"))).toEqual([]);
  expect(connects.length).toBeGreaterThan(0);

  letThrough();
  await client.expect(ONLINE, "online");
  await client.expect(HOST_ONLINE, "online");
});

/** The id that a host claims its name with. */
async function claimant(client: TestClient): Promise<string> {
  const text = await client.expect(CLAIM, /^claim /);
  return text.split(" ")[1] ?? "";
}

test.each([
  ["that was active before", () => "reclaim somebody"],
  ["that holds the name", (id: string) => `held ${id}`],
])("a host that asks for its name gives way to one %s", async (_who, answer) => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props: LAB, env: PATIENT, dontWait: true });
  await client.publish(CLAIM, answer(await claimant(client)));
  expect(await host.exit).toEqual({ code: 1, signal: null });
  expect(host.stderr).toMatch(/^another host runs under the name "worker_host"/);
  await client.barrier();
  expect(client.seen.all.filter(({ topic }) => topic !== CLAIM && topic.startsWith("halloween/"))).toEqual([]);
});

test("a host that asked first answers who asks later, and is not moved by what is none of its business", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props: LAB, env: PATIENT, dontWait: true });
  const id = await claimant(client);
  await client.publish(CLAIM, "claim somebody");
  await client.expect(CLAIM, "held somebody");
  for (const text of ["held somebody", `held ${id} too`, `hold ${id}`, `HELD ${id}`, "x".repeat(100_000), ""])
    await client.publish(CLAIM, text);
  await host.ready();
  await client.publish(CLAIM, "reclaim somebody-else");
  await client.expect(CLAIM, "held somebody-else");

  // Another one answers after all: it was there before, and slow.
  await client.publish(CLAIM, `held ${id}`);
  const [, asked] = (await client.expect(CLAIM, /^reclaim (?!somebody-else$)/)).split(" ");
  await client.publish(CLAIM, `held ${asked}`);
  expect(await host.exit).toEqual({ code: 1, signal: null });
});

test("an active host does not end for a `held` that no other host stands for", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props: LAB });
  const id = await claimant(client);
  for (let i = 0; i < 5; i++) await client.publish(CLAIM, `held ${id}`);
  await client.expect(CLAIM, /^reclaim /);
  await client.barrier();
  await client.command("lab", "ping");
  expect(await client.expect("halloween/lab/telemetry/pong")).toBe(String(host.pid));
  await client.publish(CLAIM, "claim somebody");
  await client.expect(CLAIM, "held somebody");
  expect(client.texts(CLAIM).filter((text) => text.startsWith("reclaim "))).toHaveLength(1);
  expect(client.texts(HOST_ONLINE)).toEqual(["online"]);
});

test("two hosts of two names run what each of them allows, side by side", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = { ...LAB, "two/backend/worker.ts": PING };
  await startHost({ broker, props, env: { WORKER_PROPS_ALLOW: "lab" } });
  await startHost({ broker, props, args: ["--name", "attic"], env: { WORKER_PROPS_ALLOW: "two" } });
  await client.expect(ONLINE, "online");
  await client.expect("halloween/two/status/availability", "online");
  await client.expect(HOST_ONLINE, "online");
  await client.expect("halloween/attic/status/availability", "online");
  expect(runstates(client, "lab").map(({ host }) => host)).not.toContain("attic");
  expect(new Set(runstates(client, "two").map(({ host }) => host))).toEqual(new Set(["attic"]));

  const list = (...args: string[]) => runCli(["list", "--running", "--mqtt-url", broker.url, ...args]);
  expect((await list("--name", "attic")).stdout).toMatch(/^lab +skipped.*\ntwo +running/m);
  expect((await list()).stdout).toMatch(/^lab +running.*\ntwo +skipped/m);
  expect(await list("--name", "cellar")).toMatchObject({ code: 1, stderr: "no host runs on the broker\n" });
});

test("a worker whose id runs under another name has failed here, in words, and is not heard on its topics", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const attic = await startHost({ broker, props: LAB, args: ["--name", "attic"] });
  await client.expect(ONLINE, "online");
  await client.expect("halloween/lab/description");
  await client.expect("halloween/lab/status/runstate", /"running"/);
  await client.barrier();
  const before = client.seen.all.filter(({ topic }) => topic.startsWith("halloween/lab/")).length;

  const builtins = { "pulse.ts": PING };
  const host = await startHost({ broker, props: { ...LAB, "two/backend/worker.ts": PING }, builtins, env: PATIENT });
  const words = 'lab runs under the host "attic": disable it here or there (WORKER_PROPS_DISABLE=lab)';
  await client.expect("halloween/worker_host/status/error", words);
  expect(await host.ready()).toMatchObject({ running: 2, failed: 1 });
  const text = await client.expect("halloween/worker_host/description", /"lab".*"failed"/);
  const { workers } = JSON.parse(text) as HostDescription;
  expect(workers.find(({ id }) => id === "lab")).toMatchObject({ state: "failed", detail: words });
  await client.barrier();
  expect(client.seen.all.filter(({ topic }) => topic.startsWith("halloween/lab/")).length).toBe(before);
  expect(await answering(client)).toBe(attic.pid);

  const reply = "halloween/cli/reply/1";
  await client.command("worker_host", { action: "restart_worker", args: "lab", reply_to: reply });
  expect(JSON.parse(await client.expect(reply))).toMatchObject({ status: "error", error: words });

  // What runs under a builtin's id is disabled by another setting.
  const third = await startHost({ broker, builtins, args: ["--name", "cellar"], env: PATIENT });
  await third.logged(
    'failed: pulse runs under the host "worker_host": disable it here or there (WORKER_BUILTINS_DISABLE=pulse)',
  );

  await attic.stop("SIGKILL");
  await client.expect(ONLINE, "offline");
  await client.command("worker_host", "rescan");
  await client.expect(ONLINE, "online");
  expect(await answering(client)).toBe(host.pid);
});

test("of two hosts that start the same worker in one moment, one gives way; the other's is online", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const hosts = await Promise.all(
    ["attic", "cellar"].map((name) => startHost({ broker, props: LAB, args: ["--name", name] })),
  );
  const lost = hosts.map((host) => host.logged(/^failed: lab runs under the host/).then(() => host));
  const loser = await Promise.race(lost);
  const winner = hosts.find((host) => host !== loser);
  expect(await answering(client)).toBe(winner?.pid);
  await client.barrier();
  expect(winner?.log.all.filter(({ msg }) => msg.startsWith("failed"))).toEqual([]);
  const late = await TestClient.connect(broker.url);
  await late.expect(ONLINE, "online");
  const said = JSON.parse(await late.expect("halloween/lab/status/runstate")) as RunstatePayload;
  expect(said).toMatchObject({ state: "running", host: winner === hosts[0] ? "attic" : "cellar" });
});

test.each([
  ["earlier", "2020-10-31T20:00:00.000Z"],
  ["later", "2220-10-31T20:00:00.000Z"],
])(
  "of a worker that another host began to run %s, the later run ends, without a word on its topics",
  async (when, since) => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    const host = await startHost({ broker, props: LAB });
    await client.expect("halloween/lab/status/runstate", /"running"/);
    await client.expect(ONLINE, "online");
    const ours = runstates(client, "lab").at(-1);
    const theirs = { state: "running", since, host: "attic" };
    await client.publish("halloween/lab/status/runstate", JSON.stringify(theirs), { retain: true });
    if (when === "later") {
      // The last word, which is retained, is that of the one that stays.
      expect(JSON.parse(await client.expect("halloween/lab/status/runstate", /"worker_host"/))).toEqual(ours);
      expect(await answering(client)).toBe(host.pid);
      return;
    }
    await host.logged('failed: lab runs under the host "attic": disable it here or there (WORKER_PROPS_DISABLE=lab)');
    await client.expect("halloween/worker_host/status/error", /^lab runs under the host "attic"/);
    await client.barrier();
    expect(client.texts(ONLINE)).toEqual(["online"]);
    expect(runstates(client, "lab").at(-1)).toEqual(theirs);
    // Nobody of that name answers.
    await client.command("worker_host", "restart_worker lab");
    await client.expect(ONLINE, "online");
  },
);

test("a prop can't have the host's own name", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = { "attic/backend/worker.ts": PING, ...LAB };
  await startHost({ broker, props, args: ["--name", "attic"] });
  const words = '"attic" is reserved (worker_host, broadcast, cli, attic): name it otherwise, such as "my_attic"';
  await client.expect("halloween/attic/status/error", words);
  expect(runstates(client, "attic").map(({ state }) => state)).toEqual(["running"]);
});

test("an `offline` that comes late, as the will of one that had the name before, doesn't stand", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props: LAB });
  for (const topic of [ONLINE, HOST_ONLINE]) {
    await client.expect(topic, "online");
    await client.publish(topic, "offline", { retain: true });
    await client.expect(topic, "online");
  }
  await host.stop();
  await client.barrier();
  for (const topic of [ONLINE, HOST_ONLINE])
    expect(client.texts(topic)).toEqual(["online", "offline", "online", "offline"]);
});
