import { join } from "node:path";
import pino from "pino";
import { expect, onTestFinished, test } from "vitest";
import { argumentsOf, childrenOfAll } from "../bench/processes.mjs";
import { RunnerSlot } from "../worker-host/host/runners/runner-slot.ts";
import type { FromRunner, RunnerSetup, WorkerSpec } from "../worker-host/worker/channel.ts";
import { makeFolder } from "./harness/folder.ts";
import { Happenings } from "./harness/wait.ts";

type State = Extract<FromRunner, { type: "state" }>;

/** Time stands still: what is planned happens when the test says so. */
class StoppedClock {
  readonly planned = new Set<() => void>();

  now(): number {
    return 0;
  }

  monotonic(): number {
    return 0;
  }

  after(_ms: number, callback: () => void): () => void {
    this.planned.add(callback);
    return () => this.planned.delete(callback);
  }

  fire(): void {
    for (const callback of [...this.planned]) {
      this.planned.delete(callback);
      callback();
    }
  }
}

/** There is nothing to load: each start of it is a `failed`. */
const spec = (id: string): WorkerSpec => ({
  id,
  classId: id,
  bundle: `file:///nowhere/${id}-0.mjs`,
  file: `${id}.ts`,
  dir: "/nowhere",
  dataDir: "/nowhere",
  config: { values: {}, file: "config.yaml", lines: {} },
  about: {},
});

const SETUP: RunnerSetup = {
  broker: { url: "mqtt://127.0.0.1:1", protocolVersion: 4 },
  prefix: "halloween",
  hostName: "worker_host",
  log: { level: "silent", pretty: false, kept: false },
  allStop: false,
  gateOpen: false,
};

const START = { patient: false, recover: false };

const runners = () =>
  (childrenOfAll().get(process.pid) ?? []).filter((pid) =>
    argumentsOf(pid).some((one) => /\/worker-host\/runner\.cjs$/.test(one)),
  );

/** A place whose process, with the workers `a` and `b`, was killed just now: the next one comes in a while. */
async function startPause() {
  const scratch = makeFolder();
  const clock = new StoppedClock();
  const states = new Happenings<State>();
  const deaths = new Happenings<string[]>();
  let processes = 0;
  const slot = new RunnerSlot({
    log: pino({ level: "silent" }),
    clock,
    show: (path) => path,
    blackBox: () => join(scratch, `process-${processes++}.last`),
    seen: new Map(),
    onState: (state) => states.add(state),
    onDied: (ids) => deaths.add(ids),
    warn: () => {},
  });
  onTestFinished(() => slot.kill());
  slot.setUp(SETUP);
  for (const id of ["a", "b"]) slot.start(spec(id), 1, START);
  await Promise.all(["a", "b"].map((id) => states.find((state) => state.id === id && state.state === "failed", id)));
  for (const pid of runners()) process.kill(pid, "SIGKILL");
  expect(await deaths.find(() => true, "its death")).toEqual(["a", "b"]);
  expect(clock.planned.size).toBe(1);
  expect(runners()).toEqual([]);
  states.all.length = 0;
  return { clock, slot, states };
}

const failed = (states: Happenings<State>, id: string) =>
  states.find((state) => state.id === id && state.state === "failed", `a start of ${id}`);

test("a worker that is started before the next process has come starts all of them, once, in one process", async () => {
  const { clock, slot, states } = await startPause();
  slot.start(spec("c"), 1, START);
  await Promise.all(["a", "b", "c"].map((id) => failed(states, id)));
  clock.fire();
  expect(runners()).toHaveLength(1);
  expect(states.all.filter(({ state }) => state === "failed")).toHaveLength(3);
});

test("so does one that is looked at then, and it is answered", async () => {
  const { clock, slot, states } = await startPause();
  expect(await slot.inspect(spec("c"))).toMatchObject({ fault: expect.stringContaining("c.ts") });
  await failed(states, "a");
  clock.fire();
  expect(runners()).toHaveLength(1);
});

test("so does one that is given its config then, and it is answered", async () => {
  const { slot, states } = await startPause();
  expect(await slot.configure("a", { config: spec("a").config, about: {} })).toMatchObject({ warnings: [] });
  await failed(states, "b");
});

test("a worker that is stopped then is stopped, and doesn't come back with the others", async () => {
  const { clock, slot, states } = await startPause();
  slot.stop("a", false);
  expect(states.all).toEqual([{ type: "state", id: "a", run: 1, state: "stopped" }]);
  clock.fire();
  await failed(states, "b");
  expect(states.all.filter(({ id }) => id === "a")).toHaveLength(1);
});

test("where all of them are stopped then, there is no next process", async () => {
  const { clock, slot } = await startPause();
  for (const id of ["a", "b"]) slot.stop(id, false);
  clock.fire();
  expect(runners()).toEqual([]);
});

test("all-stop starts the next process at once, so that what was on goes off", async () => {
  const { clock, slot, states } = await startPause();
  await slot.allStop(true);
  await Promise.all(["a", "b"].map((id) => failed(states, id)));
  clock.fire();
  expect(runners()).toHaveLength(1);
});
