import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";

const DEEP = `${"[".repeat(30_000)}${"]".repeat(30_000)}`;

const BODY = `
  @command({ args: z.json() }) do_any() {}
  @command({ args: z.string().transform(() => { throw new Error("no fog"); }) }) do_broken() {}
  do_ping() { this.telemetry("pong", 1); }`;

async function lab() {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const source = workerSource(BODY, 'import { command, z } from "worker-host";');
  const host = await startHost({ broker, props: { "lab/backend/worker.ts": source } });
  await client.expect("halloween/lab/status/availability", "online");
  return { client, host };
}

test("a command that is nested deep ends neither worker nor host", async () => {
  const { client } = await lab();
  for (const payload of [`{"action": ${DEEP}}`, `{"action": "any", "args": ${DEEP}}`, `any ${DEEP}`]) {
    await client.command("lab", payload);
    await client.expect("halloween/lab/status/warn", /nested more than 100 levels deep/);
  }
  await client.command("lab", "ping");
  await client.expect("halloween/lab/telemetry/pong");
  await client.command("worker_host", `{"action": ${DEEP}}`);
  await client.expect("halloween/worker_host/status/warn", /nested more than 100 levels deep/);
  await client.command("worker_host", { action: "list", id: "a1", reply_to: "halloween/cli/reply/a1" });
  await client.expect("halloween/cli/reply/a1", /"ok"/);
});

test("a reply that would end the worker's connection is refused", async () => {
  const { client } = await lab();
  for (const name of ["\uffff", "a/".repeat(120)]) {
    await client.command("lab", { action: "ping", reply_to: `halloween/cli/reply/${name}` });
    await client.expect("halloween/lab/status/warn", /a reply can't go to/);
  }
  await client.command("lab", "ping");
  await client.expect("halloween/lab/telemetry/pong");
  expect(client.texts("halloween/lab/status/availability")).toEqual(["online"]);
});

test("a schema that throws refuses the command in words, and the worker goes on", async () => {
  const { client } = await lab();
  await client.command("lab", { action: "broken", args: "x", id: "a1", reply_to: "halloween/cli/reply/a1" });
  const reply = JSON.parse(await client.expect("halloween/cli/reply/a1"));
  expect(reply).toMatchObject({ status: "error", error: "broken refused: its schema can't check this: Error: no fog" });
  await client.command("lab", "ping");
  await client.expect("halloween/lab/telemetry/pong");
});
