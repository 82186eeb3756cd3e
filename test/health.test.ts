import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource, writeFiles } from "./harness/folder.ts";
import { ROOT, startHost, type TestHost } from "./harness/host.ts";
import { startProxy } from "./harness/proxy.ts";

const HEALTH = { WORKER_HEALTH_PORT: "0" };
const BUSY = workerSource(`
  do_ping() { this.telemetry("pong", process.pid); }
  do_bad() { throw new Error("out of fog"); }
  async do_slow() { await this.sleep(30); this.telemetry("pong", "slow"); }
  do_die() { process.getBuiltinModule("node:child_process").execFileSync("kill", ["-KILL", "" + process.pid]); }
  do_hang() { for (;;); }
`);

async function healthUrl(host: TestHost): Promise<string> {
  return String((await host.logged(/^health is served at http:/)).url);
}

async function get(url: string): Promise<{ code: number; body: Record<string, unknown> }> {
  const response = await fetch(url);
  return { code: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** Asks until the answer is that one. */
async function until(url: string, code: number): Promise<Record<string, unknown>> {
  for (;;) {
    const answer = await get(url);
    if (answer.code === code) return answer.body;
  }
}

/** The lines of /metrics, by all that stands before the value. */
async function metricsOf(url: string): Promise<Map<string, number>> {
  const response = await fetch(`${url}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const lines = (await response.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]));
}

test("is off unless its port is set, and loads nothing then", async () => {
  const host = await startHost({ args: ["--log-level", "debug"] });
  expect(host.log.all.filter(({ msg }) => msg.includes("health"))).toEqual([]);
  const code = readFileSync(`${ROOT}worker-host/host/http/health.ts`, "utf8");
  expect(code).not.toMatch(/^import (?!type ).*(health-server|metrics)/m);
});

test("tells that it is alive and ready while its workers run, and who is missing when one fails", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const folder = makeFolder();
  const fickle = workerSource(
    `start() { if (existsSync("${folder}/broken")) throw new Error("no air"); }`,
    'import { existsSync } from "node:fs";',
  );
  const host = await startHost({
    broker,
    props: { "lab/backend/worker.ts": fickle, "off/backend/worker.ts": BUSY, "skipped/backend/worker.ts": BUSY },
    env: { ...HEALTH, WORKER_PROPS_DISABLE: "skipped", WORKER_MAX_RESTARTS: "0" },
  });
  const url = await healthUrl(host);
  expect(await get(`${url}/healthz`)).toMatchObject({ code: 200, body: { status: "ok", version: expect.any(String) } });
  expect(await get(`${url}/readyz`)).toEqual({
    code: 200,
    body: { ready: true, broker: "connected", active: true, missing: [] },
  });

  writeFiles(folder, { broken: "" });
  await client.command("worker_host", "restart_worker lab");
  await client.expect("halloween/lab/status/runstate", /"failed"/);
  const missing = [{ id: "lab", state: "failed", detail: expect.stringContaining("no air") }];
  expect(await get(`${url}/readyz`)).toMatchObject({ code: 503, body: { ready: false, missing } });
  expect((await get(`${url}/healthz`)).code).toBe(200);
  rmSync(join(folder, "broken"));
  await client.command("worker_host", "restart_worker lab");
  await client.expect("halloween/lab/status/runstate", /"running"/);
  expect((await get(`${url}/readyz`)).code).toBe(200);

  await client.command("worker_host", "stop_worker off");
  await client.expect("halloween/off/status/runstate", /"stopped"/);
  expect(await get(`${url}/readyz`)).toMatchObject({ code: 200, body: { missing: [] } });
});

test("is not ready while a worker can't be loaded, and says why", async () => {
  const broker = await startBroker();
  const props = { "good/backend/worker.ts": BUSY, "bad/backend/worker.ts": "export const nothing = 1;" };
  const host = await startHost({ broker, props, env: HEALTH });
  const { code, body } = await get(`${await healthUrl(host)}/readyz`);
  expect(code).toBe(503);
  expect(body).toEqual({
    ready: false,
    broker: "connected",
    active: true,
    missing: [{ id: "bad", state: "failed", detail: expect.stringContaining("worker.ts") }],
  });
});

test("is alive before there is a broker and while it is away, and ready only with it", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  await proxy.stop();
  const host = await startHost({
    props: { "lab/backend/worker.ts": BUSY },
    args: ["--mqtt-host", "127.0.0.1", "--mqtt-port", String(proxy.port)],
    env: HEALTH,
    dontWait: true,
  });
  const url = await healthUrl(host);
  expect((await get(`${url}/healthz`)).code).toBe(200);
  expect(await get(`${url}/readyz`)).toMatchObject({ code: 503, body: { broker: "away" } });
  await proxy.start();
  await until(`${url}/readyz`, 200);
  expect((await metricsOf(url)).get("worker_host_broker_connected")).toBe(1);
  await proxy.stop();
  expect(await until(`${url}/readyz`, 503)).toMatchObject({ ready: false, broker: "away" });
  expect((await get(`${url}/healthz`)).code).toBe(200);
  expect((await metricsOf(url)).get("worker_host_broker_connected")).toBe(0);
  await proxy.start();
  await until(`${url}/readyz`, 200);
});

test("counts what workers do, and forgets them with their props", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = makeFolder({ "lab/backend/worker.ts": BUSY, "other/backend/worker.ts": BUSY });
  const host = await startHost({ broker, args: ["--props", props], env: HEALTH });
  const url = await healthUrl(host);
  await client.command("lab", { action: "ping", reply_to: "halloween/cli/reply/first" });
  await client.expect("halloween/cli/reply/first");
  const before = await metricsOf(url);
  const lab = (name: string, labels = "") => `worker_host_${name}{worker="lab"${labels}}`;
  expect(before.get(lab("worker_running"))).toBe(1);
  expect(before.get(lab("command_duration_seconds_count"))).toBe(1);

  for (const command of ["ping", "ping", "slow", "bad", "dance"]) {
    const reply_to = `halloween/cli/reply/${Math.random()}`;
    await client.command("lab", { action: command, reply_to });
    await client.expect(reply_to);
  }
  const after = await metricsOf(url);
  const rise = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0);
  // Its own availability comes back to it at some time, and counts as a message too.
  expect(rise(lab("messages_received_total"))).toBeGreaterThanOrEqual(5);
  // Replies and pongs; a warning and an error.
  expect(rise(lab("messages_sent_total"))).toBeGreaterThanOrEqual(10);
  expect(rise(lab("commands_refused_total"))).toBe(1);
  expect(rise(lab("handler_errors_total"))).toBe(1);
  expect(rise(lab("command_duration_seconds_count"))).toBe(4);
  expect(rise(lab("command_duration_seconds_bucket", ',le="0.01"'))).toBeLessThanOrEqual(3);
  expect(rise(lab("command_duration_seconds_bucket", ',le="10"'))).toBe(4);
  expect(rise(lab("command_duration_seconds_bucket", ',le="+Inf"'))).toBe(4);
  expect(rise(lab("command_duration_seconds_sum"))).toBeGreaterThan(0.028);
  expect(after.get('worker_host_handler_errors_total{worker="other"}')).toBe(0);
  expect(after.get('worker_host_workers{state="running"}')).toBe(2);
  expect(after.get('worker_host_resident_memory_bytes{process="host"}')).toBeGreaterThan(1e7);
  expect(after.get('worker_host_resident_memory_bytes{process="shared"}')).toBeGreaterThan(1e7);
  expect(after.get('worker_host_event_loop_delay_seconds{quantile="0.99"}')).toBeGreaterThanOrEqual(0);
  expect(after.get('worker_host_own_messages_total{kind="sent"}')).toBeGreaterThan(0);

  await client.command("lab", "die");
  for (const text of ["offline", "online"]) await client.expect("halloween/lab/status/availability", text);
  await until(`${url}/readyz`, 200);
  const restarted = await metricsOf(url);
  expect(restarted.get(lab("restarts_total"))).toBe(1);
  expect(restarted.get("worker_host_process_deaths_total")).toBe(1);
  expect(restarted.get(lab("command_duration_seconds_count"))).toBeGreaterThanOrEqual(4);

  rmSync(join(props, "lab"), { recursive: true });
  await client.command("worker_host", "rescan");
  await client.expect("halloween/lab/status/runstate", "");
  expect([...(await metricsOf(url)).keys()].filter((line) => line.includes('"lab"'))).toEqual([]);
});

test("counts a process that hung, and answers meanwhile", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({
    broker,
    props: { "lab/backend/worker.ts": BUSY },
    env: { ...HEALTH, WORKER_STALL_KILL_MS: "1000" },
  });
  const url = await healthUrl(host);
  await client.command("lab", "hang");
  await metricsOf(url);
  await client.expect("halloween/lab/status/error", /hangs/);
  const metrics = await metricsOf(url);
  expect(metrics.get("worker_host_stall_warnings_total")).toBeGreaterThanOrEqual(1);
  expect(metrics.get("worker_host_stalls_total")).toBe(1);
});

test("answers GET at its three paths only, and reads no body", async () => {
  const url = await healthUrl(await startHost({ env: HEALTH }));
  const there = "there are /healthz, /readyz, /metrics";
  expect(await get(`${url}/`)).toEqual({ code: 404, body: { error: there } });
  expect(await get(`${url}/healthz/constructor`)).toEqual({ code: 404, body: { error: there } });
  for (const method of ["POST", "HEAD", "PUT", "DELETE", "OPTIONS"]) {
    expect((await fetch(`${url}/metrics`, { method })).status, method).toBe(405);
    expect((await fetch(`${url}/nothing`, { method })).status, method).toBe(404);
  }
  // A body that never comes.
  const posting = request(`${url}/metrics`, { method: "POST", headers: { "content-length": "1000000" } });
  posting.on("error", () => {});
  posting.write("x");
  const [{ statusCode }] = (await once(posting, "response")) as [{ statusCode: number }];
  expect(statusCode).toBe(405);
  posting.destroy();
});

test("a client that is slow, or says nothing, is let go; one that says too much too", async () => {
  const url = new URL(await healthUrl(await startHost({ env: HEALTH })));
  const open = (text: string) => {
    const socket = connect(Number(url.port), url.hostname, () => socket.write(text));
    socket.on("error", () => {});
    let said = "";
    socket.on("data", (data) => {
      said += String(data);
    });
    onTestFinished(() => void socket.destroy());
    return once(socket, "close").then(() => said.split("\r\n")[0]);
  };
  expect(
    await Promise.all([open(""), open("GET /hea"), open(`GET /healthz HTTP/1.1\r\nx: ${"a".repeat(20_000)}\r\n\r\n`)]),
  ).toEqual(["", expect.stringMatching(/^$|^HTTP\/1.1 408 /), "HTTP/1.1 431 Request Header Fields Too Large"]);
  expect((await get(`${url.origin}/healthz`)).code).toBe(200);
});

test("answers though sixty requests lie there that were begun and not ended", async () => {
  const url = new URL(await healthUrl(await startHost({ env: HEALTH })));
  const half = await Promise.all(
    Array.from({ length: 60 }, async () => {
      const socket = connect(Number(url.port), url.hostname);
      socket.on("error", () => {});
      onTestFinished(() => void socket.destroy());
      await once(socket, "connect");
      socket.write("GET /healthz HTTP/1.1\r\n");
      return socket;
    }),
  );
  expect((await get(`${url.origin}/healthz`)).code).toBe(200);
  expect(half.filter(({ destroyed }) => !destroyed).length).toBeLessThanOrEqual(60);
});

test("a port that is in use is a clear error at the start", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as { port: number };
  const host = await startHost({ env: { WORKER_HEALTH_PORT: String(port) }, dontWait: true });
  expect(await host.exit).toEqual({ code: 1, signal: null });
  expect(host.stderr).toBe(
    `the health port ${port} at 127.0.0.1 is in use: set WORKER_HEALTH_PORT to another one, or leave it out\n`,
  );
});

test("an address that is not this machine's is a clear error at the start", async () => {
  const host = await startHost({ env: { ...HEALTH, WORKER_HEALTH_HOST: "192.0.2.1" }, dontWait: true });
  expect(await host.exit).toEqual({ code: 1, signal: null });
  expect(host.stderr).toContain("set WORKER_HEALTH_HOST to an address of this machine");
});
