import { expect, onTestFinished, test } from "vitest";
import { BaseWorker, z } from "worker-host";
import { type StartWorkerOptions, startWorker } from "worker-host/testing";

class Lamp extends BaseWorker<z.infer<typeof Lamp.config>> {
  static config = z.object({ glow_ms: z.number().positive().default(60_000) });

  override async start() {
    await super.start();
    this.state = "dark";
    await this.watch("door", "open", (open) => this.command("bell", "ring", { open }));
  }

  override onConfig(next: { glow_ms: number }) {
    this.telemetry("glow_ms", next.glow_ms);
  }

  async do_glow(ms: unknown = this.config.glow_ms) {
    await this.hold(
      Number(ms),
      () => {
        this.state = "glowing";
      },
      () => {
        this.state = "dark";
      },
    );
    this.telemetry("glows", (this.store.get<number>("glows") ?? 0) + 1);
    await this.store.set("glows", (this.store.get<number>("glows") ?? 0) + 1);
    return "glowed";
  }
}

async function start(options: StartWorkerOptions = {}) {
  const lamp = await startWorker(Lamp, options);
  onTestFinished(() => lamp.stop());
  return lamp;
}

test("a worker runs by itself: commands, state, telemetry, replies, and time put forward", async () => {
  const lamp = await start();
  expect(await lamp.state()).toBe("dark");
  await lamp.send("glow");
  expect(await lamp.state()).toBe("glowing");
  await lamp.advance(60_000);
  expect(await lamp.state()).toBe("dark");
  expect(await lamp.telemetry("glows")).toBe(1);
  expect(await lamp.call("glow", 1)).toBe("glowed");
  expect(await lamp.telemetry("glows")).toBe(2);
  await lamp.send({ action: "dance" });
  expect(await lamp.status("warn")).toMatch(/^unknown action "dance"/);
  await expect(lamp.call("dance")).rejects.toMatchObject({ code: "refused" });
});

class Counter extends BaseWorker {
  async do_count() {
    for (let count = 1; count <= 5; count++) {
      await this.sleep(1000);
      const began = performance.now();
      while (performance.now() < began + 20);
      this.telemetry("count", count);
    }
  }
}

test("while time is put forward, nothing else moves it: neither the work itself, nor what is said meanwhile", async () => {
  const counter = await startWorker(Counter);
  onTestFinished(() => counter.stop());
  await counter.send("count");
  const forward = counter.advance(5000);
  await Promise.all([1, 2, 3].map((open) => counter.publish("halloween/door/telemetry/open", open)));
  await forward;
  expect(counter.messages.filter(({ topic }) => topic === "halloween/prop/telemetry/count")).toHaveLength(5);
});

test("all-stop is engaged and cleared by hand", async () => {
  const lamp = await start();
  expect(await lamp.state()).toBe("dark");
  await lamp.send("glow");
  expect(await lamp.state()).toBe("glowing");
  await lamp.allStop();
  expect(await lamp.state()).toBe("dark");
  await expect(lamp.call("glow", 1)).rejects.toThrow(/"glow" refused: all-stop is engaged/);
  await lamp.allStop(false);
  const glowing = lamp.call("glow", 1);
  expect(await lamp.state()).toBe("glowing");
  await lamp.advance(1);
  expect(await glowing).toBe("glowed");
});

test("what it hears, and what it sends to others", async () => {
  const lamp = await start({ id: "hall_lamp" });
  await lamp.publish("halloween/door/telemetry/open", true);
  expect(lamp.commands).toEqual([{ target: "bell", action: "ring", args: { open: true } }]);
  expect(lamp.description).toMatchObject({ id: "hall_lamp", commands: { glow: {} } });
  expect(lamp.worker).toBeInstanceOf(Lamp);
});

test("its config is checked, and can change", async () => {
  await expect(start({ config: { glow_ms: -1 } })).rejects.toThrow(/glow_ms: .*>0.*, got -1/);
  const lamp = await start({ config: { glow_ms: 5 } });
  await lamp.configure({ glow_ms: 7 });
  expect(await lamp.telemetry("glow_ms")).toBe(7);
  await expect(lamp.configure({ glow_ms: "soon" })).rejects.toThrow(/glow_ms: expected number, got "soon"/);
});

test("what doesn't come is told, with what came", async () => {
  const lamp = await start({ patienceMs: 50 });
  await expect(lamp.telemetry("glows")).rejects.toThrow(
    /nothing came on halloween\/prop\/telemetry\/glows in 50 ms.*halloween\/prop\/state dark/s,
  );
});
