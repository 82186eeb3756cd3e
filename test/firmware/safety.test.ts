import { describe, expect, test } from "vitest";
import { startBroker, type TestBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { startProxy } from "../harness/proxy.ts";
import { type Board, type BoardOptions, startBoard, type Trace } from "../harness/sketch.ts";

const VALVE = 26;
const PUMP = 26;
const READY = 27;
const COFFIN = "coffin_jumper_hw";
const FOGGER = "fogger_hw";

interface Bench {
  broker: TestBroker;
  client: TestClient;
  board: Board;
}

async function startCoffin(options: Partial<BoardOptions> = {}): Promise<Bench> {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const board = startBoard("coffin_jumper", { broker, ...options });
  await client.expect(`halloween/${COFFIN}/status/availability`, "online");
  const armed = client.expectNext(`halloween/${COFFIN}/state`, "armed");
  await client.command(COFFIN, "arm");
  await armed;
  return { broker, client, board };
}

async function startFogger(options: Partial<BoardOptions> = {}): Promise<Bench> {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const board = startBoard("fogger", { broker, inputs: { [READY]: 0 }, ...options });
  await client.expect(`halloween/${FOGGER}/state`, "idle");
  return { broker, client, board };
}

/** The valve is open. */
async function jump({ client, board }: Bench, ms = 5000): Promise<void> {
  const opened = board.pinTurns(VALVE, 1);
  await client.command(COFFIN, `jump ${ms}`);
  await opened;
}

async function fog({ client, board }: Bench, ms = 10_000): Promise<void> {
  const on = board.pinTurns(PUMP, 1);
  await client.command(FOGGER, `start ${ms}`);
  await on;
}

describe("pins", () => {
  test.each([
    ["coffin_jumper", VALVE],
    ["fogger", PUMP],
    ["grave_shaker", 25],
  ])("of %s are off before anything else runs", async (sketch, pin) => {
    const board = startBoard(sketch, { broker: await startBroker() });
    const { mode } = await board.trace.find(() => true, "the first thing that it does");
    expect([board.trace.all[0]?.pin, mode]).toEqual([pin, "output"]);
    await board.says(/is online/);
    expect(board.trace.all.filter((line) => line.pin === pin && (line.value ?? 0) > 0)).toEqual([]);
  });
});

describe("what is on goes off", () => {
  test("by the loop alone", async () => {
    const bench = await startCoffin();
    bench.board.tell({ timers: false, watchdog: false });
    const opened = bench.board.pinTurns(VALVE, 1);
    const closed = bench.board.pinTurns(VALVE, 0);
    const states = bench.client.expectSeries(`halloween/${COFFIN}/state`, "jumping", "cooldown", "armed");
    await bench.client.command(COFFIN, "jump 1000");
    // Counted from a moment before the pin is on, so that it may be on for a little less.
    expect((await closed).ms - (await opened).ms).toBeGreaterThanOrEqual(900);
    await states;
    expect(bench.client.texts(`halloween/${COFFIN}/status/error`)).toEqual([]);
  });

  test("by esp_timer alone, while the loop hangs", async () => {
    const bench = await startCoffin();
    bench.board.tell({ watchdog: false });
    const closed = bench.board.pinTurns(VALVE, 0);
    await jump(bench, 2000);
    bench.board.tell({ hang: true });
    await closed;
    bench.board.tell({ hang: false });
    await bench.client.expect(`halloween/${COFFIN}/status/error`, /pin 26 was cut off by its timer: the loop was late/);
    await bench.client.expect(`halloween/${COFFIN}/state`, "cooldown");
  });

  test("by esp_timer alone, while a publish holds up the loop", async () => {
    const bench = await startFogger();
    bench.board.tell({ watchdog: false });
    const off = bench.board.pinTurns(PUMP, 0);
    // Its state is published when the pump is on.
    await bench.board.told({ publish_stall_ms: 2000 });
    await fog(bench, 300);
    await off;
    bench.board.tell({ publish_stall_ms: 0 });
    await bench.client.expect(`halloween/${FOGGER}/status/error`, /cut off by its timer/);
  });

  test("by the watchdog alone, and the board says so, and is to be looked at", async () => {
    const bench = await startCoffin();
    const { client, board } = bench;
    board.tell({ timers: false });
    await jump(bench);
    const reset = board.resets("task_watchdog");
    board.tell({ hang: true });
    await reset;
    expect(board.pin(VALVE)).toBe(0);
    await client.expect(`halloween/${COFFIN}/telemetry/reset_reason`, "task_watchdog");
    await client.expect(
      `halloween/${COFFIN}/status/error`,
      /^it was reset \(task_watchdog\): what it was doing was cut off/,
    );
    await client.expect(`halloween/${COFFIN}/state`, "fault");
    await client.command(COFFIN, "arm");
    await client.command(COFFIN, "jump");
    await client.expect(`halloween/${COFFIN}/status/warn`, /jump refused: it was reset in the middle of something/);
    const armed = client.expectNext(`halloween/${COFFIN}/state`, "armed");
    await client.command(COFFIN, "reset");
    await armed;
    await jump(bench, 100);
  });

  test("by stop, in the middle", async () => {
    const bench = await startCoffin();
    await jump(bench);
    const closed = bench.board.pinTurns(VALVE, 0);
    await bench.client.command(COFFIN, "stop");
    await closed;
    await bench.client.expect(`halloween/${COFFIN}/state`, "disarmed");
  });

  test("by the stop of the worker beside it, and by nothing else that is sent there", async () => {
    const bench = await startCoffin();
    await bench.client.command("coffin_jumper", "jump");
    await bench.client.command("coffin_jumper", "disarm");
    await jump(bench);
    const closed = bench.board.pinTurns(VALVE, 0);
    await bench.client.command("coffin_jumper", { action: "stop", reply_to: "halloween/cli/reply/s" });
    await closed;
    await bench.client.expect(`halloween/${COFFIN}/state`, "disarmed");
    await bench.client.barrier();
    expect(bench.client.texts(`halloween/${COFFIN}/status/warn`)).toEqual([]);
    expect(bench.client.texts("halloween/cli/reply/s")).toEqual([]);
  });

  test("by the stop for all, and by no other command for all", async () => {
    const bench = await startFogger();
    await fog(bench);
    const off = bench.board.pinTurns(PUMP, 0);
    const idle = bench.client.expectNext(`halloween/${FOGGER}/state`, "idle");
    await bench.client.publish("halloween/broadcast/cmd", "set_mode off");
    await bench.client.publish("halloween/broadcast/cmd", "stop");
    await Promise.all([off, idle]);
  });

  test("by a lock-out, until it is released", async () => {
    const bench = await startFogger();
    const { client, board } = bench;
    await fog(bench);
    const off = board.pinTurns(PUMP, 0);
    const topic = `halloween/${FOGGER}/status/lock_out`;
    await client.publish(topic, "the hose leaks", { retain: true });
    await off;
    await client.command(FOGGER, "start");
    await client.expect(`halloween/${FOGGER}/status/warn`, /start refused: it is locked out/);
    await client.publish(topic, "", { retain: true });
    await fog(bench, 100);
  });

  test("when the heater is not ready any more", async () => {
    const bench = await startFogger();
    await fog(bench);
    const off = bench.board.pinTurns(PUMP, 0);
    bench.board.set(READY, 1);
    await off;
    await bench.client.expect(`halloween/${FOGGER}/state`, "heating");
    await bench.client.command(FOGGER, "start");
    await bench.client.expect(`halloween/${FOGGER}/status/warn`, /start refused: the heater is not ready/);
  });

  test("and stays off when it was on for too long of late; prolonging it is no way round", async () => {
    const bench = await startFogger();
    const { client, board } = bench;
    const begun = board.pinTurns(PUMP, 1);
    const ended = board.pinTurns(PUMP, 0);
    // One after the other, so that it is never off.
    const again = setInterval(() => void client.command(FOGGER, "start 4000"), 200);
    await ended.finally(() => clearInterval(again));
    const onMs = (await ended).ms - (await begun).ms;
    // The limit of 10 s ended it, not the next one, which is 30 s.
    expect(onMs).toBeGreaterThanOrEqual(9_900);
    expect(onMs).toBeLessThan(25_000);
    expect(client.texts(`halloween/${FOGGER}/status/error`)).toEqual([]);
    for (const _ of [1, 2]) {
      await fog(bench, 10_000);
      await board.pinTurns(PUMP, 0);
    }
    await client.command(FOGGER, "start 10000");
    await client.expect(`halloween/${FOGGER}/status/warn`, /start refused: it was on for too long of late/);
  });
});

describe("the link", () => {
  test("lost with the broker: off and disarmed; back with it, and all is said again", async () => {
    const bench = await startCoffin();
    const { broker, board } = bench;
    await jump(bench);
    const closed = board.pinTurns(VALVE, 0);
    await broker.stop();
    await closed;
    const online = board.trace.next(({ serial }) => /is online/.test(serial ?? ""), "online again");
    await broker.start();
    await online;
    const client = await TestClient.connect(broker.url);
    await client.expect(`halloween/${COFFIN}/status/availability`, "online");
    await client.expect(`halloween/${COFFIN}/state`, "disarmed");
    await client.expect(`halloween/${COFFIN}/description`);
    await client.command(COFFIN, "jump");
    await client.expect(`halloween/${COFFIN}/status/warn`, /jump refused: it is disarmed/);
    expect(board.pin(VALVE)).toBe(0);
  });

  test("lost for less than its limit changes nothing", async () => {
    const bench = await startCoffin();
    const online = bench.board.trace.next(({ serial }) => /is online/.test(serial ?? ""), "online again");
    await bench.broker.stop();
    await bench.broker.start();
    await online;
    const client = await TestClient.connect(bench.broker.url);
    await client.expect(`halloween/${COFFIN}/state`, "armed");
  });

  test("lost with the WiFi: off and disarmed, and back with it", async () => {
    const bench = await startCoffin();
    const { client, board } = bench;
    await jump(bench);
    const closed = board.pinTurns(VALVE, 0);
    board.tell({ wifi: false });
    await closed;
    const disarmed = client.expectNext(`halloween/${COFFIN}/state`, "disarmed");
    const online = board.trace.next(({ serial }) => /is online/.test(serial ?? ""), "online again");
    board.tell({ wifi: true });
    await online;
    await disarmed;
    const late = await TestClient.connect(client.url);
    await late.expect(`halloween/${COFFIN}/status/availability`, "online");
  });

  test("killed: the broker says offline at once", async () => {
    const { client, board } = await startCoffin();
    const offline = client.expectNext(`halloween/${COFFIN}/status/availability`, "offline");
    await board.kill();
    await offline;
  });

  test("frozen: the broker says offline when the keepalive runs out, and the board comes back by itself", async () => {
    const { client, board } = await startCoffin();
    const offline = client.seen.next(
      ({ topic, text }) => topic === `halloween/${COFFIN}/status/availability` && text === "offline",
      "offline",
      40_000,
    );
    board.signal("SIGSTOP");
    await offline;
    const online = client.expectNext(`halloween/${COFFIN}/status/availability`, "online");
    board.signal("SIGCONT");
    await online;
    await client.expect(`halloween/${COFFIN}/state`, "disarmed");
  });

  test("half open, so that nothing arrives and nothing breaks: off by its time, then disarmed", async () => {
    const broker = await startBroker();
    const proxy = await startProxy(broker.port);
    const client = await TestClient.connect(broker.url);
    const board = startBoard("coffin_jumper", { broker: proxy });
    await client.expect(`halloween/${COFFIN}/status/availability`, "online");
    await client.command(COFFIN, "arm");
    await client.expect(`halloween/${COFFIN}/state`, "armed");
    const closed = board.pinTurns(VALVE, 0);
    await jump({ broker, client, board }, 1000);
    let thaw = (_: "pass") => {};
    const thawed = new Promise<"pass">((resolve) => {
      thaw = resolve;
    });
    proxy.decide = () => thawed;
    await closed;
    const noticed = ({ serial }: Trace) => /everything off: the broker is out of reach/.test(serial ?? "");
    await board.trace.next(noticed, "that the board notices", 40_000);
    await client.expect(`halloween/${COFFIN}/status/availability`, "offline");
    const state = client.expectNext(`halloween/${COFFIN}/state`, "disarmed");
    proxy.decide = () => "pass";
    thaw("pass");
    await state;
  });
});

describe("millis() wraps", () => {
  test("during an action, a cooldown and a link", async () => {
    const bench = await startCoffin({ millis: 2 ** 32 - 2500 });
    const opened = bench.board.pinTurns(VALVE, 1);
    const closed = bench.board.pinTurns(VALVE, 0);
    const states = bench.client.expectSeries(`halloween/${COFFIN}/state`, "jumping", "cooldown", "armed");
    bench.board.tell({ millis: 2 ** 32 - 1500 });
    await bench.client.command(COFFIN, "jump 3000");
    const before = (await opened).ms;
    const after = (await closed).ms;
    expect(before).toBeGreaterThan(after);
    expect((after - before + 2 ** 32) % 2 ** 32).toBeGreaterThanOrEqual(2_900);
    await states;
    await jump(bench, 100);
    expect(bench.client.texts(`halloween/${COFFIN}/status/error`)).toEqual([]);
  });
});

describe("commands that are left over", () => {
  test("retained: none is run at the start, whatever it is", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    await client.publish(`halloween/${COFFIN}/cmd`, "arm", { retain: true });
    await client.publish("halloween/coffin_jumper/cmd", "jump", { retain: true });
    await client.publish("halloween/broadcast/cmd", "jump", { retain: true });
    const board = startBoard("coffin_jumper", { broker });
    await client.expect(`halloween/${COFFIN}/status/warn`, /^retained command refused: "arm"/);
    await client.expect(`halloween/${COFFIN}/state`, "disarmed");
    expect(board.pin(VALVE)).toBe(0);
  });

  test("sent while it was away: none is run when it is back", async () => {
    const bench = await startCoffin();
    await bench.board.kill();
    await bench.client.expect(`halloween/${COFFIN}/status/availability`, "offline");
    await bench.client.command(COFFIN, "arm");
    const online = bench.client.expectNext(`halloween/${COFFIN}/status/availability`, "online");
    startBoard("coffin_jumper", { broker: bench.broker, env: { HOST_NVS: bench.board.nvs } });
    await online;
    await bench.client.barrier();
    expect(bench.client.texts(`halloween/${COFFIN}/state`).at(-1)).toBe("disarmed");
  });
});

