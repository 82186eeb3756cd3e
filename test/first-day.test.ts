import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { startHost } from "./harness/host.ts";

test("what a newcomer sees on the first day", async () => {
  // A subscriber that is there before the host sees the first tick.
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url, ["halloween/heartbeat/#"]);
  const host = await startHost({ broker, builtins: "shipped" });

  await client.expect("halloween/heartbeat/status/availability", "online");
  await client.expect("halloween/heartbeat/telemetry/tick", "0");

  const answers: [string | object, string, string][] = [
    ["ping hello", "telemetry/pong", "hello"],
    ["ping", "telemetry/pong", "ok"],
    ["set_mode armed", "telemetry/mode", "armed"],
    ["set_mode", "telemetry/mode", "idle"],
    [{ action: "ping", args: "hello" }, "telemetry/pong", "hello"],
  ];
  for (const [command, topic, text] of answers) {
    await client.command("heartbeat", command);
    expect(await client.expect(`halloween/heartbeat/${topic}`), JSON.stringify(command)).toBe(text);
  }

  const began = performance.now();
  await client.command("heartbeat", "fire 750");
  for (const text of ["fire start 750ms", "fire end"]) await client.expect("halloween/heartbeat/telemetry/event", text);
  expect(performance.now() - began).toBeGreaterThan(740);

  expect(await host.stop()).toEqual({ code: 0, signal: null });
});
