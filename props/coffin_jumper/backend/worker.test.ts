import { expect, onTestFinished, test } from "vitest";
import { type StartWorkerOptions, startWorker } from "worker-host/testing";
import { Worker } from "./worker.ts";

async function start(options: StartWorkerOptions = {}) {
  const worker = await startWorker(Worker, { id: "coffin_jumper", ...options });
  onTestFinished(() => worker.stop());
  return worker;
}

const TARGETS = [{ ids: ["fogger", "grave_shaker"], action: "start", ms: "30s" }];
const BOARD = "coffin_jumper_hw";
const PIR = `halloween/${BOARD}/telemetry/pir`;

test("whoever walks past is scared only when it is armed; then it cools down, and is armed again", async () => {
  const coffin = await start({ config: { jump_ms: "1min", cooldown_s: 60, targets: TARGETS } });
  expect(await coffin.state()).toBe("idle");
  await coffin.publish(PIR, 1);
  expect(coffin.commands).toEqual([]);
  await coffin.send("arm");
  expect(await coffin.state()).toBe("armed");
  expect(coffin.commands).toEqual([{ target: BOARD, action: "arm", args: undefined }]);
  await coffin.publish(PIR, 0);
  await coffin.publish(PIR, 1);
  expect(await coffin.state()).toBe("firing");
  expect(await coffin.telemetry("scare")).toBe(1);
  expect(coffin.commands.slice(1)).toEqual([
    { target: "coffin_jumper_hw", action: "jump", args: 60_000 },
    { target: "fogger", action: "start", args: 30_000 },
    { target: "grave_shaker", action: "start", args: 30_000 },
  ]);
  await coffin.advance(61_000);
  expect(await coffin.state()).toBe("cooldown");
  expect(coffin.commands.slice(4).map(({ target, action }) => `${target} ${action}`)).toEqual([
    "fogger stop",
    "grave_shaker stop",
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
  expect(coffin.commands.map(({ action }) => action)).toEqual(["arm"]);
  await coffin.publish("zigbee/hall", 1);
  expect(coffin.commands).toHaveLength(2);
  await coffin.send("disarm");
  expect(coffin.commands.at(-1)).toMatchObject({ target: BOARD, action: "disarm" });
  await expect(coffin.call("jump", "90s")).rejects.toThrow(/it is disarmed: send "arm" first/);
  await coffin.send("arm");
  await coffin.send("jump 90s");
  expect(coffin.commands.at(-1)).toMatchObject({ action: "jump", args: 90_000 });
  await coffin.advance(91_000);
  expect(coffin.messages.findLast(({ topic }) => topic.endsWith("/state"))?.text).toBe("armed");
});

test("under all-stop it is disarmed, and its board can be told so; it can't be armed", async () => {
  const coffin = await start();
  await coffin.send("arm");
  await coffin.allStop();
  await coffin.call("disarm");
  expect(coffin.commands.map(({ action }) => action)).toEqual(["arm", "stop", "disarm"]);
  await expect(coffin.call("arm")).rejects.toThrow(/all-stop is engaged/);
  await coffin.allStop(false);
  await coffin.publish(PIR, 1);
  expect(coffin.commands).toHaveLength(3);
});

test("without its board it is not armed, and does not jump, and says so to whoever asks", async () => {
  const coffin = await start();
  await coffin.publish(`halloween/${BOARD}/status/availability`, "offline", { retain: true });
  await expect(coffin.call("arm")).rejects.toThrow(`${BOARD} is not there: nobody runs it, or its board is off`);
  await coffin.publish(`halloween/${BOARD}/status/availability`, "online", { retain: true });
  await coffin.call("arm");
  await coffin.publish(`halloween/${BOARD}/status/availability`, "offline", { retain: true });
  await expect(coffin.call("jump")).rejects.toThrow(`${BOARD} is not there`);
  expect(coffin.commands).toEqual([{ target: BOARD, action: "arm", args: undefined }]);
});

test("a board that is disarmed, or at fault, disarms it; its other states don't", async () => {
  const coffin = await start();
  for (const state of ["disarmed", "fault"]) {
    await coffin.send("arm");
    await coffin.publish(`halloween/${BOARD}/state`, "armed");
    expect(await coffin.state()).toMatch(/^(idle|armed)$/);
    await coffin.publish(`halloween/${BOARD}/state`, state);
    const warned = await coffin.seen("halloween/coffin_jumper/status/warn");
    expect(warned).toBe(`disarmed, since the state of ${BOARD} is ${state}`);
    expect(coffin.messages.findLast(({ topic }) => topic === "halloween/coffin_jumper/state")?.text).toBe("idle");
  }
  await expect(coffin.call("arm")).rejects.toThrow(/coffin_jumper_hw is at fault: look at it, then send it "reset"/);
});