describe("all-stop", () => {
  const TOPIC = "halloween/worker_host/status/all_stop";

  test("ends what runs, refuses everything else, and clearing it starts nothing", async () => {
    const bench = await startCoffin();
    const { client, board } = bench;
    await jump(bench);
    const closed = board.pinTurns(VALVE, 0);
    await client.publish(TOPIC, "engaged", { retain: true });
    await closed;
    for (const action of ["arm", "jump", "reset"]) {
      const refused = client.expectNext(
        `halloween/${COFFIN}/status/warn`,
        new RegExp(`^${action} refused: all-stop is engaged`),
      );
      await client.command(COFFIN, action);
      await refused;
    }
    const pong = client.expectNext(`halloween/${COFFIN}/telemetry/pong`);
    await client.command(COFFIN, "ping");
    await pong;
    await client.publish(TOPIC, "clear", { retain: true });
    const refused = client.expectNext(`halloween/${COFFIN}/status/warn`, /^jump refused: it is disarmed/);
    await client.command(COFFIN, "jump");
    await refused;
    expect(board.pin(VALVE)).toBe(0);
  });

  test("holds over a reboot of the board", async () => {
    const bench = await startCoffin();
    const { client, board } = bench;
    await client.publish(TOPIC, "engaged", { retain: true });
    await client.expect(`halloween/${COFFIN}/state`, "disarmed");
    const online = client.expectNext(`halloween/${COFFIN}/status/availability`, "online");
    board.tell({ reset: true });
    await online;
    const refused = client.expectNext(`halloween/${COFFIN}/status/warn`, /^arm refused: all-stop is engaged/);
    await client.command(COFFIN, "arm");
    await refused;
  });

  test("of several hosts: each has to clear its own", async () => {
    const { client } = await startCoffin();
    const attic = "halloween/attic/status/all_stop";
    await client.publish(attic, "engaged", { retain: true });
    await client.publish(TOPIC, "engaged", { retain: true });
    await client.publish(TOPIC, "clear", { retain: true });
    const refused = client.expectNext(`halloween/${COFFIN}/status/warn`, /^arm refused: all-stop is engaged/);
    await client.command(COFFIN, "arm");
    await refused;
    await client.publish(attic, "clear", { retain: true });
    const armed = client.expectNext(`halloween/${COFFIN}/state`, "armed");
    await client.command(COFFIN, "arm");
    await armed;
  });
});

