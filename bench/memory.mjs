import { existsSync, readdirSync, readFileSync } from "node:fs";

/** Only Linux tells of it. */
export const canMeasureMemory = existsSync("/proc/self/smaps_rollup");

/** @param {string} path @returns {string | undefined} undefined where the process is gone */
function readOf(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}

/** All processes under `pid`, itself included. @param {number} pid @returns {number[]} */
function treeOf(pid) {
  /** @type {Map<number, number[]>} */
  const children = new Map();
  for (const name of readdirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? readOf(`/proc/${name}/stat`) : undefined;
    // The name, in parentheses, may hold anything; the parent's id is the second field after it.
    const parent = Number(stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    if (stat) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  /** @param {number} root @returns {number[]} */
  const under = (root) => [root, ...(children.get(root) ?? []).flatMap(under)];
  return under(pid);
}

/** The host's process and all that it started. @param {number} npmPid of `npm start`, which is not one of them */
function hostProcesses(npmPid) {
  const host = treeOf(npmPid).find((pid) => readOf(`/proc/${pid}/cmdline`)?.split("\0")[1] === "worker-host/bin.cjs");
  if (host === undefined) throw new Error("the host's process was not found");
  return treeOf(host);
}

/**
 * The memory of a host and all that it started, in MB: each page shared by n processes counts for a n-th.
 *
 * @param {number} npmPid of `npm start`
 */
export function hostMemory(npmPid) {
  const kilobytes = hostProcesses(npmPid).map((pid) =>
    Number(/^Pss:\s+(\d+)/m.exec(readOf(`/proc/${pid}/smaps_rollup`) ?? "")?.[1] ?? 0),
  );
  return kilobytes.reduce((sum, each) => sum + each, 0) / 1024;
}

/**
 * The CPU time that processes have taken, in ms; the kernel counts in hundredths of a second.
 *
 * @param {readonly number[]} pids
 */
export function cpuTimeMs(pids) {
  const ticks = pids.map((pid) => {
    const stat = readOf(`/proc/${pid}/stat`) ?? "";
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  });
  return ticks.reduce((sum, each) => sum + each, 0) * 10;
}

/** The CPU time of a host and all that it started, in ms. @param {number} npmPid of `npm start` */
export const hostCpuTimeMs = (npmPid) => cpuTimeMs(hostProcesses(npmPid));
