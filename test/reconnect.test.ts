import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";
import { PacketType, startProxy, topicOf } from "./harness/proxy.ts";

/** What a broker shows on a topic to somebody who has just come. */
async function shown(url: string, topic: string): Promise<string[]> {
  const late = await TestClient.connect(url, [topic]);
  await late.barrier();
  return late.texts(topic);
}

test("what a worker clears while the broker is away is cleared by the reconnect", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  const client = await TestClient.connect(broker.url, ["yard/#"]);
  const host = await startHost({
    broker: proxy,
    props: {
      "lab/backend/worker.ts": workerSource(
        `start() {
           this.publish("yard/lamp", "on", { retain: true });
           this.every(20, async () => {
             if (await this.publish("yard/alive", 1)) return;
             await this.publish("yard/lamp", "", { retain: true });
             this.log.info("cleared in vain");
           });
         }`,
      ),
    },
  });
  await client.expect("yard/lamp", "on");
  await proxy.stop();
  await host.logged("cleared in vain");
  await proxy.start();
  await client.expect("yard/lamp", "");
  expect(await shown(broker.url, "yard/lamp")).toEqual([]);
});

test("a lock-out is released though the connection is lost with the word of it", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker: proxy, props: { "fogger/backend/worker.ts": workerSource() } });
  const lockOut = "halloween/fogger_hw/status/lock_out";
  await client.command("worker_host", 'lock_out {"id": "fogger_hw", "reason": "the hose leaks"}');
  await client.expect(lockOut, "the hose leaks");
  let cuts = 0;
  proxy.decide = ({ type, towards, bytes }) => {
    const isWord = type === PacketType.PUBLISH && towards === "broker" && topicOf(bytes) === lockOut;
    return isWord && cuts++ === 0 ? "cut-before" : "pass";
  };
  await client.command("worker_host", "release fogger_hw");
  await host.logged(/^connected to .* again$/);
  await client.expect(lockOut, "");
  expect(cuts).toBe(2);
  expect(await shown(broker.url, lockOut)).toEqual([]);
});
