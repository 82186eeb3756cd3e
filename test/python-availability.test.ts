import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { workerSource } from "./harness/folder.ts";
import { startHaunt } from "./harness/haunt.ts";
import { startHost } from "./harness/host.ts";

const PROPS = { "lab/backend/worker.ts": workerSource(), "old/backend/worker.py": "class Worker: pass" };
const topic = (id: string) => `halloween/${id}/availability`;

test("with python_availability the host repeats there whether its workers are online, and speaks for no others", async () => {
  const args = ["--python-availability"];
  const { broker, client, host, props } = await startHaunt({ props: PROPS, args });
  await client.publish(topic("old"), "online", { retain: true });
  await client.expect(topic("lab"), "online");
  await client.command("worker_host", "stop_worker lab");
  await client.expect(topic("lab"), "offline");
  await client.command("worker_host", "start_worker lab");
  await client.expect(topic("lab"), "online");
  await host.kill();
  await client.expect("halloween/lab/status/availability", "offline");

  // What the killed host left there is set right, also where the worker doesn't come up again.
  const next = await startHost({
    broker,
    props: { "lab/backend/worker.ts": workerSource("async start() { throw new Error('no lamp'); }") },
    args: [...args, "--max-restarts", "0"],
  });
  await client.expect(topic("lab"), "offline");
  await next.stop();
  await startHost({ broker, args: [...args, "--props", props] });
  await client.expect(topic("lab"), "online");
  rmSync(join(props, "lab"), { recursive: true });
  await client.expect(topic("lab"), "");
  expect(client.texts(topic("old"))).toEqual(["online"]);
  expect(client.texts(topic("worker_host"))).toEqual([]);
});

test("at its end the host says there that its workers are offline; without the setting it says nothing there", async () => {
  const { broker, client, host, props } = await startHaunt({ props: PROPS, env: { WORKER_PYTHON_AVAILABILITY: "1" } });
  await client.expect(topic("lab"), "online");
  await host.stop();
  await client.barrier();
  expect(client.texts(topic("lab")).at(-1)).toBe("offline");
  const before = client.texts(topic("lab")).length;
  const silent = await startHost({ broker, args: ["--props", props] });
  await client.expect("halloween/lab/status/availability", "online");
  await silent.stop();
  await client.barrier();
  expect(client.texts(topic("lab")).length).toBe(before);
});
