import { startBroker, startMosquitto } from "./brokers.mjs";
import { startEchoes } from "./echoes.mjs";
import { propIds, startHost } from "./host-process.mjs";
import { connectBare } from "./mqtt-client.mjs";
import { Pings, whenAllSaid } from "./pings.mjs";
import { row } from "./report.mjs";
import { interleave } from "./rounds.mjs";

/** @typedef {import("./report.mjs").Row} Row */

const COUNTS = [200, 1_000];
const FAN_OUT_TO = 200;
const IN_FLIGHT = 64;
const THROUGHPUT_ROUNDS = 10;
const THROUGHPUT_PER_ROUND = 4_000;
const FAN_OUT_ROUNDS = 20;
const ALL_STOP_ROUNDS = 8;
const RECONNECT_ROUNDS = 2;
const ALL = "bench/all/cmd";

/** @param {number} count */
const bareIds = (count) => Array.from({ length: count }, (_, index) => `bare_${index}`);

/**
 * How many workers of one process get on, beside as many bare clients in one process.
 *
 * @param {string} broker
 * @returns {Promise<Row[]>}
 */
export async function measureMany(broker) {
  /** @type {Row[]} */
  const rows = [];
  for (const count of COUNTS) rows.push(...(await measureCount(broker, count)));
  // The embedded broker is the host's own: it restarts with it.
  if (broker === "mosquitto") rows.push(await measureReconnect(broker, 1_000));
  return rows;
}

/** @param {string} broker @param {number} count @returns {Promise<Row[]>} */
async function measureCount(broker, count) {
  const mosquitto = await startBroker(broker);
  const version = mosquitto ? 5 : 4;
  const workers = propIds(count);
  const host = await startHost(workers, mosquitto?.port);
  await host.ready;
  const echoes = bareIds(count);
  const bare = await startEchoes({ url: host.url, version, ids: echoes, noDelay: true });
  const client = await connectBare(host.url, version);
  const pings = await Pings.on(client);
  const common = { broker, compared: /** @type {const} */ ("ratio"), baselineName: `${count} of mqtt.js` };
  for (const ids of [workers, echoes]) await pings.throughput({ ids }, THROUGHPUT_PER_ROUND, IN_FLIGHT);
  const throughput = await interleave(THROUGHPUT_ROUNDS, {
    worker: () => pings.throughput({ ids: workers }, THROUGHPUT_PER_ROUND, IN_FLIGHT),
    bare: () => pings.throughput({ ids: echoes }, THROUGHPUT_PER_ROUND, IN_FLIGHT),
  });
  const target = count === 1_000 ? { target: { atLeast: 0.85 } } : {};
  const rows = [
    row(
      { ...common, ...target, name: `64 in flight, ${count} workers`, unit: "/s" },
      throughput.worker,
      throughput.bare,
    ),
  ];
  if (count === FAN_OUT_TO) {
    const fanOut = await interleave(FAN_OUT_ROUNDS, {
      worker: () => pings.fanOut(new Set(workers), "halloween/broadcast/cmd"),
      bare: () => pings.fanOut(new Set(echoes), ALL),
    });
    const stops = await interleave(ALL_STOP_ROUNDS, {
      worker: async () => {
        const ms = await stopAll(client, workers, "halloween/worker_host/cmd", "all_stop");
        const clear = whenAllSaid(client, ["worker_host"], "status/all_stop", "clear");
        await client.publishAsync("halloween/worker_host/cmd", "all_clear", { qos: 1 });
        await clear;
        return ms;
      },
      bare: () => stopAll(client, echoes, ALL, "stop"),
    });
    rows.push(
      row({ ...common, name: `broadcast to ${count}, last answer`, unit: "ms" }, fanOut.worker, fanOut.bare),
      row({ ...common, name: `all-stop, last of ${count} has stopped`, unit: "ms" }, stops.worker, stops.bare),
    );
  }
  await client.endAsync();
  await bare.stop();
  await host.stop();
  await mosquitto?.stop();
  return rows;
}

/**
 * @param {import("mqtt").MqttClient} client
 * @param {readonly string[]} ids
 * @param {string} topic
 * @param {string} command
 * @returns {Promise<number>} ms until the last of `ids` has said that it stopped
 */
async function stopAll(client, ids, topic, command) {
  await client.subscribeAsync("halloween/+/telemetry/stopped", { qos: 0 });
  const last = whenAllSaid(client, ids, "telemetry/stopped");
  const began = performance.now();
  client.publish(topic, command, { qos: 1 });
  return (await last) - began;
}

/** @param {string} broker @param {number} count @returns {Promise<Row>} */
async function measureReconnect(broker, count) {
  /** @type {Record<"worker" | "bare", number[]>} */
  const took = { worker: [], bare: [] };
  for (const kind of /** @type {const} */ (["worker", "bare"])) {
    let mosquitto = await startMosquitto();
    const { port } = mosquitto;
    const url = `mqtt://127.0.0.1:${port}`;
    const ids = kind === "worker" ? propIds(count) : bareIds(count);
    const started =
      kind === "worker" ? await startHost(ids, port) : await startEchoes({ url, version: 5, ids, noDelay: true });
    if ("ready" in started) await started.ready;
    for (let round = 0; round < RECONNECT_ROUNDS; round++) {
      await mosquitto.stop();
      mosquitto = await startMosquitto(port);
      const began = performance.now();
      const client = await connectBare(url, 5);
      const last = await whenAllSaid(client, ids, "status/availability", "online");
      took[kind].push(last - began);
      await client.endAsync();
    }
    await started.stop();
    await mosquitto.stop();
  }
  return row(
    {
      broker,
      name: `broker back, ${count} online`,
      unit: "ms",
      compared: "ratio",
      baselineName: `${count} of mqtt.js`,
    },
    took.worker,
    took.bare,
  );
}
