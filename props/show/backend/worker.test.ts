import { expect, onTestFinished, test } from "vitest";
import { type StartWorkerOptions, startWorker } from "worker-host/testing";
import { Worker } from "./worker.ts";

async function start(options: StartWorkerOptions = {}) {
  const worker = await startWorker(Worker, { id: "show", ...options });
  onTestFinished(() => worker.stop());
  return worker;
}

const CONFIG = {
  opening: [
    { id: "heartbeat", action: "set_mode", args: "armed" },
    { after: "1min", id: "fogger", action: "start", args: 2000 },
  ],
  closing: [{ id: "heartbeat", action: "set_mode", args: "idle" }],
  also_off: ["wled_strip"],
};

test("open takes the steps one after the other; close ends with all of them off", async () => {
  const show = await start({ config: CONFIG });
  expect(await show.state()).toBe("closed");
  await show.send("open");
  expect(await show.state()).toBe("opening");
  expect(show.commands).toEqual([{ target: "heartbeat", action: "set_mode", args: "armed" }]);
  await show.send("open");
  expect(await show.status("warn")).toMatch(/^open refused: busy/);
  await show.advance(61_000);
  expect(await show.state()).toBe("open");
  expect(show.commands.at(-1)).toEqual({ target: "fogger", action: "start", args: 2000 });
  expect([await show.telemetry("step"), await show.telemetry("step")]).toEqual(["heartbeat set_mode", "fogger start"]);
  await show.send("close");
  expect([await show.state(), await show.state()]).toEqual(["closing", "closed"]);
  expect(show.commands.slice(2).map(({ target, action }) => `${target} ${action}`)).toEqual([
    "heartbeat set_mode",
    "heartbeat stop",
    "fogger stop",
    "wled_strip stop",
  ]);
});

test.each(["all_off", "stop"])("%s ends an opening, and tells everybody to stop", async (sent) => {
  const show = await start({ config: CONFIG });
  await show.send("open");
  await show.send(sent);
  await show.advance(600_000);
  expect(show.commands.map(({ target, action }) => `${target} ${action}`)).toEqual([
    "heartbeat set_mode",
    "heartbeat stop",
    "fogger stop",
    "wled_strip stop",
  ]);
  expect(show.messages.findLast(({ topic }) => topic.endsWith("/state"))?.text).toBe("closed");
});

test("a prop that is known to be absent is told, and the show goes on", async () => {
  const show = await start({ config: CONFIG });
  await show.publish("halloween/heartbeat/status/availability", "offline", { retain: true });
  await show.send("open");
  expect(await show.status("warn")).toMatch(/"set_mode" went to heartbeat, which is not there/);
});
