import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { systemClock } from "../worker-host/base/clock.ts";
import { renameBoard } from "../worker-host/cli/simulation.ts";
import type { WorkerSummary } from "../worker-host/contract/description.ts";
import { resolveSettings } from "../worker-host/host/settings/settings.ts";
import { FakeBoard } from "./harness/board.ts";
import { BROKER, startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";
import { leaveOnline } from "./harness/roll-call.ts";

const FOGGER = { "fogger/backend/worker.ts": workerSource("do_ping() { this.telemetry('pong', 'worker'); }") };

const rename = (url: string, ...args: string[]) => runCli(["board", "rename", ...args, "--mqtt-url", url]);
const refused = (why: string) => ({ code: 1, stdout: "", stderr: `not renamed: ${why}\n` });

test("a board is renamed, and its worker, which waited for the id, starts by itself", async () => {
  const broker = await startBroker();
  const board = await FakeBoard.start(broker.url, "fogger");
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, props: FOGGER });
  await client.expect("halloween/worker_host/status/error", /worker-host board rename fogger fogger_hw/);
  expect(await rename(broker.url, "fogger", "fogger_hw")).toEqual({
    code: 0,
    stdout: "fogger takes the id fogger_hw, and starts again\nfogger_hw is online\n",
    stderr: "",
  });
  expect(board.id).toBe("fogger_hw");
  await client.expect("halloween/fogger/status/runstate", /"running"/);
  await client.command("fogger", "ping");
  await client.expect("halloween/fogger/telemetry/pong", "worker");
});

test("a board that came under a running worker's id is renamed; the worker has its topics again", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, props: FOGGER });
  await client.expect("halloween/fogger/status/runstate", /"running"/);
  const description = await client.expect("halloween/fogger/description");
  await FakeBoard.start(broker.url, "fogger");
  await client.expect("halloween/worker_host/status/error", /^a board came online as "fogger"/);
  const { code, stderr } = await rename(broker.url, "fogger", "fogger_hw");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  // The board has taken its own away.
  for (const text of ["", description]) await client.expect("halloween/fogger/description", text);
  const late = await TestClient.connect(broker.url);
  await late.expect("halloween/fogger/status/availability", "online");
  expect(await late.expect("halloween/fogger/description")).toBe(description);
});

test("a board is renamed to an id that the broker merely shows online, though no host runs", async () => {
  const broker = await startBroker();
  await leaveOnline(broker.url, "attic_fogger");
  await FakeBoard.start(broker.url, "fogger");
  expect(await rename(broker.url, "fogger", "attic_fogger")).toMatchObject({ code: 0, stderr: "" });
});

test("an id that something answers under is not given to a board", async () => {
  const broker = await startBroker();
  const board = await FakeBoard.start(broker.url, "fogger");
  await FakeBoard.start(broker.url, "fogger_hw", { ping: "telemetry" });
  const answer = await rename(broker.url, "fogger", "fogger_hw");
  expect(answer).toEqual(refused('"fogger_hw" is taken: something answers under it'));
  expect(board.actions).toEqual([]);
});

test("what is no board is named, and is sent nothing", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, props: FOGGER });
  await client.expect("halloween/fogger/status/runstate", /"running"/);
  const told = await FakeBoard.start(broker.url, "sensor", { description: '{"board": 5}' });
  const [worker, sensor, nobody] = await Promise.all(
    ["fogger", "sensor", "nobody"].map((id) => rename(broker.url, id, "other")),
  );
  expect(worker).toEqual(refused('"fogger" is no board: it is a worker of the host "worker_host"'));
  expect(sensor).toEqual(refused('"sensor" is no board: its description has no "board"'));
  expect(nobody).toEqual(refused('nothing on the broker describes itself as "nobody"'));
  await client.barrier();
  expect(told.actions).toEqual([]);
  expect(client.texts("halloween/fogger/cmd")).toEqual([]);
});

test("a board that refuses says why, and one that is gone answers nothing", async () => {
  const broker = await startBroker();
  await FakeBoard.start(broker.url, "fogger", { refuses: "the id is locked" });
  const gone = await FakeBoard.start(broker.url, "strobe");
  await gone.die();
  const [fogger, strobe] = await Promise.all(["fogger", "strobe"].map((id) => rename(broker.url, id, `${id}_hw`)));
  expect(fogger).toEqual(refused("the id is locked"));
  expect(strobe).toEqual(
    refused(BROKER === "mosquitto" ? "nobody takes commands for strobe: is it running?" : "no reply in 5 s"),
  );
});

test("without a broker, nothing is renamed", async () => {
  const broker = await startBroker();
  await broker.stop();
  const { code, stderr } = await rename(broker.url, "fogger", "fogger_hw");
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^not renamed: no broker at /) });
});

test("a board that doesn't come back is waited for, and named", async () => {
  const broker = await startBroker();
  await FakeBoard.start(broker.url, "fogger", { lost: true });
  const settings = resolveSettings({
    flags: new Map([["mqtt_url", broker.url]]),
    env: {},
    cwd: makeFolder(),
    shippedBuiltins: "",
  });
  const said: string[] = [];
  const outcome = await renameBoard(settings, {
    id: "fogger",
    newId: "fogger_hw",
    newCommandId: randomUUID,
    // Its 30 s are over at once.
    clock: { ...systemClock, after: (ms, callback) => systemClock.after(ms === 30_000 ? 0 : ms, callback) },
    random: Math.random,
    say: (text) => said.push(text),
  });
  expect(said).toEqual(["fogger takes the id fogger_hw, and starts again"]);
  expect(outcome).toEqual({
    code: 1,
    text: "fogger_hw did not come online in 30 s: look at its power and network",
  });
});

test("list shows how the board of each worker is, and props that are a board alone", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = {
    ...FOGGER,
    "lab/backend/worker.ts": workerSource(),
    "lab/firmware/firmware.ino": "",
    "plain/backend/worker.ts": workerSource(),
    "panic_button/firmware/firmware.ino": "",
  };
  await FakeBoard.start(broker.url, "fogger_hw");
  await startHost({ broker, props });
  await client.expect("halloween/worker_host/description", /"fogger".*"online".*"missing"/);
  const list = (...args: string[]) => runCli(["list", "--running", "--mqtt-url", broker.url, ...args]);
  const { stdout } = await list();
  expect(stdout).toMatch(/^id +runstate +board +file +config +remark\n/);
  expect(stdout).toMatch(/^fogger +running +online +\S*fogger\/backend\/worker\.ts/m);
  expect(stdout).toMatch(/^lab +running +missing +/m);
  expect(stdout).toMatch(/^plain +running +- +/m);
  expect(stdout).toMatch(/^panic_button +board +missing +- +-$/m);
  const rows = JSON.parse((await list("--json")).stdout) as WorkerSummary[];
  expect(rows.find(({ id }) => id === "fogger")).toMatchObject({ state: "running", board: "online" });
  expect(rows.find(({ id }) => id === "panic_button")).toEqual({
    id: "panic_button",
    state: "board",
    board: "missing",
  });
});
