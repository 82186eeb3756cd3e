import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { pipeline } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import { createWebSocketStream, WebSocketServer } from "ws";
import { freePort } from "../bench/ports.mjs";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { doctor, PROPS } from "./harness/doctor.ts";
import { makeFolder, writeFiles } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

test("finds nothing wrong with a good setup, and leaves nothing behind but its own messages", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url, ["#"]);
  const { findings, faults, of } = await doctor({ broker });
  expect(faults).toEqual([]);
  expect(new Set(findings.map(({ what }) => what))).toEqual(
    new Set([
      ...["node", "clock", "settings", "data", "disk", "lock", "temp", "props", "config"],
      ...["broker", "credentials", "rights", "name"],
    ]),
  );
  expect(of("lock")[0]?.text).toMatch(/^no host runs on /);
  await client.barrier();
  const topics = client.seen.all.filter(({ topic }) => topic.startsWith("halloween/"));
  expect(topics.map(({ topic }) => topic).sort()).toEqual([
    "halloween/cli/reply/doctor",
    "halloween/worker_host/status/doctor",
  ]);
  expect(topics.some(({ retain }) => retain)).toBe(false);
});

test("says so in a line for each, for people", async () => {
  const broker = await startBroker();
  const env = { MQTT_HOST: "127.0.0.1", MQTT_PORT: String(broker.port) };
  const { code, stdout } = await runCli(["doctor"], { cwd: makeFolder(PROPS), env });
  expect(code).toBe(0);
  for (const line of stdout.trimEnd().split("\n")) expect(line).toMatch(/^(ok|warn) {1,4}[a-z]+ +\S/);
  expect(stdout).toMatch(/^ok {4}broker {7}connected to mqtt:\/\/127\.0\.0\.1:\d+ in \d+ ms, with MQTT (5|3\.1\.1)$/m);
});

