import { once } from "node:events";
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { makeFolder, workerSource } from "../harness/folder.ts";
import { runCli, startHost, type TestHost } from "../harness/host.ts";

const PROPS = { "lab/backend/worker.ts": workerSource("do_ping() { this.telemetry('pong', 1); }") };

test("a host that stands still: its workers say so, once, and its health check fails; they say when it is back", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props: PROPS });
  onTestFinished(() => void process.kill(host.pid, "SIGCONT"));
  process.kill(host.pid, "SIGSTOP");
  const warn = "halloween/lab/status/warn";
  await client.expect(warn, "the host has said nothing for 10 s: it hears no all-stop, and restarts nothing", 40_000);
  const { code } = await runCli(["list", "--running", "--mqtt-url", broker.url], { takesMs: 10_000 });
  expect(code).toBe(1);
  process.kill(host.pid, "SIGCONT");
  await client.expect(warn, "the host is there again");
  await client.command("lab", "ping");
  await client.expect("halloween/lab/telemetry/pong");
  expect(client.texts(warn)).toHaveLength(2);
});

test("where systemd watches the host, it is told that the host goes on, from its event loop", async () => {
  const folder = makeFolder({ "systemd-notify": '#!/bin/sh\necho "$@" >> "$TOLD"\n', told: "" });
  chmodSync(join(folder, "systemd-notify"), 0o755);
  const TOLD = join(folder, "told");
  const env = { TOLD, PATH: `${folder}:${process.env.PATH}`, NOTIFY_SOCKET: "/run/notify", WATCHDOG_USEC: "300000" };
  const host = await startHost({ env });
  const told = () => readFileSync(TOLD, "utf8").trim().split("\n");
  while (told().length < 5) await new Promise((resolve) => setTimeout(resolve, 50));
  expect([...new Set(told())]).toEqual(["WATCHDOG=1"]);
  process.kill(host.pid, "SIGSTOP");
  onTestFinished(() => void process.kill(host.pid, "SIGCONT"));
  // What was on its way has come.
  await new Promise((resolve) => setTimeout(resolve, 500));
  const count = told().length;
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(told()).toHaveLength(count);
  process.kill(host.pid, "SIGCONT");
});

/** Has a host throw in a timer, where nothing catches it. */
async function throwIn(host: TestHost): Promise<void> {
  process.kill(host.pid, "SIGUSR1");
  let url: string | undefined;
  while (url === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    url = /^Debugger listening on (ws:\S+)$/m.exec(host.stderr)?.[1];
  }
  const socket = new WebSocket(url);
  onTestFinished(() => socket.terminate());
  await once(socket, "open");
  const expression = "setTimeout(() => { throw new Error('a fault') }, 1); void Promise.reject(new Error('another'))";
  socket.send(JSON.stringify({ id: 1, method: "Runtime.evaluate", params: { expression } }));
}

test("an error that nothing in the host catches is told, and ends nothing", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props: PROPS, env: { NODE_OPTIONS: "--inspect-port=0" } });
  await throwIn(host);
  for (const fault of ["another", "a fault"])
    await client.expect(
      "halloween/worker_host/status/error",
      new RegExp(`^an error of the host itself: Error: ${fault}`),
    );
  await client.command("worker_host", "all_stop");
  await client.expect("halloween/worker_host/status/all_stop", "engaged");
  expect(host.child.exitCode).toBe(null);
});
