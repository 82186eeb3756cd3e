import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";

test("workers get as many processes of their own as max_processes says; what needs one more is failed, in words", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const instances = Array.from({ length: 41 }, (_, n) => `lamp${n}: {}`).join(", ");
  const host = await startHost({
    broker,
    props: {
      "lamp/backend/worker.ts": workerSource(""),
      "lamp/backend/config.yaml": `worker: { isolation: own, instances: { ${instances} } }`,
      "other/backend/worker.ts": workerSource("do_ping() { this.telemetry('pong', 1); }"),
    },
    env: { WORKER_MAX_PROCESSES: "3" },
  });
  expect(await host.ready()).toMatchObject({ running: 4, failed: 38 });
  await host.logged(/it needs a process of its own, and there are 3 already: .*max_processes/);
  await client.command("other", "ping");
  await client.expect("halloween/other/telemetry/pong");
});
