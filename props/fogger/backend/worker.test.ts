import { expect, onTestFinished, test } from "vitest";
import { type StartWorkerOptions, startWorker } from "worker-host/testing";
import { Worker } from "./worker.ts";

async function start(options: StartWorkerOptions = {}) {
  const worker = await startWorker(Worker, { id: "fogger", ...options });
  onTestFinished(() => worker.stop());
  return worker;
}

test("start fogs for a while; a new one takes the place of one under way", async () => {
  const fogger = await start({ config: { start_ms: 60_000, max_on_ms: 120_000 } });
  expect(await fogger.state()).toBe("idle");
  await fogger.send("start");
  expect(await fogger.state()).toBe("fogging");
  await fogger.send("start 90s");
  expect(fogger.commands.map(({ action, args }) => [action, args])).toEqual([
    ["start", 60_000],
    ["stop", undefined],
    ["start", 90_000],
  ]);
  await fogger.advance(89_000);
  expect(fogger.commands).toHaveLength(3);
  await fogger.advance(1_500);
  expect(fogger.commands.at(-1)).toEqual({ target: "fogger_hw", action: "stop", args: undefined });
  expect(fogger.messages.findLast(({ topic }) => topic.endsWith("/state"))?.text).toBe("idle");
});

test("set_mode off ends it, and takes no start until it is ready", async () => {
  const fogger = await start({ config: { start_ms: 60_000, max_on_ms: 120_000 } });
  await fogger.send("start");
  await fogger.send("set_mode off");
  expect(await fogger.telemetry("mode")).toBe("off");
  expect(fogger.commands.at(-1)).toMatchObject({ action: "stop" });
  await expect(fogger.call("start")).rejects.toThrow(/send "set_mode ready" first/);
  await fogger.send("set_mode");
  await fogger.send("start 1");
  expect(fogger.commands.filter(({ action }) => action === "start")).toHaveLength(2);
  await expect(fogger.call("start", "3min")).rejects.toThrow(/at most 120000 ms, got 180000/);
});

test("what is on goes off with the worker", async () => {
  const fogger = await start({ config: { start_ms: 60_000, max_on_ms: 120_000 } });
  await fogger.send("start");
  await fogger.stop();
  expect(fogger.commands.map(({ action }) => action)).toEqual(["start", "stop", "stop"]);
});

test("without its board it does nothing, and says so to whoever asks", async () => {
  const prop = await start();
  await prop.publish("halloween/fogger_hw/status/availability", "offline", { retain: true });
  await expect(prop.call("start")).rejects.toThrow("fogger_hw is not there: nobody runs it, or its board is off");
  expect(prop.commands).toEqual([]);
});
