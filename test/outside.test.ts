import { AsyncResource } from "node:async_hooks";
import { expect, test } from "vitest";
import { BaseWorker, command } from "worker-host";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";
import { said, start } from "./harness/started-worker.ts";

/** A valve that is held open, and a step after that. */
class Valve extends BaseWorker {
  async scare() {
    await this.hold(
      3000,
      () => this.publish("valve", "open"),
      () => this.publish("valve", "closed"),
    );
    await this.publish("step", "next");
  }
}

test("what moves outside of every command, handler and task is refused in words, and so is what start() left behind", async () => {
  let patrolled: Promise<unknown> | undefined;
  class Patrol extends Valve {
    refused = async (move: () => unknown) => {
      try {
        await move();
        return "moved";
      } catch (error) {
        return (error as Error).message;
      }
    };
    override async start() {
      patrolled = this.refused(() => this.patrol());
    }
    async patrol() {
      for (;;) {
        await this.sleep(500);
        await this.scare();
      }
    }
  }
  const patrol = await start(Patrol);
  const { worker } = patrol;
  const moves = [
    () => worker.scare(),
    () => worker.command("fogger", "start"),
    () => worker.call("fogger", "start"),
    () => worker.publish("valve", "open"),
    () => worker.exec("true"),
    () => worker.shield(() => {}),
  ];
  for (const move of moves)
    expect(await worker.refused(move)).toMatch(/outside of every command.*this\.spawn\(\(\) =>/);
  await patrol.advance(500);
  expect(await patrolled).toMatch(/^hold is outside .*this\.spawn/);
});

test("a callback's spawn is a run: a stop ends it, also while it only waits", async () => {
  const valve = await start(Valve);
  const { worker } = valve;
  // A callback of a library has nothing of ours around it.
  worker.spawn(async () => {
    await worker.sleep(1000);
    await worker.scare();
  });
  await valve.send("stop");
  await valve.advance(10_000);
  worker.spawn(() => worker.scare());
  await valve.advance(100);
  expect(said(valve, "valve")).toEqual(["open"]);
  await valve.send("stop");
  await valve.advance(10_000);
  expect(said(valve, "valve")).toEqual(["open", "closed"]);
  expect(said(valve, "step")).toEqual([]);
});

test("what start() begins and moves ends with a stop; a worker that is stopped in it comes up idle", async () => {
  class SelfTest extends Valve {
    override async start() {
      this.scare().catch(() => {});
      await this.sleep(1000);
      this.every(1000, () => this.telemetry("tick", 1));
      this.spawn(async () => {
        await this.sleep(2500);
        this.telemetry("spoke", 1);
      });
    }
  }
  const starting = start(SelfTest);
  const test = await starting;
  expect(said(test, "valve")).toEqual(["open"]);
  await test.send("stop");
  expect(said(test, "valve")).toEqual(["open", "closed"]);
  await test.advance(3000);
  expect(said(test, "step")).toEqual([]);
  // What only speaks goes on.
  expect(await test.telemetry("spoke")).toBe(1);
  expect(await test.telemetry("tick")).toBe(1);
});

test("what began while all-stop held moves nothing after all clear", async () => {
  class Trap extends Valve {
    override async start() {
      await this.subscribe("pir", () => this.scare());
    }
  }
  const trap = await start(Trap);
  await trap.allStop();
  await trap.publish("pir", "1");
  await trap.advance(600);
  await trap.allStop(false);
  await trap.advance(10_000);
  expect([...said(trap, "valve"), ...said(trap, "step")]).toEqual([]);
  await trap.publish("pir", "1");
  await trap.advance(3000);
  expect(said(trap, "valve")).toEqual(["open", "closed"]);
  expect(said(trap, "step")).toEqual(["next"]);
});

test.each(["all-stop", "a lock-out", "two stops"])("after %s, code that goes on arms nothing", async (what) => {
  let answer = () => {};
  class Armed extends BaseWorker {
    static arming = true;
    async do_scene() {
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      this.state = "armed";
    }
  }
  const armed = await start(Armed);
  await armed.send("scene");
  if (what === "all-stop") {
    await armed.allStop();
    await armed.send({ action: "stop", reason: "all_stop", reply_to: "halloween/worker_host/reply/stop/1" } as {
      action: string;
    });
  } else if (what === "a lock-out") {
    await armed.lockOut("the hose leaks");
    await armed.send("stop");
  } else {
    await armed.send("stop");
    await armed.send("stop");
  }
  answer();
  await armed.advance(10);
  expect(armed.worker.state).toBe("disarmed");
});

test("what a stop left behind, such as a socket's callback, is no part of it after its time", async () => {
  let fromDevice = () => {};
  class Reconnects extends BaseWorker {
    @command({ cooldownMs: 60_000 })
    async do_jump() {
      await this.publish("lid", "jump");
    }
    do_stop() {
      // As a socket that is opened here keeps this context for its callbacks.
      fromDevice = AsyncResource.bind(() => void this.do_jump().catch(() => {}));
      this.every(700, () => this.command("fogger", "puff"));
      void (async () => {
        await this.sleep(1000);
        await this.publish("lid", "closed");
      })().catch(() => {});
    }
  }
  const device = await start(Reconnects);
  await device.allStop();
  await device.advance(2000);
  // What it didn't wait for has its time.
  expect(said(device, "lid")).toEqual(["closed"]);
  await device.advance(10_000);
  fromDevice();
  await device.advance(10);
  expect(said(device, "lid")).toEqual(["closed"]);
  expect(device.commands).toEqual([]);
  expect(await device.status("warn")).toMatch(/puff.*not sent to fogger: all-stop is engaged/);
});

test("a loop that catches everything ends with its command: publish and command reject as sleep does", async () => {
  let turns = 0;
  class Blink extends BaseWorker {
    async do_blink() {
      for (;;) {
        try {
          turns++;
          await this.publish("lamp", "on");
          await this.sleep(200);
        } catch {
          // A bulb is missing.
        }
      }
    }
    async do_flood() {
      for (;;) {
        try {
          turns++;
          await this.command("fogger", "puff");
          await this.sleep(200);
        } catch {
          // No fogger.
        }
      }
    }
  }
  const blink = await start(Blink);
  for (const action of ["blink", "flood"]) {
    await blink.send(action);
    turns = 0;
    await blink.send("stop");
    await blink.advance(1000);
    expect(turns).toBeLessThan(5);
    expect(await blink.call("ping").catch((error: Error) => error.message)).toMatch(/unknown action/);
  }
});

test("a lock-out or an all-stop that comes while do_stop runs has onAllStop called at once; what is left behind goes no further", async () => {
  class Trunk extends BaseWorker {
    static stopTimeoutMs = 1000;
    async do_stop(_args: unknown, { reason }: { reason?: string }) {
      this.telemetry("line", `halt ${reason}`);
      if (reason === "all_stop" || reason === "lock_out") return;
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      await this.publish("trunk", "close");
    }
    override onAllStop() {
      this.telemetry("line", "freeze");
    }
  }
  let answer = () => {};
  const trunk = await start(Trunk);
  await trunk.send("stop");
  await trunk.advance(100);
  await trunk.lockOut("hands");
  expect(said(trunk, "halloween/prop/telemetry/line")).toEqual(["halt stop", "freeze"]);
  await trunk.advance(1000);
  expect(said(trunk, "halloween/prop/telemetry/line")).toEqual(["halt stop", "freeze", "halt lock_out"]);
  answer();
  await trunk.advance(5000);
  expect(said(trunk, "trunk")).toEqual([]);
});

test("a shielded step has its time after a stop, and no more", async () => {
  class Shielded extends BaseWorker {
    static stopTimeoutMs = 2000;
    async do_go() {
      await this.shield(async () => {
        for (let i = 0; ; i++) {
          await this.publish("lid", i);
          await this.sleep(1500);
        }
      });
    }
  }
  const lid = await start(Shielded);
  await lid.send("go");
  await lid.send("stop");
  await lid.advance(60_000);
  expect(said(lid, "lid")).toEqual(["0", "1"]);
  expect(await lid.status("warn")).toBe("what do_go shields went on for 2 s after a stop: it was ended");
});

test("a method that is bound in a field is the command too", async () => {
  class Bound extends BaseWorker {
    readonly onMotion = this.do_jump.bind(this);
    override async start() {
      await this.subscribe("pir", () => this.onMotion().catch(() => {}));
    }
    @command({ cooldownMs: 20_000 })
    async do_jump() {
      await this.publish("lid", "jump");
    }
  }
  const bound = await start(Bound);
  await bound.publish("pir", "1");
  await bound.publish("pir", "1");
  await bound.advance(100);
  expect(said(bound, "lid")).toEqual(["jump"]);
});

test("a worker that ends hears of all-stop: it freezes at once, and stops once more", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url, ["lid"]);
  const host = await startHost({
    broker,
    props: {
      "lid/backend/worker.ts": workerSource(`
        static stopTimeoutMs = 20000;
        onAllStop() { void this.publish("lid", "FREEZE"); }
        async do_stop(_args, { reason }) {
          await this.publish("lid", "halt " + reason);
          if (reason === "all_stop") return;
          await new Promise((resolve) => process.once("lid-closed", resolve));
        }`),
    },
  });
  await client.publish("halloween/worker_host/admin/cmd", "restart_worker lid");
  await client.expect("lid", "halt reload");
  await client.command("worker_host", "all_stop");
  await client.expect("lid", "FREEZE");
  await host.kill();
});

test("what a stop says while the broker is away goes out once it is back", async () => {
  const broker = await startBroker();
  const host = await startHost({
    broker,
    props: {
      "lamp/backend/worker.ts": workerSource(`
        async start() { await super.start(); this.every(60000, () => {}); }
        async do_on() { await this.hold(Infinity, () => this.publish("lamp", "on"), () => this.publish("lamp", "off")); }
        do_stop() { void this.publish("valve", "closed"); }
        onConnection(up) { if (!up) void this.allStop("away").then(() => this.log.info("stopped")); }`),
    },
  });
  let client = await TestClient.connect(broker.url, ["lamp", "valve"]);
  await client.command("lamp", "on");
  await client.expect("lamp", "on");
  await broker.stop();
  await host.logged("all-stop is engaged");
  await broker.start();
  client = await TestClient.connect(broker.url, ["lamp", "valve"]);
  await client.expect("lamp", "off");
  await client.expect("valve", "closed");
});
