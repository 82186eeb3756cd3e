import { expect, onTestFinished, test } from "vitest";
import { BaseWorker, type CommandSpec, command, z } from "worker-host";
import { startWorker } from "worker-host/testing";
import type { Reply } from "../worker-host/contract/command.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

const HEAD = 'import { command, z } from "worker-host";';

/** What `fire` says it does, as the test at hand wants it. */
interface Fire extends CommandSpec {
  /** How long it runs; 0 if not given. */
  runsMs?: number;
}

/** A worker with a command `fire` of this kind, `off`, `set` for its state, and `stop`; each says on `event` that it ran. */
async function lab({ runsMs = 0, ...spec }: Fire, stop: CommandSpec = {}, off: CommandSpec = {}) {
  class Lab extends BaseWorker {
    override async start() {
      this.addCommand("off", off, () => this.telemetry("event", "off"));
      this.addCommand("stop", stop, () => this.telemetry("event", "stop"));
      this.addCommand("set", { args: z.string() }, (state) => {
        this.state = state;
      });
      const hangUp = () => this.telemetry("event", "hung up");
      this.addCommand("hang", {}, () => this.hold(3_600_000, () => {}, hangUp));
      this.addCommand("fire", spec, (mark: string) => this.fire(mark));
      this.addCommand("remove", { args: z.string() }, (action) => this.removeCommand(action));
    }

    async fire(mark = "") {
      this.telemetry("event", `fire ${mark}`.trim());
      if (mark === "fails") throw new RangeError("too far");
      const over = () => this.telemetry("event", `over ${mark}`.trim());
      if (runsMs > 0) await this.hold(runsMs, () => {}, over);
    }
  }
  const worker = await startWorker(Lab);
  onTestFinished(() => worker.stop());
  const texts = (topic: string) =>
    worker.messages.filter((message) => message.topic === `halloween/prop/${topic}`).map(({ text }) => text);
  return { worker, events: () => texts("telemetry/event"), warnings: () => texts("status/warn") };
}

const COOLING = /^fire refused: cooling down: \d+ ms left$/;

test("a cooldown is counted from the end of the run, however it ended", async () => {
  const endings: [string, (worker: Awaited<ReturnType<typeof lab>>["worker"]) => Promise<unknown>][] = [
    ["fire", (worker) => worker.advance(5_000)],
    ["fire fails", (worker) => worker.status("error")],
    ["fire", (worker) => worker.send("stop")],
  ];
  for (const [sent, end] of endings) {
    const { worker, events, warnings } = await lab({ cooldownMs: 60_000, runsMs: 5_000 });
    await worker.send(sent);
    await end(worker);
    const before = events();
    await worker.send("fire");
    await expect(worker.call("fire")).rejects.toMatchObject({
      code: "refused",
      message: expect.stringMatching(/cool/),
    });
    await worker.advance(50_000);
    await worker.send("fire");
    expect(warnings()).toHaveLength(3);
    for (const warning of warnings()) expect(warning).toMatch(COOLING);
    expect(events()).toEqual(before);
    await worker.advance(10_000);
    await worker.send("fire again");
    expect(events()).toEqual([...before, "fire again"]);
  }
});

test("while it runs, a command with a cooldown is refused, takes the place, or waits, as its mode says", async () => {
  const parallel = await lab({ cooldownMs: 60_000, runsMs: 5_000 });
  await parallel.worker.send("fire");
  await parallel.worker.send("fire");
  expect(parallel.warnings()).toEqual(["fire refused: busy: it is still running"]);

  const restart = await lab({ cooldownMs: 60_000, runsMs: 5_000, mode: "restart" });
  await restart.worker.send("fire a");
  await restart.worker.send("fire b");
  await restart.worker.send("fire c");
  expect(restart.events()).toEqual(["fire a", "over a", "fire b", "over b", "fire c"]);
  await restart.worker.advance(5_000);
  await restart.worker.send("fire d");
  expect(restart.events().slice(5)).toEqual(["over c"]);
  expect(await restart.worker.status("warn")).toMatch(COOLING);

  const queued = await lab({ cooldownMs: 60_000, runsMs: 5_000, mode: "queued" });
  await queued.worker.send("fire a");
  await queued.worker.send("fire b");
  await queued.worker.advance(50_000);
  expect(queued.events()).toEqual(["fire a", "over a"]);
  await queued.worker.advance(20_000);
  expect(queued.events()).toEqual(["fire a", "over a", "fire b", "over b"]);
});

