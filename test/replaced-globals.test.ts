import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";

const FOGGER = `
  async do_fire() { await this.hold(60_000, () => this.telemetry("fog", "on"), () => this.telemetry("fog", "off")); }
  async do_wait() { await this.sleep(10); this.telemetry("waited", { ok: true }); }
`;

test.each([
  [
    "setTimeout and its like",
    "for (const name of ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask']) globalThis[name] = () => {};",
  ],
  ["the clock", "Date.now = () => NaN; performance.now = () => NaN; globalThis.Date = class {};"],
  ["JSON", "JSON.parse = () => undefined; JSON.stringify = () => undefined;"],
  ["process.nextTick", "process.nextTick = () => {};"],
  ["console", "globalThis.console = undefined;"],
  [
    "Promise, Map, Set and Buffer",
    "for (const name of ['Promise', 'Map', 'Set', 'WeakMap', 'Buffer']) globalThis[name] = undefined;",
  ],
])(
  "a worker that replaces %s harms no worker beside it: all-stop switches off what is on there",
  async (_what, harm) => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    const host = await startHost({
      broker,
      props: {
        "bad/backend/worker.ts": workerSource(`do_go() { this.telemetry("gone", 1); ${harm} }`),
        "fogger/backend/worker.ts": workerSource(FOGGER),
      },
    });
    await client.command("fogger", "fire");
    await client.expect("halloween/fogger/telemetry/fog", "on");
    await client.command("bad", "go");
    await client.expect("halloween/bad/telemetry/gone");
    await client.command("fogger", "wait");
    await client.expect("halloween/fogger/telemetry/waited", '{"ok":true}');
    await client.command("worker_host", "all_stop");
    await client.expect("halloween/fogger/telemetry/fog", "off");
    expect(client.texts("halloween/fogger/status/error")).toEqual([]);
    expect(host.child.exitCode).toBe(null);
  },
);
