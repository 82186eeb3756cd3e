import { join } from "node:path";
import { expect, test } from "vitest";
import { SeenJournal } from "../worker-host/commands/seen-ids.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";

const COUNTER = workerSource(
  "n = 0; do_fire() { this.telemetry('fired', ++this.n); } do_die() { process.getBuiltinModule('node:child_process').spawn('kill', ['-SEGV', '' + process.pid]); }",
);

async function start(config: Record<string, string> = {}) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props: { "lab/backend/worker.ts": COUNTER, ...config } });
  const fire = async (id: string) => {
    await client.command("lab", { action: "fire", id, reply_to: `halloween/cli/reply/${id}` });
    return JSON.parse(await client.expect(`halloween/cli/reply/${id}`)) as { status: string; error?: string };
  };
  return { broker, client, host, fire };
}

const AGAIN = { status: "error", error: '"fire" refused: a command with the id "a" has run already', refused: true };

test("a command whose id has run already is refused; one without an id is not", async () => {
  const { client, fire } = await start();
  expect(await fire("a")).toMatchObject({ status: "ok" });
  expect(await fire("a")).toMatchObject(AGAIN);
  await client.expect("halloween/lab/status/warn", AGAIN.error);
  expect(await fire("b")).toMatchObject({ status: "ok" });
  for (let i = 0; i < 2; i++) await client.command("lab", "fire");
  await client.expect("halloween/lab/telemetry/fired", "4");
  await client.barrier();
  expect(client.texts("halloween/lab/telemetry/fired")).toEqual(["1", "2", "3", "4"]);
});

test("the ids outlive the worker's restart, its move to a process of its own, and its crash", async () => {
  const { client, fire } = await start({ "lab/backend/config.yaml": "{}" });
  const running = async () => {
    for (const text of ["offline", "online"]) await client.expect("halloween/lab/status/availability", text);
  };
  expect(await fire("a")).toMatchObject({ status: "ok" });

  await client.command("worker_host", "restart_worker lab");
  await running();
  expect(await fire("a")).toMatchObject(AGAIN);

  await client.command("lab", { action: "die", id: "d" });
  await client.expect("halloween/lab/status/error", /the process of lab died \(signal SIGSEGV\), last in do_die/);
  await running();
  expect(await fire("a")).toMatchObject(AGAIN);
  // Nor does the command that killed it kill it again.
  await client.command("lab", { action: "die", id: "d", reply_to: "halloween/cli/reply/d" });
  await client.expect("halloween/cli/reply/d", /has run already/);

  await client.command("worker_host", {
    action: "configure",
    args: { id: "lab", config: { worker: { isolation: "own" } } },
  });
  await running();
  expect(await fire("a")).toMatchObject(AGAIN);
});

test("the ids come along to a process of its own, and back to the one that knows the worker from before", async () => {
  // The other one keeps the process that they share.
  const { client, fire } = await start({ "lab/backend/config.yaml": "{}", "other/backend/worker.ts": COUNTER });
  const moveTo = async (isolation: "own" | "shared") => {
    await client.command("worker_host", {
      action: "configure",
      args: { id: "lab", config: { worker: { isolation } } },
    });
    for (const text of ["offline", "online"]) await client.expect("halloween/lab/status/availability", text);
  };
  expect(await fire("a")).toMatchObject({ status: "ok" });
  await moveTo("own");
  expect(await fire("a")).toMatchObject(AGAIN);
  expect(await fire("b")).toMatchObject({ status: "ok" });
  await moveTo("shared");
  expect(await fire("a")).toMatchObject(AGAIN);
  expect(await fire("b")).toMatchObject({ status: "error", refused: true });
});

test("what its host tells a process of a worker's ids, be it old or new, takes none of the last 1024 out", () => {
  const idsOf = (name: string) => Array.from({ length: 1024 }, (_, i) => `${name}${i}`);
  const journal = new SeenJournal(join(makeFolder(), "seen"), (error) => expect.fail(String(error)));
  const seen = journal.of("lab", idsOf("early"));
  for (const id of idsOf("here")) seen.take(id);
  // A host says at each start what it heard last, which may be long ago.
  journal.of("lab", idsOf("early"));
  expect(idsOf("here").every((id) => seen.has(id))).toBe(true);
  journal.of("lab", idsOf("elsewhere"));
  expect([...idsOf("here"), ...idsOf("elsewhere")].every((id) => seen.has(id))).toBe(true);
  for (const id of idsOf("then").slice(1)) seen.take(id);
  expect(seen.has("elsewhere1023")).toBe(true);
});

test("the last 1024 of them are remembered", async () => {
  const { client, fire } = await start();
  expect(await fire("a")).toMatchObject({ status: "ok" });
  for (let i = 0; i < 1023; i++) {
    // A hundred at a time: more of them than may run at once would be refused, and a refused one isn't remembered.
    if (i % 100 === 0) await fire(`n${i}`);
    else await client.command("lab", { action: "fire", id: `n${i}` });
  }
  expect(await fire("a")).toMatchObject(AGAIN);
  expect(await fire("one more")).toMatchObject({ status: "ok" });
  expect(await fire("a")).toMatchObject({ status: "ok" });
});

test("what a worker ran in a process of its own is not forgotten where another leaves the one that it was in before", async () => {
  const good = workerSource("do_ping() { this.telemetry('pong', 1); }");
  const { client, fire } = await start({ "lab/backend/config.yaml": "{}", "good/backend/worker.ts": good });
  const tell = async (action: string, args: unknown) => {
    await client.command("worker_host", { action, args, reply_to: `halloween/cli/reply/${action}` });
    expect(await client.expect(`halloween/cli/reply/${action}`)).toContain('"ok"');
  };
  expect(await fire("before")).toMatchObject({ status: "ok" });
  const running = async () => {
    for (const text of ["offline", "online"]) await client.expect("halloween/lab/status/availability", text);
  };
  await tell("configure", { id: "lab", config: { worker: { isolation: "own" } } });
  await running();
  expect(await fire("a")).toMatchObject({ status: "ok" });
  await client.command("lab", "die");
  await client.expect("halloween/lab/status/error", /the process of lab died .*starting it again/);
  await tell("stop_worker", "good");
  await running();
  expect(await fire("a")).toMatchObject(AGAIN);
});
