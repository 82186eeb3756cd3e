import { expect, onTestFinished, test } from "vitest";
import { type StartWorkerOptions, startWorker } from "worker-host/testing";
import { Worker } from "./worker.ts";

async function start(options: StartWorkerOptions = {}) {
  const worker = await startWorker(Worker, { id: "coffin_jumper", ...options });
  onTestFinished(() => worker.stop());
  return worker;
}

const TARGETS = [{ ids: ["fogger", "grave_shaker"], action: "start", ms: "30s" }];
const PIR = "halloween/coffin_jumper_hw/telemetry/pir";

test("whoever walks past is scared only when it is armed; then it cools down, and is armed again", async () => {
  const coffin = await start({ config: { jump_ms: "1min", cooldown_s: 60, targets: TARGETS } });
  expect(await coffin.state()).toBe("idle");
  await coffin.publish(PIR, 1);
  expect(coffin.commands).toEqual([]);
  await coffin.send("arm");
  expect(await coffin.state()).toBe("armed");
  await coffin.publish(PIR, 0);
  await coffin.publish(PIR, 1);
  expect(await coffin.state()).toBe("firing");
  expect(await coffin.telemetry("scare")).toBe(1);
  expect(coffin.commands).toEqual([
    { target: "coffin_jumper_hw", action: "jump", args: 60_000 },
    { target: "fogger", action: "start", args: 30_000 },
    { target: "grave_shaker", action: "start", args: 30_000 },
  ]);
  await coffin.advance(61_000);
  expect(await coffin.state()).toBe("cooldown");
  expect(coffin.commands.slice(3).map(({ target, action }) => `${target} ${action}`)).toEqual([
    "fogger stop",
    "grave_shaker stop",
    "coffin_jumper_hw stop",
  ]);
  await coffin.publish(PIR, 1);
  await coffin.advance(61_000);
  expect(await coffin.state()).toBe("armed");
  expect(coffin.commands).toHaveLength(6);
});

test("disarm ends a scare; a retained motion, or one elsewhere, is none", async () => {
  const coffin = await start({ config: { jump_ms: "1min", max_on_ms: "2min", trigger_topic: "zigbee/hall" } });
  await coffin.send("arm");
  await coffin.publish(PIR, 1);
  expect(coffin.commands).toEqual([]);
  await coffin.publish("zigbee/hall", 1);
  expect(coffin.commands).toHaveLength(1);
  await coffin.send("disarm");
  expect(coffin.commands.at(-1)).toMatchObject({ target: "coffin_jumper_hw", action: "stop" });
  await coffin.send("jump 90s");
  expect(coffin.commands.at(-1)).toMatchObject({ action: "jump", args: 90_000 });
  await coffin.advance(91_000);
  expect(coffin.messages.findLast(({ topic }) => topic.endsWith("/state"))?.text).toBe("idle");
});
