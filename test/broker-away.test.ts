import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource, writeFiles } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";

const OFFLINE = (word: string) =>
  workerSource(`
    static offline = true;
    async start() {
      await super.start();
      this.log.info("${word} " + (this.connected ? "connected" : "by itself") + " in " + JSON.stringify(this.haunt));
    }
    onConnection(connected) {
      this.log.info("${word} heard " + connected);
      if (!connected) void this.allStop("the broker is away");
    }
    onAllStop() { this.log.info("${word} stopped"); }`);

test("a worker is told that the broker is away and back, stops the haunt meanwhile, and starts without it where it says so", async () => {
  const broker = await startBroker();
  const props = makeFolder({ "lab/backend/worker.ts": OFFLINE("first") });
  const host = await startHost({ broker, args: ["--props", props] });
  await host.logged(/^first (connected|by itself) in {"prefix":"halloween","host":"worker_host"}$/);
  await broker.stop();
  await host.logged("first heard false");
  await host.logged("all-stop is engaged");
  await host.logged("first stopped");
  writeFiles(props, { "lab/backend/worker.ts": OFFLINE("second") });
  await host.logged('second by itself in {"prefix":"halloween","host":"worker_host"}');
  await broker.start();
  await host.logged("second heard true");
  const client = await TestClient.connect(broker.url);
  await client.expect("halloween/lab/status/availability", "online");
  await client.expect("halloween/worker_host/status/all_stop", "engaged");
  expect(host.log.all.filter(({ msg }) => msg === "second heard true")).toHaveLength(1);
});