test("blocked stays blocked over a reboot, and arming doesn't undo it", async () => {
  const bench = await startCoffin();
  const { client, board } = bench;
  await jump(bench);
  const closed = board.pinTurns(VALVE, 0);
  // The valve closes first; only the state tells that it is kept.
  const blocked = client.expectNext(`halloween/${COFFIN}/state`, "blocked");
  await client.command(COFFIN, "block");
  await closed;
  await blocked;
  const online = client.expectNext(`halloween/${COFFIN}/status/availability`, "online");
  board.tell({ reset: true });
  await online;
  await client.command(COFFIN, "arm");
  await client.command(COFFIN, "jump");
  await client.expect(`halloween/${COFFIN}/status/warn`, /jump refused: it is blocked/);
  const armed = client.expectNext(`halloween/${COFFIN}/state`, "armed");
  await client.command(COFFIN, "unblock");
  await armed;
  await jump(bench, 100);
});

test("a flood of commands keeps no stop from it, and what it couldn't take is counted", async () => {
  const bench = await startFogger();
  const { client, board } = bench;
  await fog(bench);
  const off = board.pinTurns(PUMP, 0);
  const flood = Array.from({ length: 3000 }, () => client.publish(`halloween/${FOGGER}/cmd`, "ping", { qos: 0 }));
  const stop = client.publish(`halloween/${FOGGER}/cmd`, "stop", { qos: 0 });
  const more = Array.from({ length: 1000 }, () => client.publish(`halloween/${FOGGER}/cmd`, "ping", { qos: 0 }));
  await off;
  await Promise.all([...flood, stop, ...more]);
  const warn = await client.expect(
    `halloween/${FOGGER}/status/warn`,
    /commands dropped|more were left out|a stop came after it/,
  );
  expect(warn).toBeDefined();
  const reply_to = "halloween/cli/reply/after";
  await client.commandUntil(FOGGER, { action: "ping", reply_to }, reply_to);
});

