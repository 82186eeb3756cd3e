import { expect, onTestFinished, test } from "vitest";
import { type StartWorkerOptions, startWorker } from "worker-host/testing";
import { Worker } from "./worker.ts";

async function start(options: StartWorkerOptions = {}) {
  const worker = await startWorker(Worker, { id: "wled_strip", ...options });
  onTestFinished(() => worker.stop());
  return worker;
}

/** What WLED was sent: its topics and payloads. */
const toWled = (strip: { messages: readonly { topic: string; text: string }[] }) =>
  strip.messages.flatMap(({ topic, text }) => (topic.startsWith("wled/") ? [`${topic} ${text}`] : []));

test("commands become what WLED understands", async () => {
  const strip = await start();
  for (const sent of [
    "on",
    "brightness 128",
    "colour purple",
    "colour #0a0b0c",
    "effect 9",
    "preset 3",
    "off",
    "stop",
  ]) {
    await strip.send(sent);
  }
  expect(toWled(strip)).toEqual([
    "wled/strip ON",
    "wled/strip 128",
    "wled/strip/col #8000FF",
    "wled/strip/col #0A0B0C",
    "wled/strip/api FX=9",
    "wled/strip/api PL=3",
    "wled/strip OFF",
    // do_stop
    "wled/strip OFF",
  ]);
  for (const [sent, says] of [
    ["colour mauve", /^colour refused: expected red, orange, .*, or such as "#00ff00", got "mauve"/],
    ["brightness 256", /^brightness refused: /],
    ["preset 0", /^preset refused: /],
  ] as const) {
    await strip.send(sent);
    expect(await strip.status("warn")).toMatch(says);
  }
});

test("a flash goes off by itself, and at once when it is stopped", async () => {
  const strip = await start({ config: { topic: "wled/attic", flash_ms: "1min", max_flash_ms: "2min" } });
  await strip.send("flash");
  await strip.advance(61_000);
  expect(toWled(strip)).toEqual(["wled/attic ON", "wled/attic OFF"]);
  await strip.send("flash 90s");
  await strip.send("stop");
  expect(toWled(strip).slice(2)).toEqual(["wled/attic ON", "wled/attic OFF", "wled/attic OFF"]);
  await expect(strip.call("flash", "3min")).rejects.toThrow(/at most 120000 ms/);
});

test("under all-stop it serves as a house light, and does nothing else", async () => {
  const strip = await start();
  await strip.allStop();
  for (const sent of ["on", "colour white", "brightness 255", "off"]) await strip.send(sent);
  expect(toWled(strip).slice(1)).toEqual([
    "wled/strip ON",
    "wled/strip/col #FFFFFF",
    "wled/strip 255",
    "wled/strip OFF",
  ]);
  for (const sent of ["flash", "effect", "preset"]) {
    await expect(strip.call(sent, 9)).rejects.toThrow(/all-stop is engaged/);
  }
});

test("what WLED says becomes telemetry and state", async () => {
  const strip = await start();
  expect(await strip.state()).toBe("off");
  await strip.publish("wled/strip/g", "77");
  expect([await strip.telemetry("brightness"), await strip.state()]).toEqual([77, "on"]);
  await strip.publish("wled/strip/c", "#FF6000");
  expect(await strip.telemetry("colour")).toBe("#FF6000");
  await strip.publish("wled/strip/status", "offline");
  expect(await strip.telemetry("online")).toBe(false);
  await strip.publish("wled/strip/g", "0");
  expect(await strip.state()).toBe("off");
});
