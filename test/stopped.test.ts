import { expect, test } from "vitest";
import { BaseWorker } from "worker-host";
import { startWorker } from "worker-host/testing";
import { said, start } from "./harness/started-worker.ts";

/** As the host tells of an all-stop by MQTT. */
const ALL_STOP = { action: "stop", reason: "all_stop", reply_to: "halloween/worker_host/reply/stop/1" };

class Latch extends BaseWorker {
  toggles = 0;
  do_stop() {
    this.toggles++;
  }
}

test("one all-stop, which the host tells of directly and by the topic of all props, is one stop", async () => {
  const latch = await start(Latch);
  await latch.allStop();
  await latch.advance(80);
  await latch.publish("halloween/broadcast/cmd", ALL_STOP);
  await latch.advance(80);
  expect(latch.worker.toggles).toBe(1);
  await latch.lockOut("the hose leaks");
  await latch.send({ ...ALL_STOP, reason: "lock_out" } as { action: string });
  // While all-stop holds, a lock-out is nothing graver, but it is another one.
  expect(latch.worker.toggles).toBe(2);
  await latch.lockOut();
  latch.worker.toggles = 1;
  // The next one is another, and so is a stop that somebody sends.
  await latch.allStop();
  await latch.send("stop");
  expect(latch.worker.toggles).toBe(3);
});

class Again extends BaseWorker {
  on = false;
  stops = 0;
  do_on() {
    this.on = true;
  }
  async do_stop() {
    this.stops++;
    this.on = false;
    await this.sleep(1000);
  }
}

test("what begins while do_stop runs is stopped too: do_stop runs once more, and no more than that", async () => {
  const again = await start(Again);
  const first = again.call("stop");
  await again.advance(100);
  await again.send("on");
  const second = again.call("stop");
  const third = again.call("stop");
  await again.advance(5000);
  await Promise.all([first, second, third]);
  expect({ on: again.worker.on, stops: again.worker.stops }).toEqual({ on: false, stops: 2 });
});

class Stuck extends BaseWorker {
  static stopTimeoutMs = 700;
  entered = 0;
  do_stop() {
    return ++this.entered === 1 ? new Promise(() => {}) : undefined;
  }
}

test("a do_stop that never ends is left behind in its time: those who joined hear of it, and the next stop enters anew", async () => {
  const stuck = await start(Stuck);
  const told = [stuck.call("stop"), stuck.call("stop")].map((call) => call.catch((error: Error) => error.message));
  await stuck.advance(600);
  await stuck.advance(200);
  expect(await Promise.all(told)).toEqual(
    new Array(2).fill("prop stop: Error: do_stop has not ended in 0.7 s: left behind"),
  );
  expect(await stuck.status("warn")).toBe("do_stop has not ended in 0.7 s: left behind");
  await stuck.send("stop");
  expect(stuck.worker.entered).toBe(2);
});

class Reasons extends BaseWorker {
  override async start() {
    this.addCommand("glow", { maxOnMs: 500 }, () => {});
  }
  do_stop(_args: unknown, { reason }: { reason?: string }) {
    this.telemetry("reason", reason);
  }
}

test("do_stop knows why it runs", async () => {
  const worker = await startWorker(Reasons);
  await worker.send("stop");
  expect(await worker.telemetry("reason")).toBe("stop");
  await worker.send("glow");
  await worker.advance(500);
  expect(await worker.telemetry("reason")).toBe("max_on");
  await worker.allStop();
  expect(await worker.telemetry("reason")).toBe("all_stop");
  await worker.send("stop");
  expect(await worker.telemetry("reason")).toBe("all_stop");
  await worker.allStop(false);
  await worker.stop();
  expect(said(worker, "halloween/prop/telemetry/reason").at(-1)).toBe("end");
});

test("static stopTimeoutMs bounds do_stop and stop() together, and is 30 s at most", async () => {
  class Slow extends BaseWorker {
    static stopTimeoutMs = 4_000;
    async do_stop() {
      await this.sleep(3000);
      this.telemetry("off", 1);
    }
    override async stop() {
      await new Promise(() => {});
    }
  }
  const slow = await startWorker(Slow);
  const stopped = slow.stop();
  await slow.advance(2999);
  await slow.advance(1);
  expect(said(slow, "halloween/prop/telemetry/off")).toEqual(["1"]);
  await slow.advance(1000);
  await stopped;
  expect(said(slow, "halloween/prop/status/warn")).toEqual(["stop() has not ended in 4 s: left behind"]);
  class Endless extends BaseWorker {
    static stopTimeoutMs = 60_000;
  }
  await expect(startWorker(Endless)).rejects.toThrow(
    /static stopTimeoutMs is 60000: expected a number of ms, above 0, 30000 at most/,
  );
});

