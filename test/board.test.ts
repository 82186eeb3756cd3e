import { expect, test } from "vitest";
import type { HostDescription } from "../worker-host/contract/description.ts";
import { FakeBoard } from "./harness/board.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";
import { leaveOnline } from "./harness/roll-call.ts";
import { PATIENCE_MS } from "./harness/wait.ts";

const PING = workerSource("do_ping() { this.telemetry('pong', 'worker'); }");
const FOGGER = { "fogger/backend/worker.ts": PING };
const BOTH = { ...FOGGER, "lab/backend/worker.ts": PING };
const ERROR = "halloween/worker_host/status/error";
const DESCRIPTION = "halloween/worker_host/description";
const RUNSTATE = "halloween/fogger/status/runstate";
const AVAILABILITY = "halloween/fogger/status/availability";

const RENAME = 'rename it with "npx worker-host board rename fogger fogger_hw"';
const TAKEN = `a board has the id "fogger": ${RENAME}, then this worker starts`;

/** What the host says of the fogger, once that matches. */
async function described(client: TestClient, expected: object): Promise<void> {
  const matches = (text: string) => {
    const fogger = (JSON.parse(text) as HostDescription).workers.find(({ id }) => id === "fogger");
    return Object.entries(expected).every(([key, value]) => Reflect.get(fogger ?? {}, key) === value);
  };
  while (!matches(await client.expect(DESCRIPTION)));
}

/** Fulfils when the worker of the fogger runs, and answers. */
async function answers(client: TestClient): Promise<void> {
  while (!client.texts(RUNSTATE).at(-1)?.includes('"running"')) await client.expect(RUNSTATE);
  await client.command("fogger", "ping");
  await client.expect("halloween/fogger/telemetry/pong", "worker");
}

test.each(["reply", "telemetry"] as const)(
  "a worker whose id a live board has, which answers a ping with a %s, is failed, and starts when the board is renamed",
  async (ping) => {
    const broker = await startBroker();
    const board = await FakeBoard.start(broker.url, "fogger", { ping });
    const client = await TestClient.connect(broker.url);
    const host = await startHost({ broker, props: BOTH });
    await client.expect(ERROR, TAKEN);
    expect(await host.ready()).toMatchObject({ running: 1, failed: 1 });
    await described(client, { state: "failed", detail: TAKEN });
    await client.barrier();
    // Nothing is said on the board's topics.
    expect(client.texts(RUNSTATE)).toEqual([]);
    expect(client.texts("halloween/fogger/status/error")).toEqual([]);
    expect(client.texts(AVAILABILITY)).toEqual(["online"]);

    const reply = "halloween/cli/reply/1";
    await client.command("worker_host", { action: "restart_worker", args: "fogger", reply_to: reply });
    expect(JSON.parse(await client.expect(reply))).toMatchObject({ status: "error", error: TAKEN });

    await client.command("fogger", "rename fogger_hw");
    await client.expect("halloween/fogger_hw/status/availability", "online");
    await answers(client);
    await described(client, { state: "running", board: "online" });
    expect(board.id).toBe("fogger_hw");
    expect(client.texts(ERROR)).toEqual([TAKEN, `restart_worker: ${TAKEN}`]);
  },
);

test("who answers under a worker's id and doesn't describe itself as a board is named otherwise; its will frees the id", async () => {
  const broker = await startBroker();
  const board = await FakeBoard.start(broker.url, "fogger", { description: "" });
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, props: FOGGER });
  await client.expect(
    ERROR,
    'something answers under the id "fogger" that doesn\'t say it is a board: give it another id, such as fogger_hw, then this worker starts',
  );
  expect(board.actions).toEqual(["ping"]);
  await board.die();
  await answers(client);
});

test("what the broker merely shows online keeps no worker from starting, nor does a board that answers nothing", async () => {
  const broker = await startBroker();
  await leaveOnline(broker.url, "lab");
  const board = await FakeBoard.start(broker.url, "fogger", { ping: "never" });
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props: BOTH });
  expect(await host.ready()).toMatchObject({ running: 2, failed: 0 });
  await answers(client);
  await client.expect("halloween/lab/status/runstate", /"running"/);
  // One of them is ours, and each subscriber gets it in its own time.
  const pings = () => board.actions.filter((action) => action === "ping").length;
  await expect.poll(pings, { timeout: PATIENCE_MS }).toBe(2);
});

test("a worker that somebody stopped is not started when the board leaves", async () => {
  const broker = await startBroker();
  const board = await FakeBoard.start(broker.url, "fogger");
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, props: FOGGER });
  await client.expect(ERROR, TAKEN);
  await client.command("worker_host", "stop_worker fogger");
  await described(client, { state: "stopped" });
  await board.leave();
  await client.command("worker_host", { action: "rescan", reply_to: "halloween/cli/reply/1" });
  await client.expect("halloween/cli/reply/1", /"ok"/);
  expect(client.texts(RUNSTATE)).toEqual([]);
  await client.command("worker_host", "start_worker fogger");
  await answers(client);
});

