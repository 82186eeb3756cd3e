import { expect, test } from "vitest";
import { BaseWorker, CallError, command, type RunningCommand, z } from "worker-host";
import { startWorker, type TestWorker } from "worker-host/testing";
import { said, start } from "./harness/started-worker.ts";

/** What was published to one of its topics so far. */
const ownSaid = (worker: Pick<TestWorker<BaseWorker>, "messages">, topic: string) =>
  said(worker, `halloween/prop/${topic}`);

const warnings = (worker: Pick<TestWorker<BaseWorker>, "messages">) => ownSaid(worker, "status/warn");

/** Its `go` is told by whatever a worker can be: a message, a time, a task, another command. */
class Prop extends BaseWorker {
  armed = true;
  refusals: string[] = [];

  override async start() {
    this.state = "armed";
    await this.subscribe("motion/handler", () => this.begin());
    await this.watch("sensor", "pir", () => this.begin());
    this.every(3_600_000, () => this.begin());
  }

  do_begin() {
    return this.begin();
  }

  async begin() {
    try {
      await this.go();
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      this.refusals.push(`${error.code}: ${error.message}`);
    }
  }

  go(): unknown {
    return undefined;
  }

  async moves(ms: number) {
    this.telemetry("went", ms);
    await this.hold(
      ms,
      () => this.telemetry("valve", "open"),
      () => this.telemetry("valve", "closed"),
    );
  }
}

class Single extends Prop {
  @command({ mode: "single" })
  async do_go() {
    await this.moves(60_000);
  }
  override go() {
    return this.do_go();
  }
}

const CALLERS: [string, (prop: TestWorker<Prop>) => Promise<void>][] = [
  ["a subscription", (prop) => prop.publish("motion/handler", "1")],
  ["watch", (prop) => prop.publish("halloween/sensor/telemetry/pir", "1")],
  ["every", (prop) => prop.advance(3_600_000)],
  ["another command", (prop) => prop.send("begin")],
];

test.each(CALLERS)("a do_ method that %s calls is a command: mode, all-stop and a lock-out hold", async (_, call) => {
  const single = await start(Single);
  await call(single);
  const once = ownSaid(single, "telemetry/went").length;
  expect(once).toBe(1);
  await single.publish("motion/handler", "1");
  expect(single.worker.refusals).toEqual(["refused: go refused: busy: it is still running"]);
  await single.advance(60_000);
  await single.lockOut("the hose leaks");
  await single.publish("motion/handler", "1");
  await call(single);
  await single.lockOut();
  await single.allStop();
  await single.publish("motion/handler", "1");
  expect(single.worker.refusals.at(1)).toBe(
    'refused: "go" refused: it is locked out (the hose leaks), until the host is told "release prop"',
  );
  expect(single.worker.refusals.at(-1)).toBe(
    'refused: "go" refused: all-stop is engaged: only stop and safe commands run, until all_clear',
  );
  expect(ownSaid(single, "telemetry/went")).toHaveLength(once);
  expect(ownSaid(single, "telemetry/valve")).toEqual(["open", "closed"]);
});

class Limited extends Prop {
  @command({ cooldownMs: 60_000, requiresState: "armed", maxOnMs: 2000, onMaxOn: "off" })
  async do_go() {
    this.telemetry("valve", "open");
  }
  async do_off() {
    this.telemetry("valve", "closed");
  }
  override go() {
    return this.do_go();
  }
}

test("cooldownMs, requiresState and maxOnMs hold too", async () => {
  const limited = await start(Limited);
  await limited.publish("motion/handler", "1");
  await limited.publish("motion/handler", "1");
  expect(limited.worker.refusals).toEqual([expect.stringMatching(/^refused: go refused: cooling down: \d+ ms left$/)]);
  await limited.advance(2000);
  expect(ownSaid(limited, "telemetry/valve")).toEqual(["open", "closed"]);
  expect(await limited.status("warn")).toBe("go was on for its longest, 2000 ms: ran off");
  await limited.advance(60_000);
  limited.worker.state = "disarmed";
  await limited.publish("motion/handler", "1");
  expect(limited.worker.refusals.at(-1)).toBe(
    "refused: go refused: it needs the state armed, and the state is disarmed",
  );
  expect(ownSaid(limited, "telemetry/valve")).toEqual(["open", "closed"]);
});