class Free extends BaseWorker {
  release = () => {};
  foreign = new Promise<void>((resolve) => {
    this.release = resolve;
  });
  async do_go() {
    await this.foreign;
    await this.command("fogger", "stop");
    void this.call("fogger_hw", "stop").catch(() => {});
    await this.command("lights", "on", undefined, { safe: true });
    await this.publish("house/lights", "ON", { safe: true });
  }
  async do_until() {
    await this.until(this.foreign);
    this.telemetry("until", "went on");
  }
  async do_shield() {
    await this.shield(async () => {
      await this.foreign;
      await this.command("door", "unlock");
    });
    await this.command("door", "open");
  }
}

test("what is stopped may still send stop, what is safe, and what is shielded; until() ends with it", async () => {
  const free = await start(Free);
  for (const action of ["go", "until", "shield"]) await free.send(action);
  await free.send("stop");
  free.worker.release();
  await free.advance(1000);
  expect(free.commands.map(({ target, action }) => `${target} ${action}`).sort()).toEqual([
    "door unlock",
    "fogger stop",
    "fogger_hw stop",
    "lights on",
  ]);
  expect(said(free, "house/lights")).toEqual(["ON"]);
  expect(said(free, "halloween/prop/telemetry/until")).toEqual([]);
});

class Motion extends BaseWorker {
  override async start() {
    await this.subscribe("motion", async () => {
      await this.hold(
        1000,
        () => this.publish("valve", "open"),
        () => this.publish("valve", "closed"),
      );
      this.telemetry("told", await this.command("fogger", "start"));
      this.telemetry("lights", await this.command("lights", "on"));
      await this.command("worker_host", "operator_alive");
      await this.exec("true").catch(() => {});
      this.telemetry("over", 1);
    });
  }
  async do_stop() {
    await this.command("fogger", "stop");
    await this.shield(() => this.publish("valve", "closed"));
  }
}

test("while all-stop holds, a new motion moves nothing; what the receiver would take is sent", async () => {
  const motion = await start(Motion);
  await motion.publish(
    "halloween/lights/description",
    JSON.stringify({ contract: 1, id: "lights", class: "lights", commands: { on: { safe: true } } }),
    { retain: true, qos: 1 },
  );
  // A board's, which makes no host of it.
  await motion.publish(
    "halloween/fogger/description",
    JSON.stringify({ contract: 1, id: "fogger", name: "fogger", board: "esp32", workers: [], commands: { start: {} } }),
    { retain: true, qos: 1 },
  );
  await motion.allStop();
  expect(motion.commands).toEqual([{ target: "fogger", action: "stop", args: undefined }]);
  await motion.publish("motion", "1");
  await motion.advance(1000);
  expect(await motion.telemetry("told")).toBe(false);
  expect(await motion.telemetry("lights")).toBe(true);
  await motion.telemetry("over");
  expect(said(motion, "valve")).toEqual(["closed"]);
  expect(motion.commands.slice(1).map(({ target, action }) => `${target} ${action}`)).toEqual([
    "lights on",
    "worker_host operator_alive",
  ]);
  expect(await motion.status("warn")).toBe('"start" was not sent to fogger: all-stop is engaged');
  expect(await motion.status("warn")).toBe("true was not run: all-stop is engaged");
  await motion.allStop(false);
  await motion.publish("motion", "1");
  await motion.advance(1000);
  expect(said(motion, "valve")).toEqual(["closed", "open", "closed"]);
});

test("hold(Infinity) lasts until it is stopped", async () => {
  class Lamp extends BaseWorker {
    do_on() {
      return this.hold(
        Number.POSITIVE_INFINITY,
        () => this.telemetry("lamp", "on"),
        () => this.telemetry("lamp", "off"),
      );
    }
  }
  const lamp = await start(Lamp);
  await lamp.send("on");
  await lamp.advance(10_000_000);
  expect(said(lamp, "halloween/prop/telemetry/lamp")).toEqual(["on"]);
  await lamp.send("stop");
  expect(said(lamp, "halloween/prop/telemetry/lamp")).toEqual(["on", "off"]);
});