test("256 of a command run at once, and 256 of those without a method; more are busy", async () => {
  class Patient extends BaseWorker {
    do_wait() {
      return this.sleep(60_000);
    }
    override onCommand() {
      return this.sleep(60_000);
    }
  }
  const worker = await startWorker(Patient);
  onTestFinished(() => worker.stop());
  for (const [action, name] of [
    ["wait", "wait"],
    ["dance", '"dance"'],
  ]) {
    await Promise.all(Array.from({ length: 256 }, () => worker.publish("halloween/prop/cmd", action)));
    const refused = worker.status("warn");
    await worker.send(`${action}`);
    expect(await refused).toBe(`${name} refused: busy: 256 of them run, and 256 may`);
  }
  expect(worker.messages.filter(({ topic }) => topic.endsWith("/warn"))).toHaveLength(2);
  await worker.send("stop");
  await worker.send("dance");
  expect(worker.messages.filter(({ topic }) => topic.endsWith("/warn"))).toHaveLength(2);
});

test("what was switched on is switched off at its longest, by stop or by what onMaxOn says", async () => {
  for (const [onMaxOn, end] of [
    [undefined, "stop"],
    ["off", "off"],
  ] as const) {
    const { worker, events, warnings } = await lab({ maxOnMs: 60_000, ...(onMaxOn ? { onMaxOn } : {}) });
    await worker.call("fire");
    await worker.advance(40_000);
    expect(events()).toEqual(["fire"]);
    await worker.advance(25_000);
    expect(events()).toEqual(["fire", end]);
    await worker.advance(600_000);
    expect(events()).toEqual(["fire", end]);
    expect(warnings()).toEqual([`fire was on for its longest, 60000 ms: ran ${end}`]);
  }
});

test("what still runs at its longest is aborted first, and its sender hears why", async () => {
  const { worker, events, warnings } = await lab({ maxOnMs: 60_000, onMaxOn: "off", runsMs: 600_000 });
  await worker.send("hang");
  const topic = "halloween/cli/reply/1";
  await worker.publish("halloween/prop/cmd", { action: "fire", reply_to: topic });
  await worker.advance(60_500);
  expect(events()).toEqual(["fire", "over", "off"]);
  expect(JSON.parse(await worker.seen(topic))).toMatchObject({
    status: "error",
    error: "aborted: it was on for its longest, 60000 ms",
  });
  expect(warnings()).toEqual(["fire was on for its longest, 60000 ms: ran off"]);
  await worker.send("stop");
  expect(events().slice(3)).toEqual(["hung up", "stop"]);
});

test("what onMaxOn names is not held back by its own cooldown, which begins anew", async () => {
  const { worker, events, warnings } = await lab({ maxOnMs: 60_000, onMaxOn: "off" }, {}, { cooldownMs: 90_000 });
  await worker.send("off");
  await worker.send("fire");
  await worker.advance(60_500);
  expect(events()).toEqual(["off", "fire", "off"]);
  await worker.advance(60_000);
  await worker.send("off");
  expect(events()).toHaveLength(3);
  expect(warnings().at(-1)).toMatch(/^off refused: cooling down: \d+ ms left$/);
});

test("a stop at the longest is a whole stop: what else runs is aborted too", async () => {
  const { worker, events } = await lab({ maxOnMs: 60_000 });
  await worker.send("hang");
  await worker.send("fire");
  await worker.advance(60_500);
  expect(events()).toEqual(["fire", "hung up", "stop"]);
});

test("without a do_stop, the run is aborted, and that is all", async () => {
  class Bare extends BaseWorker {
    override async start() {
      this.addCommand("fire", { maxOnMs: 60_000 }, () => this.sleep(600_000));
    }
  }
  const worker = await startWorker(Bare);
  onTestFinished(() => worker.stop());
  const outcome = expect(worker.call("fire", undefined, { timeoutMs: 600_000 })).rejects.toThrow(/aborted: it was on/);
  await worker.advance(60_500);
  await outcome;
  expect(await worker.status("warn")).toBe("fire was on for its longest, 60000 ms: ran stop");
});

