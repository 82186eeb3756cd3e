import fc from "fast-check";
import { expect, test } from "vitest";
import { BaseWorker, CallError, command } from "worker-host";
import { startWorker, type TestWorker } from "worker-host/testing";

/** One thing that a command, a handler or a task does; `own` and `own_stop` call `do_sub` and `do_stop`. */
type Step =
  | { kind: "sleep" | "swallowed" | "hold"; ms: number }
  | { kind: "command" | "publish" | "foreign" | "state" | "own" | "own_at_once" | "own_stop" };

/** One thing that happens to the worker. */
type Event =
  | { kind: "seq" | "motion" | "stop" | "broadcast" | "all_stop" | "all_clear" | "lock_out" | "release" }
  | { kind: "advance"; ms: number };

const ms = fc.integer({ min: 1, max: 3000 });
const steps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constantFrom("sleep", "swallowed", "hold" as const), ms }),
    fc.record({ kind: fc.constantFrom("command", "publish", "foreign", "state" as const) }),
  ) as fc.Arbitrary<Step>,
  { minLength: 1, maxLength: 5 },
);
const stepsWithOwn = fc
  .tuple(steps, fc.subarray(["own", "own_at_once", "own_stop"] as const), steps)
  .map(([before, own, after]): Step[] => [...before, ...own.map((kind) => ({ kind })), ...after]);
const events = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constantFrom("seq", "motion", "stop", "broadcast", "all_stop", "all_clear", "lock_out", "release"),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("advance"), ms }) },
  ) as fc.Arbitrary<Event>,
  { minLength: 1, maxLength: 10 },
);
const program = fc.record({
  steps: stepsWithOwn,
  task: stepsWithOwn,
  sub: steps,
  stopMs: fc.constantFrom(0, 500, 2000),
  events,
});

class Random extends BaseWorker {
  static stopTimeoutMs = 5000;
  /** What it does, set before its start. */
  static steps: Step[] = [];
  static task: Step[] = [];
  static sub: Step[] = [];
  static stopMs = 0;
  readonly on = new Set<number>();
  readonly foreign = new Set<() => void>();
  holds = 0;
  stops = { entered: 0, ended: 0, atOnce: 0, most: 0 };
  subs = { entered: 0, most: 0 };
  readonly running = new Set<AbortSignal>();

  override async start() {
    await this.subscribe("motion", () => this.walk(Random.steps));
    // It moves something at once: a task that has only spoken so far lives on.
    this.spawn(() => this.walk([{ kind: "publish" }, ...Random.task]));
  }

  async do_seq() {
    await this.walk(Random.steps);
  }

  @command({ mode: "single" })
  async do_sub() {
    const { signal } = this;
    this.running.add(signal);
    this.subs.entered++;
    // One that swallows its abort may never come to its end.
    this.subs.most = Math.max(this.subs.most, [...this.running].filter(({ aborted }) => !aborted).length);
    try {
      await this.walk(Random.sub);
    } finally {
      this.running.delete(signal);
    }
  }

  /** A refusal is no fault. */
  async own() {
    try {
      await this.do_sub();
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
    }
  }

  async do_stop() {
    this.stops.entered++;
    this.stops.most = Math.max(this.stops.most, ++this.stops.atOnce);
    await this.sleep(Random.stopMs);
    this.state = "idle";
    this.stops.atOnce--;
    this.stops.ended++;
  }

  async walk(steps: Step[]) {
    for (const step of steps) {
      if (step.kind === "sleep") await this.sleep(step.ms);
      else if (step.kind === "swallowed") await this.sleep(step.ms).catch(() => {});
      else if (step.kind === "hold") await this.holdFor(step.ms);
      else if (step.kind === "own") await this.own();
      else if (step.kind === "own_at_once") void this.own().catch(() => {});
      else if (step.kind === "own_stop") await this.do_stop();
      else if (step.kind === "command") void this.command("fogger", "start");
      else if (step.kind === "publish") void this.publish("elsewhere", "on");
      else if (step.kind === "state") this.state = "firing";
      else await new Promise<void>((resolve) => this.foreign.add(resolve));
    }
  }

  async holdFor(ms: number) {
    const id = ++this.holds;
    await this.hold(
      ms,
      () => this.on.add(id),
      () => this.on.delete(id),
    );
  }
}

/** What it has said so far to what isn't its own. */
function sent(worker: TestWorker<Random>): number {
  const starts = worker.commands.filter(({ action }) => action !== "stop").length;
  return starts + worker.messages.filter(({ topic }) => topic === "elsewhere").length;
}

test("whatever a worker does, and whatever is done to it: what was stopped stays stopped", async () => {
  const check = async ({ events, ...does }: typeof program extends fc.Arbitrary<infer P> ? P : never) => {
    Object.assign(Random, does);
    const worker = await startWorker(Random, { patienceMs: 10_000 });
    const { stops, subs, on, foreign } = worker.worker;
    let [allStop, lockedOut] = [false, false];
    /** Nothing was asked of it since. */
    const expectStill = async () => {
      expect([...on]).toEqual([]);
      const [before, entered] = [sent(worker), subs.entered];
      for (const resolve of foreign) resolve();
      foreign.clear();
      await worker.advance(20_000);
      expect([sent(worker), subs.entered]).toEqual([before, entered]);
      expect([...on]).toEqual([]);
      expect({ most: stops.most <= 1, ended: stops.ended === stops.entered }).toEqual({ most: true, ended: true });
    };
    const happen: Record<Event["kind"], (event: Event) => Promise<void>> = {
      seq: () => worker.send("seq"),
      motion: () => worker.publish("motion", "1"),
      advance: (event) => worker.advance("ms" in event ? event.ms : 0),
      stop: async () => {
        await worker.send("stop");
        await expectStill();
      },
      broadcast: async () => {
        await worker.publish("halloween/broadcast/cmd", "stop");
        await expectStill();
      },
      all_stop: async () => {
        allStop = true;
        await worker.allStop();
        await expectStill();
      },
      all_clear: async () => {
        allStop = false;
        await worker.allStop(false);
      },
      lock_out: async () => {
        lockedOut = true;
        await worker.lockOut("the hose leaks");
        await expectStill();
      },
      release: async () => {
        lockedOut = false;
        await worker.lockOut();
      },
    };
    try {
      for (const event of events) {
        const [before, entered] = [sent(worker), subs.entered];
        await happen[event.kind](event);
        expect(subs.most).toBeLessThanOrEqual(1);
        if (!allStop && !lockedOut) continue;
        expect([sent(worker), subs.entered]).toEqual([before, entered]);
        expect([...on]).toEqual([]);
      }
    } finally {
      const stopped = worker.stop();
      await worker.advance(20_000);
      await stopped;
    }
    expect([...on]).toEqual([]);
    expect({ most: stops.most, ended: stops.ended }).toEqual({ most: 1, ended: stops.entered });
  };
  await fc.assert(fc.asyncProperty(program, check), { numRuns: 40, endOnFailure: true });
}, 120_000);
