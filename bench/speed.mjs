import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { startHost } from "./host-process.mjs";
import { connectBare } from "./mqtt-client.mjs";
import { RoundTrips } from "./round-trips.mjs";
import { median, percentile } from "./statistics.mjs";

const WORKER_ID = "prop_0";
const ECHO_ID = "bare_echo";

const WARM_UP = 2_000;
const ROUNDS = 60;
const LATENCIES_PER_ROUND = 100;
const IN_FLIGHT = 64;
const THROUGHPUT_ROUNDS = 24;
const THROUGHPUT_PER_ROUND = 2_000;

/**
 * What was measured of the worker and of the bare client, round by round.
 *
 * @typedef {{ worker: number[], bare: number[] }} Pairs
 */

/**
 * How fast a worker answers, beside the bare client on the same broker.
 *
 * @param {number | undefined} brokerPort mosquitto's; without one, the host's embedded broker
 * @returns {Promise<{ p50: Pairs, p99: Pairs, throughput: Pairs }>}
 */
export async function measureSpeed(brokerPort) {
  const protocolVersion = brokerPort === undefined ? 4 : 5;
  const host = await startHost(1, brokerPort);
  await host.ready;
  const echo = fork(
    fileURLToPath(new URL("echo.mjs", import.meta.url)),
    [host.url, String(protocolVersion), ECHO_ID],
    {},
  );
  await once(echo, "message");
  const client = await connectBare(host.url, protocolVersion);
  const worker = new RoundTrips(client, WORKER_ID);
  const bare = new RoundTrips(client, ECHO_ID);
  for (const each of [worker, bare]) {
    await each.start();
    await each.latencies(WARM_UP);
    await each.throughput(WARM_UP, IN_FLIGHT);
  }

  const latencies = await interleave(ROUNDS, worker, bare, (each) => each.latencies(LATENCIES_PER_ROUND));
  const throughput = await interleave(THROUGHPUT_ROUNDS, worker, bare, (each) =>
    each.throughput(THROUGHPUT_PER_ROUND, IN_FLIGHT),
  );

  await client.endAsync();
  echo.disconnect();
  await once(echo, "exit");
  await host.stop();
  return {
    p50: { worker: latencies.worker.map(median), bare: latencies.bare.map(median) },
    p99: {
      worker: latencies.worker.map((values) => percentile(values, 0.99)),
      bare: latencies.bare.map((values) => percentile(values, 0.99)),
    },
    throughput,
  };
}

/**
 * Round about, and the other way about in every second round, so that what slows the machine slows both.
 *
 * @template T
 * @param {number} rounds
 * @param {RoundTrips} worker
 * @param {RoundTrips} bare
 * @param {(each: RoundTrips) => Promise<T>} measure
 * @returns {Promise<{ worker: T[], bare: T[] }>}
 */
async function interleave(rounds, worker, bare, measure) {
  /** @type {{ worker: T[], bare: T[] }} */
  const measured = { worker: [], bare: [] };
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) measured.worker.push(await measure(worker));
    measured.bare.push(await measure(bare));
    if (round % 2 === 1) measured.worker.push(await measure(worker));
  }
  return measured;
}