test("a new run starts the time anew; stop, and what would end it, call it off", async () => {
  const { worker, events, warnings } = await lab({ maxOnMs: 60_000, onMaxOn: "off" });
  await worker.send("fire");
  await worker.advance(40_000);
  await worker.send("fire");
  await worker.advance(40_000);
  expect(events()).toEqual(["fire", "fire"]);
  await worker.advance(25_000);
  expect(events()).toEqual(["fire", "fire", "off"]);

  for (const end of ["stop", "off"]) {
    const before = events().length;
    await worker.send("fire");
    await worker.send(end);
    await worker.advance(600_000);
    expect(events().slice(before)).toEqual(["fire", end]);
  }
  expect(warnings()).toHaveLength(1);
});

test("where the command that ends it was removed meanwhile, stop ends it", async () => {
  const { worker, events, warnings } = await lab({ maxOnMs: 60_000, onMaxOn: "off" });
  await worker.send("fire");
  await worker.send("remove off");
  await worker.send("remove fire");
  await worker.advance(60_500);
  expect(events()).toEqual(["fire", "stop"]);
  expect(warnings()).toEqual(["fire was on for its longest, 60000 ms: ran stop"]);
});

test("the worker's end leaves no time running", async () => {
  const stops: string[] = [];
  class Bare extends BaseWorker {
    override async start() {
      this.addCommand("fire", { maxOnMs: 60_000 }, () => {});
      this.addCommand("stop", {}, () => stops.push("stop"));
    }
  }
  const worker = await startWorker(Bare);
  await worker.send("fire");
  await worker.stop();
  await worker.advance(600_000);
  expect(stops).toEqual(["stop"]);
});

test("a command that needs a state is refused in another one, and when its turn comes too late", async () => {
  const { worker, events, warnings } = await lab({ requiresState: ["armed", "test"], mode: "queued", runsMs: 5_000 });
  await worker.send("fire");
  await worker.send("set idle");
  await worker.send("fire");
  expect(warnings()).toEqual([
    "fire refused: it needs the state armed or test, and no state has been set",
    "fire refused: it needs the state armed or test, and the state is idle",
  ]);
  expect(events()).toEqual([]);
  await worker.send("set test");
  await worker.send("fire a");
  await worker.send("fire b");
  await worker.send("fire c");
  await worker.send("set idle");
  await worker.advance(5_500);
  expect(events()).toEqual(["fire a", "over a"]);
  expect(warnings().slice(2)).toEqual(Array.from({ length: 2 }, () => warnings()[1]));
  await worker.send("set armed");
  await worker.send("fire d");
  expect(events()).toEqual(["fire a", "over a", "fire d"]);
});

test("stop is never refused, whatever it says of itself", async () => {
  const stop: CommandSpec = { cooldownMs: 60_000, requiresState: "armed", max: 1, mode: "single" };
  const { worker, events, warnings } = await lab({}, stop);
  for (let count = 0; count < 3; count++) await worker.send("stop");
  await worker.publish("halloween/broadcast/cmd", "stop");
  expect(events()).toEqual(["stop", "stop", "stop", "stop"]);
  expect(warnings()).toEqual([]);
});

class Coffin extends BaseWorker {
  static arming = true;
  began: string | undefined;

  override async start() {
    this.began = this.state;
    this.addCommand("jump", { requiresState: "armed" }, () => this.telemetry("event", "jump"));
    this.addCommand("stop", {}, () => this.telemetry("event", `stop ${this.state}`));
  }
}

test("static arming: arm and disarm are there, it starts disarmed, and every stop disarms", async () => {
  const coffin = await startWorker(Coffin);
  onTestFinished(() => coffin.stop());
  expect(coffin.worker.began).toBe("disarmed");
  expect(await coffin.state()).toBe("disarmed");
  expect(coffin.description?.commands).toMatchObject({ arm: {}, disarm: {}, jump: { requires_state: ["armed"] } });
  await coffin.send("jump");
  expect(await coffin.status("warn")).toBe("jump refused: it needs the state armed, and the state is disarmed");
  for (const [topic, end] of [
    ["prop", "disarm"],
    ["prop", "stop"],
    ["broadcast", "stop"],
  ]) {
    await coffin.send("arm");
    expect(await coffin.state()).toBe("armed");
    await coffin.send("jump");
    expect(await coffin.telemetry("event")).toBe("jump");
    await coffin.publish(`halloween/${topic}/cmd`, end);
    expect(await coffin.state()).toBe("disarmed");
    if (end === "stop") expect(await coffin.telemetry("event")).toBe("stop disarmed");
  }
  await coffin.send("arm");
  await coffin.stop();
  const states = coffin.messages.filter(({ topic }) => topic === "halloween/prop/state");
  expect(states.slice(-2).map(({ text }) => text)).toEqual(["armed", "disarmed"]);
});

