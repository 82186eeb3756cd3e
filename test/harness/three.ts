import { expect } from "vitest";
import { startBroker } from "./broker.ts";
import { TestClient } from "./client.ts";
import { type Files, workerSource } from "./folder.ts";
import { startHost, type TestHost } from "./host.ts";

export const PING = workerSource(
  "do_ping() { this.telemetry('pong', process.pid); }\n do_stop() { this.telemetry('off', 1); }",
);
export const IMPORTS = `
import { execSync } from "node:child_process";
import { pbkdf2Sync } from "node:crypto";
import { connect } from "node:net";
import inspector from "node:inspector";
import { setTimeout as wait } from "node:timers/promises";
function spin() {
  for (;;);
}
`;
/** A process that hangs is ended after 1 s instead of 5. */
export const ROOMY = { WORKER_STALL_KILL_MS: "1000" };

/** A worker, a bad one, and a third, which all share a process, unless `files` of the props say otherwise. */
export async function startThree(bad: string, env: Record<string, string> = {}, files: Files = {}) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({
    broker,
    props: {
      "a_good/backend/worker.ts": PING,
      "bad/backend/worker.ts": workerSource(bad, IMPORTS),
      "z_good/backend/worker.ts": PING,
      ...files,
    },
    env,
  });
  return { client, host };
}

/** Both good ones are online and answer, from another process, and nothing was said to be wrong with them. */
export async function expectOthersWell(client: TestClient, host: TestHost): Promise<void> {
  await client.barrier();
  for (const id of ["a_good", "z_good"]) {
    const availability = `halloween/${id}/status/availability`;
    while (client.texts(availability).at(-1) !== "online") await client.expect(availability);
    await client.command(id, "ping");
    await client.expect(`halloween/${id}/telemetry/pong`);
    expect(client.texts(availability).at(-1)).toBe("online");
    expect(client.texts(`halloween/${id}/status/error`)).toEqual([]);
    expect(client.texts(`halloween/${id}/status/warn`)).toEqual([]);
  }
  await client.command("worker_host", { action: "list", id: `l${Math.random()}`, reply_to: "halloween/cli/reply/x" });
  await client.expect("halloween/cli/reply/x", /"a_good".*"running"/);
  expect(host.child.exitCode).toBe(null);
}

/** Fulfils when each of these workers has gone offline, since its process was ended, and is online again. */
export async function restarted(client: TestClient, ids = ["a_good", "z_good"]): Promise<void> {
  for (const id of ids) {
    for (const text of ["offline", "online"]) await client.expect(`halloween/${id}/status/availability`, text);
  }
}
