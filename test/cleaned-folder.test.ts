import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";

test("where the folder of the bundles was removed, workers are built anew and come back after a crash", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const TMPDIR = makeFolder();
  const source = workerSource("do_ping(n: number) { this.telemetry('pong' + n, process.pid); }");
  const ids = ["a", "b", "c"];
  const props = Object.fromEntries(ids.map((id) => [`${id}/backend/worker.ts`, source]));
  const host = await startHost({ broker, props, env: { TMPDIR } });
  await client.command("a", "ping 1");
  const pid = Number(await client.expect("halloween/a/telemetry/pong1"));
  const data = join(host.cwd, "data");
  for (const folder of [data, TMPDIR])
    for (const name of readdirSync(folder).filter(
      (each) => /^(\.run-|worker-host-)/.test(each) && each !== "worker-host.lock",
    ))
      rmSync(join(folder, name), { recursive: true });
  process.kill(pid, "SIGKILL");
  for (const id of ids) {
    await client.expect(`halloween/${id}/status/availability`, "offline");
    await client.expect(`halloween/${id}/status/availability`, "online");
    await client.command(id, "ping 2");
    await client.expect(`halloween/${id}/telemetry/pong2`);
  }
  // So does one that is started anew, and one whose config is looked at.
  for (const name of readdirSync(data).filter((each) => each.startsWith(".run-")))
    rmSync(join(data, name), { recursive: true });
  await client.command("worker_host", {
    action: "restart_worker",
    args: "b",
    id: "r1",
    reply_to: "halloween/cli/reply/r1",
  });
  expect(await client.expect("halloween/cli/reply/r1")).toContain('"ok"');
  await client.command("b", "ping 3");
  await client.expect("halloween/b/telemetry/pong3");
});
