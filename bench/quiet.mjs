import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { startBroker } from "./brokers.mjs";
import { startEchoes } from "./echoes.mjs";
import { propIds, startHost } from "./host-process.mjs";
import { connectBare } from "./mqtt-client.mjs";
import { Pings, whenAllSaid } from "./pings.mjs";
import { row } from "./report.mjs";
import { interleave } from "./rounds.mjs";
import { percentile } from "./statistics.mjs";

/** @typedef {import("./report.mjs").Row} Row */

const PER_SECOND = 20_000;
const ROUNDS = 6;
const PER_ROUND = 400;
const WARM_UP = 4_000;
/** What a flood needs to show its effect, and what it leaves behind to go away. */
const SETTLE_MS = 250;
const HANG_MS = 200;
const HANGS = 4;
const HANGING_PINGS = 30;
const WAIT_MS = 5_000;

const [BUSY = "", QUIET = "", OWN = ""] = propIds(3);
const BARE = ["bare_busy", "bare_quiet"];

/**
 * How one worker answers while another, in the same process unless it is said otherwise, is kept busy.
 *
 * @param {string} broker
 * @returns {Promise<Row[]>}
 */
export async function measureQuiet(broker) {
  const mosquitto = await startBroker(broker);
  const version = mosquitto ? 5 : 4;
  const host = await startHost([BUSY, QUIET, OWN], mosquitto?.port, { own: [OWN], probed: [BUSY] });
  await host.ready;
  const bare = await startEchoes({ url: host.url, version, ids: BARE, noDelay: true });
  const client = await connectBare(host.url, version);
  const pings = await Pings.on(client);
  /** @param {string} id @param {number} [count] */
  const ping = (id, count = PER_ROUND) => pings.latencies({ ids: [id] }, count);
  for (const id of [QUIET, OWN, "bare_quiet"]) await ping(id, WARM_UP);

  const workerFlood = await startFlood(host.url, version, BUSY);
  const bareFlood = await startFlood(host.url, version, "bare_busy");
  const took = await interleave(ROUNDS, {
    alone: () => ping(QUIET),
    flooded: () => workerFlood.during(() => ping(QUIET)),
    ownAlone: () => ping(OWN),
    ownFlooded: () => workerFlood.during(() => ping(OWN)),
    bareAlone: () => ping("bare_quiet"),
    bareFlooded: () => bareFlood.during(() => ping("bare_quiet")),
  });
  /** @param {number[]} values */
  const p99 = (values) => percentile(values, 0.99);
  const common = { broker, unit: "ms", compared: /** @type {const} */ ("ratio") };
  const flooded = { ...common, name: "quiet, p99, beside a flood" };
  const rows = [
    row(
      { ...flooded, baselineName: "without it", target: { atMost: 1.5 } },
      took.flooded.map(p99),
      took.alone.map(p99),
    ),
    row({ ...flooded, baselineName: "mqtt.js beside one" }, took.flooded.map(p99), took.bareFlooded.map(p99)),
    // What the broker and the cores have left.
    row(
      { ...common, name: "quiet in its own process, p99, beside a flood", baselineName: "without it" },
      took.ownFlooded.map(p99),
      took.ownAlone.map(p99),
    ),
    row(
      { ...common, name: "mqtt.js: quiet, p99, beside a flood", baselineName: "without it" },
      took.bareFlooded.map(p99),
      took.bareAlone.map(p99),
    ),
    row({ broker, name: "what the flood was", unit: "/s", compared: "value" }, workerFlood.rates),
  ];

  await client.publishAsync(`halloween/${BUSY}/cmd`, `wait ${WAIT_MS}`, { qos: 1 });
  const waiting = [];
  for (let round = 0; round < ROUNDS; round++) waiting.push(await ping(QUIET));
  rows.push(
    row(
      { ...common, name: "quiet, p99, beside a 5 s command", baselineName: "without it", target: { atMost: 1.5 } },
      waiting.map(p99),
      took.alone.map(p99),
    ),
  );

  for (const [id, where] of /** @type {const} */ ([
    [QUIET, "in its process"],
    [OWN, "in its own process"],
  ])) {
    const alone = await ping(id, HANGING_PINGS);
    const hung = whenAllSaid(client, [BUSY], "telemetry/hung");
    await client.publishAsync(`halloween/${BUSY}/cmd`, `hang ${HANGS} ${HANG_MS} ${HANG_MS}`, { qos: 1 });
    const beside = await ping(id, HANGING_PINGS);
    await hung;
    const name = `quiet, longest, another hangs ${HANG_MS} ms, ${where}`;
    rows.push(row({ ...common, name, baselineName: "without it" }, [Math.max(...beside)], [Math.max(...alone)]));
  }
  await workerFlood.stop();
  await bareFlood.stop();
  await client.endAsync();
  await bare.stop();
  await host.stop();
  await mosquitto?.stop();
  return rows;
}

/** @param {string} url @param {5 | 4} version @param {string} id whose command topic is flooded */
async function startFlood(url, version, id) {
  const path = fileURLToPath(new URL("flood.mjs", import.meta.url));
  const child = fork(path, [url, String(version), `halloween/${id}/cmd`, "nothing", String(PER_SECOND)]);
  await once(child, "message");
  /** @type {number[]} */
  const rates = [];
  return {
    rates,
    /** @template T @param {() => Promise<T>} measure @returns {Promise<T>} */
    during: async (measure) => {
      const began = performance.now();
      child.send("begin");
      await settled();
      const result = await measure();
      child.send("end");
      const [sent] = await once(child, "message");
      rates.push(sent / ((performance.now() - began) / 1_000));
      await settled();
      return result;
    },
    stop: async () => {
      child.disconnect();
      await once(child, "exit");
    },
  };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
