import { startBroker } from "./brokers.mjs";
import { buildEchoInC, startEchoes, startEchoInC } from "./echoes.mjs";
import { propIds, startHost } from "./host-process.mjs";
import { connectBare } from "./mqtt-client.mjs";
import { ask, Pings } from "./pings.mjs";
import { cpuTimeMs } from "./processes.mjs";
import { row } from "./report.mjs";
import { interleave } from "./rounds.mjs";
import { median, percentile } from "./statistics.mjs";

/** @typedef {import("./pings.mjs").Target} Target */
/** @typedef {import("./report.mjs").Row} Row */

const BARE = "bare_echo";
const NAGLE = "bare_echo_with_nagle";
const IN_C = "echo_in_c";

const WARM_UP = 4_000;
const ROUNDS = 20;
const PER_ROUND = 300;
/** With Nagle's algorithm each may take 44 ms. */
const SLOW_ROUNDS = 5;
const SLOW_PER_ROUND = 20;
/** So many rounds make one value of the 99.9th percentile. */
const ROUNDS_FOR_TAIL = 10;
const IN_FLIGHT = 64;
const THROUGHPUT_ROUNDS = 24;
const THROUGHPUT_PER_ROUND = 2_000;
const COST_ROUNDS = 3;
const COST_PER_ROUND = 10_000;

/**
 * How fast one worker answers, and what a command costs, beside bare clients on the same broker.
 *
 * @param {string} broker
 * @returns {Promise<Row[]>}
 */
export async function measureSpeed(broker) {
  const mosquitto = await startBroker(broker);
  const version = mosquitto ? 5 : 4;
  const ids = propIds(1);
  const host = await startHost(ids, mosquitto?.port, { probed: ids });
  await host.ready;
  const { url } = host;
  const bare = await startEchoes({ url, version, ids: [BARE], noDelay: true });
  const nagle = await startEchoes({ url, version, ids: [NAGLE], noDelay: false });
  const built = buildEchoInC();
  const stopInC = built === undefined ? undefined : await startEchoInC(built, url, IN_C);
  const client = await connectBare(url, version);
  const pings = await Pings.on(client);
  const fast = { worker: ids, bare: [BARE], ...(stopInC ? { inC: [IN_C] } : {}) };
  for (const each of Object.values(fast)) {
    await pings.latencies({ ids: each }, WARM_UP);
    await pings.throughput({ ids: each }, WARM_UP, IN_FLIGHT);
  }

  /** @type {Row[]} */
  const rows = [];
  for (const qos of /** @type {const} */ ([1, 0])) {
    for (const action of /** @type {const} */ (["ping", "ping_sync"])) {
      const what = `${action === "ping" ? "async" : "sync"}, QoS ${qos}`;
      const targets = qos === 1 && action === "ping" ? STRICT : {};
      const took = await interleave(
        ROUNDS,
        mapped(fast, (each) => () => pings.latencies({ ids: each, action, qos }, PER_ROUND)),
      );
      rows.push(...latencyRows(broker, what, took, targets));
    }
  }
  const slow = await interleave(
    SLOW_ROUNDS,
    mapped({ worker: ids, nagle: [NAGLE] }, (each) => () => pings.latencies({ ids: each }, SLOW_PER_ROUND)),
  );
  const common = { broker, baselineName: "mqtt.js with Nagle", compared: /** @type {const} */ ("ratio") };
  rows.push(
    row({ ...common, name: "ping, async, QoS 1, p50", unit: "ms" }, slow.worker.map(median), slow.nagle.map(median)),
  );
  const hops = await interleave(ROUNDS, {
    worker: () => pings.latencies({ ids }, PER_ROUND),
    hop: () => pings.ownLatencies(PER_ROUND),
  });
  rows.push(
    row(
      { ...common, baselineName: "one hop through the broker", name: "ping, async, QoS 1, p50", unit: "ms" },
      hops.worker.map(median),
      hops.hop.map(median),
    ),
  );
  const throughput = await interleave(
    THROUGHPUT_ROUNDS,
    mapped(fast, (each) => () => pings.throughput({ ids: each }, THROUGHPUT_PER_ROUND, IN_FLIGHT)),
  );
  const many = { broker, compared: /** @type {const} */ ("ratio"), name: "64 in flight, 1 worker", unit: "/s" };
  rows.push(row({ ...many, baselineName: "mqtt.js", target: { atLeast: 0.95 } }, throughput.worker, throughput.bare));
  if (throughput.inC) rows.push(row({ ...many, baselineName: "libmosquitto" }, throughput.worker, throughput.inC));
  rows.push(
    ...(await costRows({
      broker,
      throughput: (each) => pings.throughput({ ids: each }, COST_PER_ROUND, IN_FLIGHT),
      brokerPid: mosquitto?.pid,
      worker: {
        ids,
        probe: async (what) => JSON.parse(await ask(client, String(ids[0]), `probe ${what}`, "probed")),
      },
      bare: { ids: [BARE], probe: bare.probe },
    })),
  );

  await client.endAsync();
  await stopInC?.();
  await bare.stop();
  await nagle.stop();
  await host.stop();
  await mosquitto?.stop();
  return rows;
}

