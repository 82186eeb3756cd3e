import { startBroker } from "./brokers.mjs";
import { propIds, startHost } from "./host-process.mjs";
import { connectBare } from "./mqtt-client.mjs";
import { ask, Pings } from "./pings.mjs";
import { row } from "./report.mjs";

const WARM_UP = 50_000;
const COMMANDS = 1_000_000;
const IN_FLIGHT = 64;
const MB = 1_048_576;

/**
 * What a million commands leave on the heap of the process that ran them.
 *
 * @param {string} broker
 * @returns {Promise<import("./report.mjs").Row[]>}
 */
export async function measureLasting(broker) {
  // It is the worker that is looked at: once is enough.
  if (broker === "embedded") return [];
  const mosquitto = await startBroker(broker);
  const ids = propIds(1);
  const host = await startHost(ids, mosquitto?.port, { probed: ids });
  await host.ready;
  const client = await connectBare(host.url, 5);
  const pings = await Pings.on(client);
  const heap = async () => Number(JSON.parse(await ask(client, String(ids[0]), "probe heap", "probed")).heapBytes) / MB;
  await pings.throughput({ ids }, WARM_UP, IN_FLIGHT);
  const before = await heap();
  await pings.throughput({ ids }, COMMANDS, IN_FLIGHT);
  const after = await heap();
  await client.endAsync();
  await host.stop();
  await mosquitto?.stop();
  const name = "heap after 1000000 commands";
  const what = { broker, name, unit: "MB", compared: /** @type {const} */ ("ratio"), baselineName: "before them" };
  return [row({ ...what, target: { atMost: 1.05 } }, [after], [before])];
}
