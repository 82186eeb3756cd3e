import { readFileSync } from "node:fs";

/** What Linux tells of a process; `undefined` where there is none of that number, or the system doesn't say. */
export interface ProcessStat {
  /** `Z`: it has ended. */
  state: string;
  parent: number;
  group: number;
  /** When it was started, in ticks since the boot. */
  started: string;
}

export function statOf(pid: number): ProcessStat | undefined {
  const text = read(`/proc/${pid}/stat`);
  // From the state on: the name before that may have spaces and brackets.
  const [state, parent, group, ...more] = text?.slice(text.lastIndexOf(")") + 2).split(" ") ?? [];
  const started = more[16];
  if (state === undefined || started === undefined) return undefined;
  return { state, parent: Number(parent), group: Number(group), started };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    // There is no such process, it ends while this is read, or no descriptor is left.
    if ((error as NodeJS.ErrnoException).code !== undefined) return undefined;
    throw error;
  }
}
