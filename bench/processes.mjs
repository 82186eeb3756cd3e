import { existsSync, readdirSync, readFileSync } from "node:fs";
import { sum } from "./statistics.mjs";

/** Only Linux tells of it. */
export const canMeasureMemory = existsSync("/proc/self/smaps_rollup");

/**
 * What the system tells of a process; nothing where it is gone.
 *
 * @param {number} pid
 * @param {string} name of the file
 */
function tellsOf(pid, name) {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code === "ENOENT" || code === "ESRCH") return "";
    throw error;
  }
}

/**
 * The fields from the third on, the state: the second, a name in parentheses, may hold anything.
 *
 * @param {number} pid
 */
function statOf(pid) {
  const stat = tellsOf(pid, "stat");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** @param {number} pid @returns {string[]} */
export const argumentsOf = (pid) => tellsOf(pid, "cmdline").split("\0");

/** The processes that still run, by who started them. @returns {Map<number, number[]>} */
export function childrenOfAll() {
  const children = new Map();
  for (const pid of readdirSync("/proc").map(Number).filter(Number.isInteger)) {
    const [state, parent] = statOf(pid);
    if (parent === undefined || state === "Z") continue;
    children.set(Number(parent), [...(children.get(Number(parent)) ?? []), pid]);
  }
  return children;
}

/** @param {number} pid @param {RegExp} lines of the file, with the kilobytes in a group */
function memoryOf(pid, lines) {
  const kilobytes = [...tellsOf(pid, "smaps_rollup").matchAll(lines)].map(([, each]) => Number(each));
  return kilobytes.length === 0 ? undefined : sum(kilobytes) / 1024;
}

/** The memory of a process in MB: each page that n processes share counts for a n-th. @param {number} pid */
export const memoryMb = (pid) => memoryOf(pid, /^Pss:\s+(\d+)/gm);

/** The memory in MB that a process shares with nobody, so that it doesn't change with who else runs. @param {number} pid */
export const privateMemoryMb = (pid) => memoryOf(pid, /^Private_(?:Clean|Dirty):\s+(\d+)/gm);

/** The CPU time that a process has taken, in ms; the kernel counts in hundredths of a second. @param {number} pid */
export function cpuTimeMs(pid) {
  const [user = 0, system = 0] = statOf(pid).slice(11, 13).map(Number);
  return (user + system) * 10;
}

/** The same of all processes together that this one has started, and that have ended. */
export function childrenCpuTimeMs() {
  const [user = 0, system = 0] = statOf(process.pid).slice(13, 15).map(Number);
  return (user + system) * 10;
}
