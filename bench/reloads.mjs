import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startBroker } from "./brokers.mjs";
import { propIds, startHost } from "./host-process.mjs";
import { connectBare } from "./mqtt-client.mjs";
import { ask, whenAllSaid } from "./pings.mjs";
import { row } from "./report.mjs";

/** @typedef {import("./report.mjs").Row} Row */

const BARE = "bare_reload";
/** What the first ones load is there for all. */
const WARM_UP = 20;
const MANY = 1_000;
const FEW = 50;
const BARE_ROUNDS = 20;
const KB = 1_024;

/**
 * From a save of its source to a worker that is online with it, and what that leaves on the heap.
 *
 * @param {string} broker
 * @returns {Promise<Row[]>}
 */
export async function measureReloads(broker) {
  const mosquitto = await startBroker(broker);
  const version = mosquitto ? 5 : 4;
  const rounds = mosquitto ? MANY : FEW;
  const [id = "", beside = ""] = propIds(2);
  const host = await startHost([id, beside], mosquitto?.port, { probed: [beside] });
  await host.ready;
  const client = await connectBare(host.url, version);
  const source = join(host.props, id, "backend/worker.ts");
  const text = readFileSync(source, "utf8");
  const online = await listen(client, id);
  /** @param {number} number */
  const reload = async (number) => {
    const back = online();
    const began = performance.now();
    // A comment would make no other bundle.
    writeFileSync(source, `${text}export const edit = ${number};\n`);
    return (await back) - began;
  };
  const heap = async () => Number(JSON.parse(await ask(client, beside, "probe heap", "probed")).heapBytes);
  for (let i = 0; i < WARM_UP; i++) await reload(i);
  const before = await heap();
  const took = [];
  for (let i = 0; i < rounds; i++) took.push(await reload(WARM_UP + i));
  const grown = ((await heap()) - before) / KB / rounds;

  const bare = [];
  for (let i = 0; i < BARE_ROUNDS; i++) bare.push(await comeOnline(client, host.url, version));
  await client.endAsync();
  await host.stop();
  await mosquitto?.stop();
  const common = { broker, compared: /** @type {const} */ ("value") };
  return [
    row(
      {
        ...common,
        name: "reload, from save to online",
        unit: "ms",
        baselineName: "a connect of mqtt.js",
        target: { atMost: 150 },
      },
      took,
      bare,
    ),
    // A few say little: the collector leaves more than that lying about.
    ...(rounds === MANY
      ? [row({ ...common, name: `heap, each of ${rounds} reloads`, unit: "KB", target: { atMost: 50 } }, [grown])]
      : []),
  ];
}

/**
 * @param {import("mqtt").MqttClient} client
 * @param {string} id
 * @returns {Promise<() => Promise<number>>} which gives when it is online the next time
 */
async function listen(client, id) {
  const topic = `halloween/${id}/status/availability`;
  /** @type {(at: number) => void} */
  let told = () => {};
  client.on("message", (from, payload, { retain }) => {
    if (from === topic && !retain && payload.toString() === "online") told(performance.now());
  });
  await client.subscribeAsync(topic, { qos: 0 });
  return () =>
    new Promise((resolve) => {
      told = resolve;
    });
}

/**
 * @param {import("mqtt").MqttClient} client
 * @param {string} url
 * @param {5 | 4} version
 * @returns {Promise<number>} ms from the connect of a bare client until `client` sees it online
 */
async function comeOnline(client, url, version) {
  const seen = whenAllSaid(client, [BARE], "status/availability", "online");
  const began = performance.now();
  const bare = await connectBare(url, version);
  await bare.subscribeAsync(`halloween/${BARE}/cmd`, { qos: 1 });
  await bare.publishAsync(`halloween/${BARE}/status/availability`, "online", { qos: 1 });
  const ms = (await seen) - began;
  await bare.endAsync();
  return ms;
}
