import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { BROKER, startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource, writeFiles } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";
import { rounds } from "./harness/rounds.ts";

/** A worker that uses all that could be left behind, and says what its process holds. */
const source = (round: number) =>
  workerSource(
    `static config = z.object({});
  async start() {
    await super.start();
    this.every(20, () => this.telemetry("alive", ${round}));
    this.spawn(async () => { for (;;) await this.sleep(10); });
    await this.subscribe("elsewhere/#", () => {});
    await this.watch("+", "alive", () => {});
    await this.subscribe("halloween/+/cmd", () => {});
    this.addCommand("extra", {}, () => {});
  }
  async do_measure() {
    // What came with the command ends its turn of the event loop first.
    await this.sleep(1);
    const resources = {};
    for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1;
    const listeners = process.eventNames().map((name) => [name, process.listenerCount(name)]);
    return { pid: process.pid, ppid: process.ppid, resources, listeners, heap: process.memoryUsage().heapUsed };
  }`,
    'import { z } from "worker-host";',
  );

const ROUNDS = rounds(500);

interface Measured {
  pid: number;
  ppid: number;
  resources: Record<string, number>;
  listeners: unknown;
  heap: number;
}

// It takes a while: once in a CI is enough.
test.runIf(BROKER === "mosquitto")(
  `${ROUNDS} reloads of one worker leave nothing behind`,
  async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    const props = makeFolder({ "lab/backend/worker.ts": source(0) });
    const host = await startHost({ broker, args: ["--props", props] });
    let calls = 0;
    const measure = async () => {
      const topic = `halloween/cli/reply/${++calls}`;
      await client.command("lab", { action: "measure", reply_to: topic });
      const { result } = JSON.parse(await client.expect(topic)) as { result: Measured };
      const sockets = [result.pid, result.ppid].map((pid) => readdirSync(`/proc/${pid}/fd`).length);
      const files = readdirSync(join(host.cwd, "data"), { recursive: true, encoding: "utf8" });
      return { ...result, sockets, files: files.filter((path) => path.startsWith(".run-")).length };
    };
    /** What it holds while nothing is on its way: the same three times in a row. */
    const settled = async () => {
      for (let before = "", same = 0; ; ) {
        const { heap, ...held } = await measure();
        same = JSON.stringify(held) === before ? same + 1 : 0;
        before = JSON.stringify(held);
        if (same === 2) return { heap, held };
      }
    };
    const reload = async (round: number) => {
      writeFiles(props, { "lab/backend/worker.ts": source(round) });
      for (const text of ["offline", "online"]) await client.expect("halloween/lab/status/availability", text);
    };
    for (let round = 1; round <= 20; round++) await reload(round);
    const early = await settled();
    for (let round = 21; round <= ROUNDS; round++) await reload(round);
    const late = await settled();
    expect(late.held).toEqual(early.held);
    // The folder of the bundles, one bundle, and what the process notes of itself.
    expect(late.held.files).toBe(4);
    // Node never unloads a module: 25 to 30 kB each, and what is yet to be collected.
    expect((late.heap - early.heap) / (ROUNDS - 20)).toBeLessThan(200_000);
    await client.expect("halloween/lab/telemetry/alive", String(ROUNDS));
    for (let n = 0; n < 10; n++) expect(await client.expect("halloween/lab/telemetry/alive")).toBe(String(ROUNDS));
  },
  200_000,
);