test("a payload of 3,000 bytes in the middle of an action changes nothing", async () => {
  const bench = await startFogger();
  await fog(bench);
  await bench.client.publish(`halloween/${FOGGER}/cmd`, `stop ${"x".repeat(3000)}`);
  await bench.client.expect(`halloween/${FOGGER}/status/warn`, /command of 3005 bytes refused: at most 1024/);
  expect(bench.board.pin(PUMP)).toBe(1);
});

describe("the panic button", () => {
  const BUTTON = 27;
  const LAMP = 26;

  test("asks for all-stop until the latch is engaged, stops the boards itself, and shows the latch", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    const board = startBoard("panic_button", { broker, inputs: { [BUTTON]: 0 } });
    await client.expect("halloween/panic_button/state", "ready");
    board.set(BUTTON, 1);
    await client.expect("halloween/worker_host/cmd", "all_stop the panic button");
    await client.expect("halloween/broadcast/cmd", "stop");
    await client.expectNext("halloween/worker_host/cmd", "all_stop the panic button");
    await client.publish("halloween/worker_host/status/all_stop", "engaged", { retain: true });
    await client.expect("halloween/panic_button/state", "engaged");
    await board.shows(LAMP, 1);
    const off = board.pinTurns(LAMP, 0);
    board.set(BUTTON, 0);
    await client.expect("halloween/panic_button/telemetry/pressed", "false");
    const ready = client.expectNext("halloween/panic_button/state", "ready");
    await client.publish("halloween/worker_host/status/all_stop", "clear", { retain: true });
    await Promise.all([off, ready]);
  });

  test("takes a broken wire for pressed", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    startBoard("panic_button", { broker });
    await client.expect("halloween/worker_host/cmd", "all_stop the panic button");
    await client.expect("halloween/panic_button/state", "pressed");
  });
});
