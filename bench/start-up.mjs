import { setTimeout as sleep } from "node:timers/promises";
import { startBroker } from "./brokers.mjs";
import { propIds, startHost } from "./host-process.mjs";
import { connectBare } from "./mqtt-client.mjs";
import { whenAllSaid } from "./pings.mjs";
import { canMeasureMemory, cpuTimeMs, memoryMb } from "./processes.mjs";
import { row } from "./report.mjs";
import { interleave } from "./rounds.mjs";
import { median, sum } from "./statistics.mjs";

/** @typedef {import("./report.mjs").Row} Row */

/** What a start costs hardly depends on the broker. */
const ROUNDS = { mosquitto: 2, embedded: 1 };
/** What a start leaves behind for the garbage collector is no part of what workers cost for long. */
const SETTLE_MS = 3_000;
/** V8 goes on compiling and collecting for a while. */
const CALM_MS = 20_000;
/** As often as each worker says something. */
const IDLE_MS = 5_000;
/** V8 collects in one of them now and then: the median doesn't show it. */
const IDLE_ROUNDS = 5;
const IDLE_WORKERS = 50;

/** One start: ms until online, and MB afterwards. @typedef {{ ms: number, mb: number }} Start */

/** @typedef {NonNullable<Row["target"]>} Target */
/** @type {Record<string, { count: number, own?: boolean, online?: Target, memory?: Target }>} */
const HOSTS = {
  "no worker": { count: 0 },
  "1 worker": { count: 1 },
  "50 workers": { count: IDLE_WORKERS },
  "200 workers": { count: 200 },
  "1000 workers": { count: 1_000, online: { atMost: 4_000 }, memory: { atMost: 300 } },
  "20 workers, each in its own process": { count: 20, own: true },
};

/**
 * From `npm start` to the last worker online, and what a host takes then.
 *
 * @param {string} broker
 * @returns {Promise<Row[]>}
 */
export async function measureStarts(broker) {
  const starts = await interleave(
    broker === "mosquitto" ? ROUNDS.mosquitto : ROUNDS.embedded,
    Object.fromEntries(Object.entries(HOSTS).map(([name, what]) => [name, () => measureStart(broker, what)])),
  );
  const none = starts["no worker"] ?? [];
  // Of those without workers: which of them came next to which start means nothing.
  const common = { broker, compared: /** @type {const} */ ("value"), baselineName: "no worker" };
  const rows = Object.entries(HOSTS).flatMap(([name, { count, online, memory }]) => {
    const each = starts[name] ?? [];
    if (count === 0) return [];
    return [
      row(
        { ...common, name: `npm start, ${name} online`, unit: "ms", ...(online ? { target: online } : {}) },
        each.map(({ ms }) => ms),
        [median(none.map(({ ms }) => ms))],
      ),
      ...(canMeasureMemory
        ? [
            row(
              { ...common, name: `memory, ${name}`, unit: "MB", ...(memory ? { target: memory } : {}) },
              each.map(({ mb }) => mb),
              [median(none.map(({ mb }) => mb))],
            ),
          ]
        : []),
    ];
  });
  // It takes a while, and hardly depends on the broker either.
  if (!canMeasureMemory || broker === "embedded") return rows;
  const [idle = [], idleNone = []] = await Promise.all([IDLE_WORKERS, 0].map((count) => measureIdle(broker, count)));
  const name = `idle, ${IDLE_WORKERS} workers`;
  return [...rows, row({ ...common, name, unit: "% of a core", target: { atMost: 1 } }, idle, idleNone)];
}

/** @param {string} broker @param {{ count: number, own?: boolean }} what @returns {Promise<Start>} */
async function measureStart(broker, { count, own = false }) {
  // A fresh one each time: the last host left its retained topics on the old one.
  const mosquitto = await startBroker(broker);
  const ids = propIds(count);
  const host = await startHost(ids, mosquitto?.port, { own: own ? ids : [] });
  const client = await connectBare(host.url, mosquitto ? 5 : 4);
  const online = await whenAllSaid(client, ["worker_host", ...ids], "status/availability", "online");
  await client.endAsync();
  await host.ready;
  await sleep(SETTLE_MS);
  const mb = canMeasureMemory ? sum(host.processes().map((pid) => memoryMb(pid) ?? 0)) : 0;
  await host.stop();
  await mosquitto?.stop();
  return { ms: online - host.startedAt, mb };
}

/** What a host takes with nothing to do, in % of a core. @param {string} broker @param {number} count @returns {Promise<number[]>} */
async function measureIdle(broker, count) {
  const mosquitto = await startBroker(broker);
  const host = await startHost(propIds(count), mosquitto?.port);
  await host.ready;
  await sleep(CALM_MS);
  const used = () => sum(host.processes().map(cpuTimeMs));
  /** @type {number[]} */
  const shares = [];
  while (shares.length < IDLE_ROUNDS) {
    const [began, before] = [performance.now(), used()];
    await sleep(IDLE_MS);
    shares.push(((used() - before) / (performance.now() - began)) * 100);
  }
  await host.stop();
  await mosquitto?.stop();
  return shares;
}
