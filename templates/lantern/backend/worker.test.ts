import { expect, onTestFinished, test } from "vitest";
import { startWorker } from "worker-host/testing";
import { Worker } from "./worker.ts";

async function start() {
  const lamp = await startWorker(Worker, { id: "lantern", config: { glow_ms: 1000 } });
  onTestFinished(() => lamp.stop());
  expect(await lamp.state()).toBe("dark");
  return lamp;
}

test("it glows for as long as it is told to, and goes out by itself", async () => {
  const lamp = await start();
  await lamp.send("glow 2s");
  expect(await lamp.state()).toBe("glowing");
  await lamp.advance(2000);
  expect(await lamp.state()).toBe("dark");
  expect(await lamp.telemetry("glows")).toBe(1);
});

test("a stop puts it out", async () => {
  const lamp = await start();
  await lamp.send("glow");
  expect(await lamp.state()).toBe("glowing");
  await lamp.send("stop");
  expect(await lamp.state()).toBe("dark");
});