test("a worker's own do_arm and do_disarm win over the ready-made ones", async () => {
  class Own extends BaseWorker {
    static arming = true;
    do_arm() {
      this.state = "ready";
    }
    do_disarm() {
      this.telemetry("event", "safe");
    }
  }
  const own = await startWorker(Own);
  onTestFinished(() => own.stop());
  expect(await own.state()).toBe("disarmed");
  await own.send("arm");
  expect(await own.state()).toBe("ready");
  await own.send("stop");
  expect(await own.telemetry("event")).toBe("safe");
});

test("a worker without static arming has neither", async () => {
  const { worker } = await lab({});
  await worker.send("arm");
  expect(await worker.status("warn")).toMatch(/^unknown action "arm"/);
  expect(worker.messages.filter(({ topic }) => topic.endsWith("/state"))).toEqual([]);
});

test.each<[spec: Record<string, unknown>, says: RegExp]>([
  [{ max: 0 }, /the command "fire": max: .*>0, got 0/],
  [{ max: 1.5 }, /max: expected int.*got 1\.5/],
  [{ timeoutMs: "5 parsecs" }, /timeoutMs: expected ms, or a text such as "5s" or "2min", got "5 parsecs"/],
  [{ cooldownMs: -1 }, /cooldownMs: expected ms, .*, got -1/],
  [{ cooldownMs: Number.POSITIVE_INFINITY }, /cooldownMs: expected ms/],
  [{ maxOnMs: 0, mode: "twice" }, /mode: .*"single".*got "twice"; maxOnMs: .*>0, got 0/],
  [{ maxOnMs: 5, onMaxOn: "go off" }, /onMaxOn: expected one word, got "go off"/],
  [{ onMaxOn: "off" }, /onMaxOn is for maxOnMs: add that/],
  [{ maxOnMs: 5, onMaxOn: "dark" }, /"fire": onMaxOn is "dark", and there is no such command: write one of dim, stop/],
  [{ maxOnMs: 5, onMaxOn: "fire" }, /"fire": onMaxOn is that command itself/],
  [{ maxOnMs: 5, onMaxOn: "dim" }, /onMaxOn of "fire" is "dim", .*without args: expected number, got nothing/],
  [{ requiresState: [] }, /requiresState: .*>=1 items, got \[\]/],
  [{ requiresState: 5 }, /requiresState: expected a state, .*got 5/],
  [{ coolDownMs: 5 }, /Unrecognized key: "coolDownMs"/],
])("%j is refused in words", async (spec, says) => {
  class Wrong extends BaseWorker {
    override async start() {
      this.addCommand("dim", { args: z.number() }, () => {});
      this.addCommand("fire", spec as CommandSpec, () => {});
    }
  }
  await expect(startWorker(Wrong)).rejects.toThrow(says);
});