test("a worker runs on beside a board that appears under its id; that is said once for each time, and undone at its rename", async () => {
  const words = `a board came online as "fogger", whose worker runs here: ${RENAME}`;
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, props: FOGGER });
  await answers(client);
  const board = await FakeBoard.start(broker.url, "fogger");
  await client.expect(ERROR, words);
  await board.publish("halloween/fogger/description", '{"board": "esp32", "commands": {}}');
  await board.die();
  for (const text of ["offline", "online"]) await client.expect(AVAILABILITY, text);
  expect(client.texts(ERROR)).toEqual([words]);

  const second = await FakeBoard.start(broker.url, "fogger");
  await client.expect(ERROR, words);
  await second.leave();
  for (const text of ["", "online"]) await client.expect(AVAILABILITY, text);
  await answers(client);
  expect(client.texts(ERROR)).toEqual([words, words]);
  expect(JSON.parse(client.texts(RUNSTATE).at(-1) ?? "")).toMatchObject({ state: "running" });
});

test("a host that is stopped while it waits for an answer ends at once, and doesn't start the worker", async () => {
  const broker = await startBroker();
  const board = await FakeBoard.start(broker.url, "fogger", { ping: "never" });
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props: FOGGER, dontWait: true });
  await client.expect("halloween/fogger/cmd", /"ping"/);
  expect(await host.stop()).toEqual({ code: 0, signal: null });
  await client.barrier();
  expect(client.texts("halloween/fogger/cmd").length).toBe(1);
  expect(client.texts(AVAILABILITY)).toEqual(["online"]);
  expect(client.texts("halloween/fogger/description").length).toBe(1);
  await expect.poll(() => board.actions, { timeout: PATIENCE_MS }).toEqual(["ping"]);
});

test("a worker that waits for its id starts though the board left while the broker was away", async () => {
  const broker = await startBroker({ persistent: true });
  const board = await FakeBoard.start(broker.url, "fogger");
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props: FOGGER });
  await client.expect(ERROR, TAKEN);
  await broker.stop();
  await board.die();
  await broker.start();
  await host.logged(/^connected to .* again$/);
  const late = await TestClient.connect(broker.url);
  await answers(late);
});

const NO_BOARDS: [what: string, description: string | Buffer][] = [
  ["not JSON", "{oops"],
  ["no object", "null"],
  ["a board that is no text", '{"board": {"a": 1}}'],
  ["a board without a name", '{"board": ""}'],
  ["nested too deep", `{"board": ${"[".repeat(30_000)}${"]".repeat(30_000)}}`],
  ["too long", JSON.stringify({ board: "esp32", more: "x".repeat(70_000) })],
  ["bytes", Buffer.from([0xff, 0xfe, 0x00])],
];

test("a description that describes no board is no board's, and harms nobody", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props: FOGGER });
  await answers(client);
  for (const [what, description] of NO_BOARDS) {
    for (const id of ["fogger", "constructor", "__proto__", "x".repeat(300), "fogger_hw"])
      await client.publish(`halloween/${id}/description`, description);
    await described(client, { board: "offline" });
    await answers(client);
    expect(client.texts(ERROR), what).toEqual([]);
    await client.publish("halloween/fogger_hw/description", "");
    await described(client, { board: undefined });
  }
  expect(host.child.exitCode).toBe(null);
});

test("the host's description tells of each prop's board: online, offline or missing, and of props that are a board alone", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = {
    ...BOTH,
    "fogger/firmware/firmware.ino": "",
    "panic_button/firmware/firmware.ino": "",
    "_draft/firmware/firmware.ino": "",
    "bad id/firmware/firmware.ino": "",
    "notes/firmware/README.md": "",
  };
  const host = await startHost({ broker, props });
  await described(client, { state: "running", board: "missing" });
  const { boards, workers } = JSON.parse(client.texts(DESCRIPTION).at(-1) ?? "") as HostDescription;
  expect(boards).toEqual([{ id: "panic_button", availability: "missing" }]);
  expect(workers.map(({ id, board }) => [id, board])).toEqual([
    ["fogger", "missing"],
    ["lab", undefined],
  ]);
  expect(host.log.all.filter(({ level }) => level > 30)).toEqual([]);

  const board = await FakeBoard.start(broker.url, "fogger_hw");
  await described(client, { board: "online" });
  await board.die();
  await described(client, { board: "offline" });
  await FakeBoard.start(broker.url, "panic_button");
  await client.expect(DESCRIPTION, /"boards":\[\{"id":"panic_button","availability":"online"\}\]/);
  expect(client.texts(ERROR)).toEqual([]);
});