const STRICT = { p50: { atMost: 1.1 }, p99: { atMost: 1.3 } };

/**
 * @template {Record<string, string[]>} Ids
 * @template T
 * @param {Ids} record
 * @param {(ids: string[]) => T} map
 */
const mapped = (record, map) =>
  /** @type {{ [Name in keyof Ids]: T }} */ (
    Object.fromEntries(Object.entries(record).map(([name, ids]) => [name, map(ids)]))
  );

/**
 * @param {string} broker
 * @param {string} what
 * @param {{ worker: number[][], bare: number[][], inC?: number[][] }} took
 * @param {{ p50?: { atMost: number }, p99?: { atMost: number } }} targets
 * @returns {Row[]}
 */
function latencyRows(broker, what, { worker, bare, inC }, { p50, p99 }) {
  const common = { broker, compared: /** @type {const} */ ("ratio"), unit: "ms" };
  /** @param {number} share */
  const at = (share) => (/** @type {number[]} */ values) => percentile(values, share);
  /** @param {string} name @param {string} baselineName @param {number[][]} baseline @param {(values: number[]) => number} of @param {{ atMost: number }} [target] */
  const line = (name, baselineName, baseline, of, target) =>
    row(
      { ...common, name: `ping, ${what}, ${name}`, baselineName, ...(target ? { target } : {}) },
      worker.map(of),
      baseline.map(of),
    );
  const tail = row(
    { ...common, name: `ping, ${what}, p99.9`, baselineName: "mqtt.js" },
    grouped(worker).map(at(0.999)),
    grouped(bare).map(at(0.999)),
  );
  return [
    line("p50", "mqtt.js", bare, median, p50),
    line("p99", "mqtt.js", bare, at(0.99), p99),
    tail,
    ...(inC ? [line("p50", "libmosquitto", inC, median)] : []),
  ];
}

/** @param {number[][]} rounds */
function grouped(rounds) {
  return Array.from({ length: rounds.length / ROUNDS_FOR_TAIL }, (_, index) =>
    rounds.slice(index * ROUNDS_FOR_TAIL, (index + 1) * ROUNDS_FOR_TAIL).flat(),
  );
}

/**
 * @typedef {object} Costly
 * @property {readonly string[]} ids
 * @property {(what: string) => Promise<import("./probe.mjs").Probed>} probe
 */

/**
 * What one command costs: CPU time and bytes of the process that answers, and the broker's CPU time.
 *
 * @param {{ broker: string, throughput: (ids: readonly string[]) => Promise<number>, brokerPid: number | undefined,
 *   worker: Costly, bare: Costly }} options
 * @returns {Promise<Row[]>}
 */
async function costRows({ broker, throughput, brokerPid, worker, bare }) {
  /** @param {Costly} each */
  const cpu = async ({ ids, probe }) => {
    await probe("begin");
    const before = brokerPid === undefined ? 0 : cpuTimeMs(brokerPid);
    await throughput(ids);
    const { userMs, systemMs } = await probe("end");
    const brokerMs = brokerPid === undefined ? 0 : cpuTimeMs(brokerPid) - before;
    return { user: userMs, system: systemMs, broker: brokerMs };
  };
  /** @param {Costly} each */
  const bytes = async ({ ids, probe }) => {
    await probe("begin-allocations");
    await throughput(ids);
    return ((await probe("end")).bytes ?? 0) / COST_PER_ROUND;
  };
  const times = await interleave(COST_ROUNDS, { worker: () => cpu(worker), bare: () => cpu(bare) });
  const sizes = await interleave(COST_ROUNDS, { worker: () => bytes(worker), bare: () => bytes(bare) });
  const common = { broker, baselineName: "mqtt.js", compared: /** @type {const} */ ("ratio") };
  /** @param {string} name @param {"user" | "system" | "broker"} key */
  const time = (name, key) => {
    /** @param {typeof times.worker} all */
    const each = (all) => all.map((used) => (used[key] * 1_000) / COST_PER_ROUND);
    return row({ ...common, name, unit: "µs" }, each(times.worker), each(times.bare));
  };
  return [
    time("CPU a command, in user mode", "user"),
    time("CPU a command, in the kernel", "system"),
    ...(brokerPid === undefined ? [] : [time("CPU a command, the broker's", "broker")]),
    row({ ...common, name: "allocated a command", unit: "bytes" }, sizes.worker, sizes.bare),
  ];
}
