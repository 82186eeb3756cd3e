/**
 * What a process says of itself to the bench: the process of the workers, where a worker asks it, and the bare client's.
 */
import { Session } from "node:inspector/promises";

const SAMPLE_EVERY_BYTES = 8_192;

/** @type {{ cpu: NodeJS.CpuUsage, session: Session | undefined }} */
const began = { cpu: process.cpuUsage(), session: undefined };

/**
 * @typedef {object} Probed
 * @property {number} userMs of CPU time since `begin`
 * @property {number} systemMs
 * @property {number} [bytes] allocated since `begin-allocations`, collected ones included; estimated from samples
 * @property {number} [heapBytes] in use after a collection
 */

/**
 * @typedef {object} AllocationNode
 * @property {number} selfSize
 * @property {AllocationNode[]} children
 */

/** @param {AllocationNode} node @returns {number} */
const sizeOf = (node) => node.children.reduce((sum, child) => sum + sizeOf(child), node.selfSize);

/** @param {string} what `begin`, `begin-allocations`, `end` or `heap` @returns {Promise<Probed>} */
export async function probe(what) {
  if (what === "heap") return { ...usage(), heapBytes: await heapAfterCollection() };
  if (what !== "end") {
    began.session = what === "begin-allocations" ? await startSampling() : undefined;
    began.cpu = process.cpuUsage();
    return usage();
  }
  const used = usage();
  const { session } = began;
  if (!session) return used;
  const { profile } = await session.post("HeapProfiler.stopSampling");
  session.disconnect();
  return { ...used, bytes: sizeOf(profile.head) };
}

function usage() {
  const { user, system } = process.cpuUsage(began.cpu);
  return { userMs: user / 1000, systemMs: system / 1000 };
}

async function startSampling() {
  const session = new Session();
  session.connect();
  await session.post("HeapProfiler.startSampling", {
    samplingInterval: SAMPLE_EVERY_BYTES,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  });
  return session;
}

async function heapAfterCollection() {
  const session = new Session();
  session.connect();
  // What the first lets go of, the second collects.
  for (let i = 0; i < 2; i++) await session.post("HeapProfiler.collectGarbage");
  session.disconnect();
  return process.memoryUsage().heapUsed;
}
