import { setTimeout as sleep } from "node:timers/promises";
import { startMosquitto } from "./brokers.mjs";
import { propIds, startHost } from "./host-process.mjs";
import { canMeasureMemory, hostMemory } from "./memory.mjs";
import { connectBare } from "./mqtt-client.mjs";

const WORKERS = 200;
const ROUNDS = 3;
/** What a start leaves behind for the garbage collector is no part of what workers cost for long. */
const SETTLE_MS = 3_000;

/** One start: ms until online, and MB afterwards. @typedef {{ ms: number, mb: number | undefined }} Start */

/**
 * Starts a host with 200 workers and one with none, by turns.
 *
 * @param {boolean} onMosquitto else on the embedded broker
 * @returns {Promise<{ many: Start[], none: Start[] }>}
 */
export async function measureStarts(onMosquitto) {
  /** @type {{ many: Start[], none: Start[] }} */
  const measured = { many: [], none: [] };
  for (let round = 0; round < ROUNDS; round++) {
    measured.many.push(await measureStart(WORKERS, onMosquitto));
    measured.none.push(await measureStart(0, onMosquitto));
  }
  return measured;
}

/** @param {number} count @param {boolean} onMosquitto @returns {Promise<Start>} */
async function measureStart(count, onMosquitto) {
  // A fresh one each time: the last host left its retained topics on the old one.
  const mosquitto = onMosquitto ? await startMosquitto() : undefined;
  const host = await startHost(count, mosquitto?.port);
  const client = await connectBare(host.url, onMosquitto ? 5 : 4);
  const online = await whenOnline(client, ["worker_host", ...propIds(count)]);
  await client.endAsync();
  await host.ready;
  await sleep(SETTLE_MS);
  const mb = canMeasureMemory ? hostMemory(host.pid) : undefined;
  await host.stop();
  await mosquitto?.stop();
  return { ms: online - host.startedAt, mb };
}

/**
 * When the last of `ids` is seen `online`, on the clock of `performance.now()`.
 *
 * @param {import("mqtt").MqttClient} client
 * @param {string[]} ids
 * @returns {Promise<number>}
 */
function whenOnline(client, ids) {
  const awaited = new Set(ids.map((id) => `halloween/${id}/status/availability`));
  return new Promise((resolve, reject) => {
    client.on("message", (topic, payload) => {
      if (payload.toString() !== "online" || !awaited.delete(topic) || awaited.size > 0) return;
      resolve(performance.now());
    });
    client.subscribeAsync("halloween/+/status/availability", { qos: 0 }).catch(reject);
  });
}
