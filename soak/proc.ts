import { readdirSync, readFileSync } from "node:fs";

/** What /proc says; undefined where the process is gone. */
function readOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}

/** The processes that a process started itself, and that still run. */
export function childrenOf(parent: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      const stat = readOf(`/proc/${pid}/stat`);
      // The name, in parentheses, may hold anything; after it come the state and the parent.
      const [state, of] = stat?.slice(stat.lastIndexOf(")") + 2).split(" ") ?? [];
      return Number(of) === parent && state !== "Z";
    })
    .map(Number);
}

/** The processes of workers that a host started; beside them there is its builder's. */
export function runnersOf(host: number): number[] {
  return childrenOf(host).filter((pid) => /\/worker\/runner\.js/.test(readOf(`/proc/${pid}/cmdline`) ?? ""));
}

/** The memory of a process in MB: each page that n processes share counts for a n-th. */
export function memoryMb(pid: number): number | undefined {
  const [, kilobytes] = /^Pss:\s+(\d+)/m.exec(readOf(`/proc/${pid}/smaps_rollup`) ?? "") ?? [];
  return kilobytes === undefined ? undefined : Number(kilobytes) / 1024;
}

/** Ends a process, unless it is gone already. */
export function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
