import { expect } from "vitest";
import { startBroker } from "./broker.ts";
import { TestClient } from "./client.ts";
import { workerSource } from "./folder.ts";
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
export const ROOMY = { WORKER_STALL_KILL_MS: "1000" };

/** A worker, a bad one, and a third, which all share a process. */
export async function startThree(bad: string, env: Record<string, string> = ROOMY) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({
    broker,
    props: {
      "a_good/backend/worker.ts": PING,
      "bad/backend/worker.ts": workerSource(bad, IMPORTS),
      "z_good/backend/worker.ts": PING,
    },
    env,
  });
  return { client, host };
}

/** Both good ones are online and answer, from another process, and nothing was said to be wrong with them. */
export async function expectOthersWell(client: TestClient, host: TestHost): Promise<void> {
  await client.barrier();
  for (const id of ["a_good", "z_good"]) {
    await client.seen.find(
      ({ topic, text }) => topic === `halloween/${id}/status/availability` && text === "online",
      `${id} online`,
    );
    await client.command(id, "ping");
    await client.expect(`halloween/${id}/telemetry/pong`);
    expect(client.texts(`halloween/${id}/status/availability`).at(-1)).toBe("online");
    expect(client.texts(`halloween/${id}/status/error`)).toEqual([]);
    expect(client.texts(`halloween/${id}/status/warn`)).toEqual([]);
  }
  await client.command("worker_host", { action: "list", id: `l${Math.random()}`, reply_to: "halloween/cli/reply/x" });
  await client.expect("halloween/cli/reply/x", /"a_good".*"running"/);
  expect(host.child.exitCode).toBe(null);
}

/** Says that each of the others has come up again, once the bad one's process has been ended. */
export function restarted(client: TestClient): Promise<unknown> {
  return Promise.all(
    ["a_good", "z_good"].map((id) => client.expectSeries(`halloween/${id}/status/availability`, "offline", "online")),
  );
}