class Args extends BaseWorker {
  taken: unknown[] = [];

  @command({ args: z.number().max(5000).default(750) })
  do_sync(ms: number) {
    this.taken.push(ms);
    return ms * 2;
  }

  @command({ args: z.number().refine(async (ms) => ms < 5000, { error: "expected less" }) })
  do_checked(ms: number) {
    return ms * 2;
  }

  @command({ args: z.number() })
  async do_async(ms: number) {
    if (ms < 0) throw new RangeError("below 0");
    return ms * 2;
  }

  do_bare(args: unknown, { action }: RunningCommand = { action: "plain" } as RunningCommand) {
    return { args, action };
  }
}

test("its args pass the schema as JSON does; it gives a promise where the schema or the method is asynchronous", async () => {
  const { worker } = await start(Args);
  const anything = worker as unknown as Record<string, (args?: unknown) => unknown>;
  expect(worker.do_sync(5)).toBe(10);
  expect(anything.do_sync?.()).toBe(1500);
  // A text is not read, as in JSON.
  expect(() => anything.do_sync?.("5")).toThrow(new CallError("refused", 'sync refused: expected number, got "5"'));
  expect(() => worker.do_sync(6000)).toThrow("sync refused: Too big: expected number to be <=5000, got 6000");
  expect(worker.taken).toEqual([5, 750]);
  expect(await worker.do_checked(1)).toBe(2);
  await expect(worker.do_checked(9000)).rejects.toThrow("checked refused: expected less, got 9000");
  const refused = anything.do_async?.("5");
  expect(refused).toBeInstanceOf(Promise);
  await expect(refused).rejects.toThrow('async refused: expected number, got "5"');
  expect(await worker.do_async(2)).toBe(4);
  await expect(worker.do_async(-1)).rejects.toThrow(new RangeError("below 0"));
  expect(anything.do_bare?.(null)).toEqual({ args: undefined, action: "bare" });
  expect(anything.do_bare?.({ x: 1 })).toEqual({ args: { x: 1 }, action: "bare" });
  expect(() => worker.do_bare(1, {} as RunningCommand)).toThrow("do_bare is a command, which has one argument");
});

class Base extends BaseWorker {
  ran: string[] = [];

  @command({ mode: "single", requiresState: "ready" })
  async do_go(from: string) {
    this.ran.push(from);
    await this.sleep(0);
  }
}

class Plain extends Base {
  override async start() {
    this.state = "busy";
    await this.subscribe("hold", () =>
      this.hold(
        1000,
        () => this.do_go("on"),
        () => this.do_go("off"),
      ),
    );
  }
  override async do_go(from: string) {
    await super.do_go(from);
    if (from === "itself") await this.again();
  }
  async again() {
    await this.do_go("again");
  }
  async do_stop() {
    await this.do_go("do_stop");
  }
  override async onAllStop() {
    await this.do_go("onAllStop");
  }
  override async stop() {
    await this.do_go("stop()");
  }
}

test("it is a plain call in do_stop, onAllStop, stop(), a hold's on and off, in itself, and as super", async () => {
  const plain = await startWorker(Plain);
  const { ran } = plain.worker;
  await plain.publish("hold", "1");
  await plain.advance(1000);
  expect(ran.splice(0)).toEqual(["on", "off"]);
  await plain.allStop();
  expect(ran.splice(0).sort()).toEqual(["do_stop", "onAllStop"]);
  await plain.allStop(false);
  plain.worker.state = "ready";
  await plain.call("go", "itself");
  expect(ran.splice(0)).toEqual(["itself", "again"]);
  plain.worker.state = "busy";
  await plain.stop();
  expect(ran).toEqual(["do_stop", "stop()"]);
  expect(ownSaid(plain, "status/error")).toEqual([]);
});

class Chain extends BaseWorker {
  ran: string[] = [];
  task: { cancel(): void } | undefined;

