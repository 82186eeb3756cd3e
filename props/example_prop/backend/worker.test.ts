import { expect, onTestFinished, test } from "vitest";
import { type StartWorkerOptions, startWorker } from "worker-host/testing";
import { Worker } from "./worker.ts";

async function start(options: StartWorkerOptions = {}) {
  const worker = await startWorker(Worker, { id: "example_prop", ...options });
  onTestFinished(() => worker.stop());
  return worker;
}

test("it ticks, and answers a ping", async () => {
  const prop = await start({ config: { tick_interval: 60 } });
  expect(await prop.telemetry("tick")).toBe(0);
  await prop.advance(60_500);
  expect(await prop.telemetry("tick")).toBe(1);
  await prop.send("ping");
  expect(await prop.telemetry("pong")).toBe("ok");
  await prop.send("ping hello there");
  expect(await prop.telemetry("pong")).toBe("hello there");
});

test("fire makes fog for a while, and no longer when it is stopped", async () => {
  const prop = await start({ config: { fire_ms: "1min", max_fire_ms: "2min" } });
  await prop.send("fire");
  expect(prop.commands).toEqual([{ target: "fogger", action: "start", args: 60_000 }]);
  await prop.send("stop");
  expect(prop.commands.at(-1)).toEqual({ target: "fogger", action: "stop", args: undefined });
  await prop.send("fire 90s");
  await prop.advance(90_000);
  expect(prop.commands.map(({ action }) => action)).toEqual(["start", "stop", "start", "stop"]);
  await prop.send("fire 3min");
  expect(await prop.status("error")).toBe("fire: RangeError: at most 120000 ms, got 180000");
  expect(prop.commands).toHaveLength(4);
});