test("a broker is reached over WebSockets, and a token in its URL is shown nowhere", async () => {
  const broker = await startBroker();
  const asked: unknown[] = [];
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" }).on("connection", (socket, { url }) => {
    asked.push(url);
    const stream = createWebSocketStream(socket);
    pipeline(stream, connect(broker.port, "127.0.0.1"), stream, () => socket.terminate());
  });
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/mqtt`;
  const env = { MQTT_URL: `${url}?token=t0psecret` };
  const { code, stdout, stderr } = await runCli(["doctor"], { cwd: makeFolder(PROPS), env });
  expect(code).toBe(0);
  expect(asked[0]).toBe("/mqtt?token=t0psecret");
  expect(stdout).toContain(`connected to ${url} in `);
  expect(stdout + stderr).not.toContain("t0psecret");
});

test("works while a host runs, which doesn't notice", async () => {
  const broker = await startBroker();
  const cwd = makeFolder(PROPS);
  const env = { WORKER_HEALTH_PORT: String(await freePort()) };
  const host = await startHost({ broker, cwd, env });
  const client = await TestClient.connect(broker.url);
  const { faults, of } = await doctor({ broker, cwd, env });
  expect(faults).toEqual([]);
  expect(of("lock")[0]?.text).toContain(`process ${host.pid}, since `);
  expect(of("name")[0]).toMatchObject({ status: "ok", text: 'a host is online under the name "worker_host"' });
  expect(of("health")[0]).toMatchObject({ status: "ok", text: expect.stringContaining("by the host that runs") });
  await client.barrier();
  for (const key of ["warn", "error"]) expect(client.texts(`halloween/worker_host/status/${key}`)).toEqual([]);
});

test("with the embedded broker, looks whether its port is free, and who has it", async () => {
  const port = await freePort();
  const env = { WORKER_BROKER_PORT: String(port) };
  const free = await doctor({ env });
  expect(free.faults).toEqual([]);
  expect(free.of("broker")[0]?.text).toBe(`port ${port} is free for the host to open`);

  const host = await startHost({ cwd: free.cwd, args: ["--broker-port", String(port)] });
  expect((await doctor({ cwd: free.cwd, env })).faults).toEqual([]);
  const elsewhere = await doctor({ env });
  expect(elsewhere.faults).toEqual(["broker"]);
  expect(elsewhere.of("broker")[0]?.text).toContain(`port ${port} is in use by process ${host.pid} (`);
});

test("no broker", async () => {
  const { faults, of } = await doctor({ broker: { port: await freePort() } });
  expect(faults).toEqual(["broker"]);
  expect(of("broker")[0]?.text).toContain("ECONNREFUSED");
});

test("a broker that says nothing", async () => {
  const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { faults, of } = await doctor({ broker: server.address() as { port: number } });
  expect(faults).toEqual(["broker"]);
  expect(of("broker")[0]?.text).toContain("no answer in 3 s");
});

test.each([
  ["a wrong password", { MQTT_USERNAME: "haunt", MQTT_PASSWORD: "wr0ng" }],
  ["none", {}],
])("credentials: %s", async (_what, env) => {
  const broker = await startBroker({ user: { username: "haunt", password: "right" } });
  const { faults, of, findings } = await doctor({ broker, env });
  expect(faults).toEqual(["credentials"]);
  expect(of("credentials")[0]?.text).toContain("wrong or missing credentials");
  expect(JSON.stringify(findings)).not.toContain("wr0ng");
});

test("a data folder that can't be written to", async () => {
  const broker = await startBroker();
  const { faults, of } = await doctor({ broker, files: { data: "a file in its place" } });
  expect(faults).toEqual(["data"]);
  expect(of("data")[0]?.text).toContain("is a file");
  expect((await doctor({ broker, files: { data: "" }, args: ["--data", "data/below"] })).faults).toEqual(["data"]);
});

test("a props folder that can't be read, and one that isn't there", async () => {
  const broker = await startBroker();
  expect((await doctor({ broker, files: { file: "" }, args: ["--props", "file"] })).faults).toEqual(["props"]);
  const missing = await doctor({ broker, args: ["--props", "nowhere"] });
  expect(missing.faults).toEqual([]);
  expect(missing.of("props")[0]?.status).toBe("warn");
});

test("a config that can't be read is told with its worker", async () => {
  const broker = await startBroker();
  const { faults, of } = await doctor({ broker, files: { "props/lab/backend/config.yaml": "a: [1," } });
  expect(faults).toEqual(["config"]);
  expect(of("config")[0]?.text).toMatch(/^lab: props\/lab\/backend\/config\.yaml/);
});

test("settings that are not valid, each", async () => {
  const { faults, of } = await doctor({ env: { MQTT_PORT: "x", WORKER_CLAIM_MS: "soon" } });
  expect(faults).toEqual(["settings", "settings"]);
  expect(
    of("settings")
      .map(({ text }) => text)
      .sort(),
  ).toEqual([
    expect.stringContaining('MQTT_PORT: expected a port from 1 to 65535, got "x"'),
    expect.stringContaining("WORKER_CLAIM_MS: expected a whole number"),
  ]);
});

test("a health port that somebody else has", async () => {
  const broker = await startBroker();
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as { port: number };
  const { faults, of } = await doctor({ broker, env: { WORKER_HEALTH_PORT: String(port) } });
  expect(faults).toEqual(["health"]);
  expect(of("health")[0]?.text).toContain(`port ${port} is in use by process ${process.pid} (`);
});

test("another host under the same name, and a lock that was left behind", async () => {
  const broker = await startBroker();
  await startHost({ broker });
  const { faults, of } = await doctor({ broker, files: { "data/worker-host.lock": "" } });
  expect(faults).toEqual([]);
  expect(of("name")[0]).toMatchObject({
    status: "warn",
    text: expect.stringContaining("none runs on this data folder"),
  });
  expect(of("lock")[0]).toMatchObject({ status: "ok", text: expect.stringContaining("was left behind") });
});

test("a folder in the lock's place", async () => {
  const broker = await startBroker();
  const { faults, of } = await doctor({ broker, files: { "data/worker-host.lock/x": "" } });
  expect(faults).toEqual([]);
  expect(of("lock")[0]).toMatchObject({ status: "warn", text: expect.stringContaining("EISDIR") });
});

test("credentials of the embedded broker that can't be read, while a host runs", async () => {
  const cwd = makeFolder(PROPS);
  const port = String(await freePort());
  await startHost({ cwd, args: ["--broker-port", port] });
  writeFiles(cwd, { "data/broker-credentials.json": "{" });
  const { faults, of } = await doctor({ cwd, env: { WORKER_BROKER_PORT: port } });
  expect(faults).toEqual(["credentials"]);
  expect(of("credentials")[0]?.text).toContain("broker-credentials.json");
});
