import { expect, onTestFinished, test } from "vitest";
import { type StartWorkerOptions, startWorker } from "worker-host/testing";
import { Worker } from "./worker.ts";

async function start(options: StartWorkerOptions = {}) {
  const worker = await startWorker(Worker, { id: "grave_shaker", ...options });
  onTestFinished(() => worker.stop());
  return worker;
}

test("shake takes ms and a level, as text and as JSON", async () => {
  const grave = await start();
  for (const [sent, args] of [
    ["shake", { ms: 1500, level: 80 }],
    ["shake 700", { ms: 700, level: 80 }],
    ["shake 700 5", { ms: 700, level: 5 }],
    [
      { action: "shake", args: { level: 9 } },
      { ms: 1500, level: 9 },
    ],
  ] as const) {
    await grave.send(sent);
    expect(grave.commands.at(-1)).toEqual({ target: "grave_shaker_hw", action: "shake", args });
  }
  await grave.send("shake 700 101");
  expect(await grave.status("warn")).toMatch(/^shake refused: /);
});

test("it ends by itself, with level 0, and not later than its config lets it", async () => {
  const grave = await start({ config: { max_on_ms: "2min", max_level: 50 } });
  await grave.send({ action: "shake", args: { ms: 90_000, level: 50 } });
  expect(await grave.telemetry("level")).toBe(50);
  await grave.advance(90_000);
  expect(await grave.telemetry("level")).toBe(0);
  expect(grave.commands.at(-1)).toMatchObject({ action: "stop" });
  await expect(grave.call("shake", [500, 60])).rejects.toThrow(/a level of at most 50, got 60/);
  await expect(grave.call("shake", 180_000)).rejects.toThrow(/at most 120000 ms, got 180000/);
});

test("without its board it does nothing, and says so to whoever asks", async () => {
  const prop = await start();
  await prop.publish("halloween/grave_shaker_hw/status/availability", "offline", { retain: true });
  await expect(prop.call("shake")).rejects.toThrow("grave_shaker_hw is not there: nobody runs it, or its board is off");
  expect(prop.commands).toEqual([]);
});