test("with @command, in a host: all of it is in the description, and holds", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const source = workerSource(
    `static arming = true;
     @command({ cooldownMs: 60_000, requiresState: ["armed", "test"] }) do_jump() { this.telemetry("event", "jump"); }
     @command({ maxOnMs: 50, onMaxOn: "off", max: 3 }) do_on() { this.telemetry("event", "on"); }
     @command({ args: z.enum(["slow", "fast"]).default("slow") }) do_off(how: string) { this.telemetry("event", "off " + how); }`,
    HEAD,
  );
  await startHost({ broker, props: { "lab/backend/worker.ts": source } });
  const { commands } = JSON.parse(await client.expect("halloween/lab/description"));
  expect(commands).toMatchObject({
    jump: { cooldown_ms: 60_000, requires_state: ["armed", "test"] },
    on: { max_on_ms: 50, on_max_on: "off", max: 3 },
    arm: { description: expect.stringMatching(/^Arm/) },
    disarm: { description: expect.stringMatching(/^Disarm/), safe: true },
  });
  await client.expect("halloween/lab/status/availability", "online");
  await client.command("lab", "on");
  await client.expect("halloween/lab/status/warn", "on was on for its longest, 50 ms: ran off");
  await client.expect("halloween/lab/telemetry/event", "off slow");

  const ask = async (action: string, count: number): Promise<Reply> => {
    const topic = `halloween/cli/reply/${count}`;
    await client.command("lab", { action, reply_to: topic });
    return JSON.parse(await client.expect(topic)) as Reply;
  };
  expect(await ask("jump", 1)).toMatchObject({
    refused: true,
    error: "jump refused: it needs the state armed or test, and the state is disarmed",
  });
  expect(await ask("arm", 2)).toMatchObject({ status: "ok" });
  expect(await ask("jump", 3)).toMatchObject({ status: "ok" });
  expect(await ask("jump", 4)).toMatchObject({
    refused: true,
    error: expect.stringMatching(/^jump refused: cooling down: \d+ ms left$/),
  });
  expect(await ask("stop", 5)).toMatchObject({ status: "ok" });
  await client.expect("halloween/lab/state", "disarmed");
  expect(client.texts("halloween/lab/telemetry/event").filter((text) => text === "jump")).toHaveLength(1);
});

test("what can't be is a failed worker, and a fault in check, before anything runs", async () => {
  const bodies: [string, RegExp][] = [
    ["@command({ maxOnMs: 5, onMaxOn: 'dark' }) do_fire() {}", /onMaxOn is "dark", and there is no such command/],
    ["@command({ cooldownMs: -5 }) do_fire() {}", /the command "fire": cooldownMs: .*got -5/],
    ["static arming = 'yes';", /static arming is "yes": expected true or false/],
    [
      "static arming = true; @command({ args: z.number() }) do_disarm(ms: number) { this.telemetry('ms', ms); }",
      /every stop runs is "disarm", .*without args: expected number, got nothing/,
    ],
  ];
  const props = Object.fromEntries(
    bodies.map(([body], index) => [`bad_${index}/backend/worker.ts`, workerSource(body, HEAD)]),
  );
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, props });
  for (const [index, [, says]] of bodies.entries()) {
    const runstate = await client.expect(`halloween/bad_${index}/status/runstate`, /"failed"/);
    expect(JSON.parse(runstate).detail).toMatch(says);
  }
  const { code, stderr } = await runCli(["check", "--props", makeFolder(props)]);
  expect(code).toBe(1);
  for (const [, says] of bodies) expect(stderr).toMatch(says);
});

class Single extends BaseWorker {
  @command({ mode: "single" })
  async do_go() {
    await this.sleep(1000);
  }
}

test("what overrides a command's method keeps its limits, unless it has some of its own", async () => {
  class Derived extends Single {
    override async do_go() {
      await super.do_go();
    }
  }
  const derived = await startWorker(Derived);
  onTestFinished(() => derived.stop());
  expect(derived.description?.commands.go).toEqual({ mode: "single" });
  await derived.send("go");
  await expect(derived.call("go")).rejects.toThrow("go refused: busy: it is still running");
  class Free extends Single {
    @command({ description: "Any time" })
    override async do_go() {}
  }
  const free = await startWorker(Free);
  onTestFinished(() => free.stop());
  expect(free.description?.commands.go).toEqual({ description: "Any time" });
});

test("a decorator that puts a function in the place of a command's method is refused: its limits would be lost", async () => {
  const logged = (method: (this: BaseWorker) => unknown) =>
    function (this: BaseWorker) {
      this.telemetry("called", 1);
      return method.call(this);
    };
  class Below extends BaseWorker {
    @logged
    @command({ mode: "single" })
    do_go() {}
  }
  await expect(startWorker(Below)).rejects.toThrow(
    "the worker failed: @command of do_go: another decorator put a function in the place of its method, which has none of its limits: write @command first, above the others",
  );
  class Above extends BaseWorker {
    @command({ mode: "single" })
    @logged
    do_go() {}
  }
  const above = await startWorker(Above);
  onTestFinished(() => above.stop());
  expect(above.description?.commands.go).toEqual({ mode: "single" });
});
