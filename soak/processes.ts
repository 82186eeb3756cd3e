import { argumentsOf, childrenOfAll } from "../bench/processes.mjs";

/** The processes of workers that a host started; beside them there is its builder's. */
export function runnersOf(host: number): number[] {
  const children = childrenOfAll().get(host) ?? [];
  return children.filter((pid) => argumentsOf(pid).some((argument) => argument.endsWith("/worker-host/runner.cjs")));
}

/** Ends a process, unless it is gone already. */
export function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
