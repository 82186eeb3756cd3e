import { closeSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { SOAK } from "./cast.ts";
import type { Happening } from "./model/happenings.ts";

/** A line of a journal, as `worker-source.ts` has it written. */
type Line =
  | { life: number; pid: number; code: number; config: number }
  | { ran: string; at: number; life: number }
  | { config: number }
  | { spins: true };

/** What the workers have noted of themselves: they write before they do anything else, so that it outlives a kill. */
export class Journals {
  readonly #read = new Map<string, number>();
  /** The process of each worker's last life. */
  readonly pids = new Map<string, number>();

  /** Workers that have been told to hold up their process, and do. */
  readonly spun = new Set<string>();

  constructor(private readonly folder: string) {}

  pathOf(id: string): string {
    return join(this.folder, `${id}.jsonl`);
  }

  /** What has come since it was last asked. */
  news(now: number): Happening[] {
    return SOAK.flatMap(({ id }) => this.#linesOf(id).flatMap((line) => this.#happening(id, line, now)));
  }

  #linesOf(id: string): Line[] {
    const path = this.pathOf(id);
    const from = this.#read.get(id) ?? 0;
    const size = (statSync(path, { throwIfNoEntry: false })?.size ?? 0) - from;
    if (size <= 0) return [];
    const bytes = Buffer.alloc(size);
    const file = openSync(path, "r");
    readSync(file, bytes, 0, size, from);
    closeSync(file);
    const end = bytes.lastIndexOf("\n") + 1;
    this.#read.set(id, from + end);
    const lines = bytes.subarray(0, end).toString().split("\n");
    return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Line);
  }

  #happening(worker: string, line: Line, at: number): Happening[] {
    if ("spins" in line) {
      this.spun.add(worker);
      return [];
    }
    if ("ran" in line) return [{ at, type: "ran", id: line.ran, worker, ranAt: line.at, lifeAt: line.life }];
    if (!("life" in line)) return [{ at, type: "config", worker, config: line.config }];
    this.pids.set(worker, line.pid);
    return [{ at, type: "life", worker, lifeAt: line.life, pid: line.pid, code: line.code, config: line.config }];
  }
}
