import { once } from "node:events";
import { connect } from "node:net";
import { expect, test } from "vitest";
import type { HostDescription } from "../worker-host/contract/description.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { ROOT, startHost } from "./harness/host.ts";

const PING = workerSource("do_ping() { this.telemetry('pong', 1); }");

test("the host publishes its availability, runstate, uptime and description", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url, ["halloween/worker_host/#"]);
  const host = await startHost({ broker, props: { "lab/backend/worker.ts": PING, "lab/backend/config.yaml": "a: 1" } });

  await client.expect("halloween/worker_host/status/availability", "online");
  const runstate = JSON.parse(await client.expect("halloween/worker_host/status/runstate"));
  expect(runstate).toMatchObject({ state: "running", host: "worker_host" });
  expect(new Date(runstate.since).getTime()).toBeGreaterThan(Date.now() - 60_000);

  const text = await client.expect("halloween/worker_host/description", /"running".*"restart_worker"/);
  const description = JSON.parse(text) as HostDescription;
  expect(description).toMatchObject({
    contract: 1,
    name: "worker_host",
    version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
  });
  expect(description.workers).toEqual([
    {
      id: "lab",
      file: expect.stringMatching(/lab\/backend\/worker\.ts$/),
      config: expect.stringMatching(/lab\/backend\/config\.yaml$/),
      state: "running",
    },
  ]);

  await client.expect("halloween/worker_host/uptime", "0");
  await client.expect("halloween/worker_host/uptime", /^1\d$/);

  const late = await TestClient.connect(broker.url, ["halloween/worker_host/#"]);
  await late.expect("halloween/worker_host/description", text);
  await late.expect("halloween/worker_host/status/availability", "online");
  await late.barrier();
  expect(late.texts("halloween/worker_host/uptime")).toEqual([]);

  await host.stop();
  await client.expect("halloween/worker_host/status/runstate", /"stopped"/);
  await client.expect("halloween/worker_host/description", /"stopped"/);
  await client.expect("halloween/worker_host/status/availability", "offline");
});

test("200 workers run in one host, beside one whose start() throws; their changes are gathered", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`w${i}/backend/worker.ts`, PING]));
  const thrower = workerSource("async start() { throw new Error('no power'); }");
  const host = await startHost({ broker, props: { ...props, "thrower/backend/worker.ts": thrower } });

  expect(await host.ready()).toMatchObject({ running: 200, failed: 1 });
  await client.expect("halloween/thrower/status/error", /Error: no power/);
  for (let i = 0; i < 200; i++) {
    await client.expect(`halloween/w${i}/status/availability`, "online");
    await client.command(`w${i}`, "ping");
  }
  for (let i = 0; i < 200; i++) await client.expect(`halloween/w${i}/telemetry/pong`, "1");
  // 402 changes in all.
  expect(client.texts("halloween/worker_host/description").length).toBeLessThan(60);

  expect((await host.stop()).code).toBe(0);
  for (let i = 0; i < 200; i++) await client.expect(`halloween/w${i}/status/availability`, "offline");
});

test("the embedded broker loses nothing that is published in one go", async () => {
  const host = await startHost();
  const url = await host.url();
  const listener = await TestClient.connect(url, ["mixed/#"]);
  const sender = await TestClient.connect(url, []);
  const rounds = 50;
  for (let i = 0; i < rounds; i++) {
    await Promise.all([
      sender.publish("mixed/retained0", "x", { qos: 0, retain: true }),
      sender.publish("mixed/retained1", "x", { qos: 1, retain: true }),
      sender.publish("mixed/plain1", "x", { qos: 1 }),
      sender.publish("mixed/plain0", "x", { qos: 0 }),
      sender.publish("mixed/plain2", "x", { qos: 2 }),
      sender.publish("mixed/plain0", "x", { qos: 0 }),
    ]);
  }
  await listener.barrier();
  const count = (name: string) => listener.texts(`mixed/${name}`).length;
  expect(["retained0", "retained1", "plain0", "plain1", "plain2"].map((name) => [name, count(name)])).toEqual([
    ["retained0", rounds],
    ["retained1", rounds],
    ["plain0", 2 * rounds],
    ["plain1", rounds],
    ["plain2", rounds],
  ]);
});

test("the embedded broker disconnects who begins to send more than 1 MiB in one packet", async () => {
  const host = await startHost();
  const url = await host.url();
  const listener = await TestClient.connect(url, ["big/#"]);
  const sender = await TestClient.connect(url, []);
  for (const size of [1, 200, 20_000, 1_000_000]) await sender.publish("big/message", Buffer.alloc(size, 97));
  for (const size of [1, 200, 20_000, 1_000_000]) await listener.expect("big/message", "a".repeat(size));

  const socket = connect(await host.port(), "127.0.0.1");
  await once(socket, "connect");
  const closed = once(socket, "close");
  // CONNECT, with 256 MB to come.
  socket.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]));
  await closed;
  await host.logged(/^a client at .* was disconnected: it sent 268435455 bytes in one packet$/);
  await listener.barrier();
});

test("npm start builds and runs it, with the shipped workers; a Ctrl-C's two signals end it in order", async () => {
  const host = await startHost({ cwd: ROOT, builtins: "shipped", command: ["npm", "start", "--"] });
  const client = await TestClient.connect(await host.url());
  await client.expect("halloween/heartbeat/status/availability", "online");
  await client.expect("halloween/example_prop/status/availability", "online");
  // A terminal tells both npm and its child; npm may tell its child again.
  host.signal("SIGINT");
  host.signal("SIGINT");
  await host.stop();
  expect(host.log.all.some(({ msg }) => /by force/.test(msg))).toBe(false);
  expect(host.log.all.some(({ msg }) => /stopping/.test(msg))).toBe(true);
});