  override async start() {
    await this.subscribe("awaited", async () => {
      await this.do_fog("awaited");
      this.ran.push("over");
    });
    await this.subscribe("begun", () => {
      void this.do_fog("begun");
    });
  }

  @command({ timeoutMs: 20_000 })
  async do_scene() {
    await this.do_fog("scene");
  }

  do_cancelled() {
    this.task = this.spawn(() => this.do_fog("cancelled"));
  }

  @command({ mode: "restart" })
  async do_fog(by: string) {
    await this.hold(
      60_000,
      () => this.ran.push(`${by} on`),
      () => this.ran.push(`${by} off`),
    );
  }

  @command({ mode: "queued" })
  async do_turn(by: string) {
    this.ran.push(by);
    await this.sleep(60_000);
  }

  @command({ timeoutMs: 10_000 })
  async do_wait() {
    await this.do_turn("waited");
  }
}

test("what it called ends with its caller: with its timeout, its cancel, its stop; its return ends nothing", async () => {
  const chain = await start(Chain);
  const { ran } = chain.worker;
  const scene = expect(chain.call("scene")).rejects.toThrow("aborted: it took longer than 20000 ms");
  await chain.advance(10_000);
  expect(ran).toEqual(["scene on"]);
  await chain.advance(10_000);
  await scene;
  expect(ran.splice(0)).toEqual(["scene on", "scene off"]);
  await chain.send("cancelled");
  chain.worker.task?.cancel();
  expect(ran.splice(0)).toEqual(["cancelled on", "cancelled off"]);
  await chain.publish("awaited", "1");
  await chain.send("stop");
  expect(ran.splice(0)).toEqual(["awaited on", "awaited off"]);
  await chain.publish("begun", "1");
  await chain.advance(30_000);
  expect(ran).toEqual(["begun on"]);
  await chain.advance(30_000);
  expect(ran.splice(0)).toEqual(["begun on", "begun off"]);
  // One takes the other's place: the handler that awaits the first one goes no further, and nothing is wrong.
  await chain.publish("awaited", "1");
  await chain.publish("awaited", "1");
  await chain.advance(60_000);
  expect(ran.splice(0)).toEqual(["awaited on", "awaited off", "awaited on", "awaited off", "over"]);
  expect(ownSaid(chain, "status/error")).toEqual([]);
});

test("what waits for its turn goes with its caller", async () => {
  const chain = await start(Chain);
  await chain.send("turn first");
  await chain.send("wait");
  await chain.advance(10_000);
  await chain.advance(60_000);
  expect(chain.worker.ran).toEqual(["first"]);
});

class Swallower extends BaseWorker {
  went: string[] = [];

  @command({ mode: "single" })
  async do_outer() {
    this.telemetry("outer", 1);
    try {
      await this.do_inner();
    } catch (error) {
      this.went.push(String(error));
      throw error;
    }
  }

  @command({ mode: "restart" })
  async do_inner() {
    for (;;) await this.sleep(1000).catch(() => this.went.push("swallowed"));
  }
}

test("a command that swallows its abort holds up neither its caller nor its sender", async () => {
  const swallower = await start(Swallower);
  const { went } = swallower.worker;
  for (const end of ["stop", "inner"]) {
    const outer = expect(swallower.call("outer")).rejects.toThrow(/outer: aborted: (stopped|restarted)$/);
    await swallower.telemetry("outer");
    await swallower.send(end);
    await outer;
    expect(went.splice(0)).toEqual(["swallowed", expect.stringMatching(/^AbortError: (stopped|restarted)$/)]);
  }
  await swallower.send("stop");
  expect(warnings(swallower)).toEqual([]);
});

class Trap extends BaseWorker {
  entered = 0;
  atOnce = 0;
  went: string[] = [];

  override async start() {
    await this.subscribe("button", async () => {
      this.went.push(String(await this.do_stop()));
      await this.command("fogger", "start");
    });
  }
  do_go() {
    return this.hold(
      60_000,
      () => this.telemetry("valve", "open"),
      () => this.telemetry("valve", "closed"),
    );
  }
  async do_stop() {
    this.entered++;
    this.went.push(`at once: ${++this.atOnce}`);
    await this.sleep(1000);
    this.atOnce--;
    return "stopped";
  }
}

test("do_stop that a handler calls is a whole stop: it ends all runs, the caller's too, and joins one that runs", async () => {
  const trap = await start(Trap);
  await trap.send("go");
  await trap.publish("button", "1");
  await trap.publish("button", "1");
  expect(ownSaid(trap, "telemetry/valve")).toEqual(["open", "closed"]);
  await trap.advance(3000);
  const { went, entered } = trap.worker;
  expect(went.filter((word) => word === "stopped")).toHaveLength(2);
  expect(went.filter((word) => word.startsWith("at once"))).toEqual(new Array(entered).fill("at once: 1"));
  expect(trap.commands).toEqual([]);
});

class Jumper extends BaseWorker {
  override async start() {
    await this.subscribe("motion", () => this.do_jump());
    await this.subscribe("tick", () => this.do_count());
    this.spawn(this.clock);
    this.spawn(this.mover);
  }
  async clock() {
    for (;;) {
      await this.sleep(50_000);
      this.do_ping();
    }
  }
  async mover() {
    for (;;) {
      await this.sleep(70_000);
      this.do_count();
    }
  }
  @command({ safe: true })
  do_ping() {
    this.telemetry("pong", 1);
  }
  @command({ cooldownMs: 60_000 })
  async do_jump() {
    this.telemetry("jumped", 1);
  }
  @command({ requiresState: "never" })
  do_count() {}
  async do_both() {
    await this.do_jump();
  }
}

test("a refusal that nobody catches is a warning, and no error of the code that asked", async () => {
  const jumper = await start(Jumper);
  await jumper.publish("motion", "1");
  await jumper.publish("motion", "1");
  await jumper.publish("tick", "1");
  await expect(jumper.call("both")).rejects.toMatchObject({
    code: "failed",
    message: expect.stringMatching(/jump refused: cooling down/),
  });
  expect(ownSaid(jumper, "telemetry/jumped")).toEqual(["1"]);
  expect(ownSaid(jumper, "status/error")).toEqual([]);
  expect(warnings(jumper)).toEqual([
    expect.stringMatching(/^the subscription to motion: jump refused: cooling down: \d+ ms left$/),
    "the subscription to tick: count refused: it needs the state never, and no state has been set",
    expect.stringMatching(/^both: jump refused: cooling down: \d+ ms left$/),
  ]);
});

test("a task that calls a command moves, unless that is safe", async () => {
  class Tasks extends Jumper {
    override do_count() {
      this.telemetry("count", 1);
    }
    override async start() {
      await super.start();
      this.state = "never";
    }
  }
  const tasks = await start(Tasks);
  await tasks.advance(70_000);
  await tasks.send("stop");
  expect(warnings(tasks)).toEqual([
    "mover was ended by a stop, since it moves (do_count): begin what moves in a command or a handler",
  ]);
  await tasks.advance(100_000);
  expect(ownSaid(tasks, "telemetry/count")).toEqual(["1"]);
  expect(ownSaid(tasks, "telemetry/pong")).toHaveLength(3);
});

class Endless extends BaseWorker {
  tries = 0;
  override async start() {
    await this.subscribe("begin", async () => {
      for (;;) {
        try {
          this.tries++;
          await this.do_go();
        } catch {
          this.telemetry("caught", this.tries);
        }
      }
    });
  }
  async do_go() {
    await this.sleep(60_000);
  }
}

test("a loop that catches everything holds up nothing, refused or stopped", async () => {
  const endless = await start(Endless);
  await endless.lockOut("the hose leaks");
  await endless.publish("begin", "1");
  await endless.advance(10);
  await endless.lockOut();
  await endless.send("stop");
  const { tries } = endless.worker;
  expect(tries).toBeGreaterThan(1);
  await endless.publish("begin", "1");
  await endless.advance(10_000);
  await endless.send("stop");
  await endless.advance(600_000);
  expect(endless.worker.tries - tries).toBeLessThanOrEqual(3);
});
