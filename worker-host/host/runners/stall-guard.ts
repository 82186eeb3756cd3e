import { readFileSync } from "node:fs";
import type { Clock } from "../../base/clock.ts";

/** What a runner process may do, in ms and MB. */
export interface Limits {
  stallWarnMs: number;
  stallKillMs: number;
  maxMemoryMb: number;
}

export interface StallGuardOptions extends Limits {
  pid: number;
  clock: Clock;
  onWarn: (ms: number) => void;
  onStall: (ms: number) => void;
  onMemory: (mb: number) => void;
}

const CHECK_EVERY_MS = 100;

/**
 * Watches one process: that its event loop goes round, and that it takes no more memory than it may. A stall counts
 * only as far as this process itself ran on time, so that a machine which was suspended kills nothing.
 */
export class StallGuard {
  #checkedAt: number;
  /** How long it has said nothing while it could have been heard, in ms; `undefined` before its first beat. */
  #silentMs: number | undefined;
  #warned = false;
  #debugged = false;
  #stopped = false;
  #cancel = () => {};

  constructor(private readonly options: StallGuardOptions) {
    this.#checkedAt = options.clock.monotonic();
    this.#checkSoon();
  }

  /** The process said that it is not held up; with a debugger attached it may be, for as long as somebody likes. */
  beat(debugged: boolean): void {
    this.#silentMs = 0;
    this.#warned = false;
    this.#debugged = debugged;
  }

  /** Goes on watching, after it has told of something that was none. */
  resume(): void {
    if (!this.#stopped) this.#checkSoon();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  #checkSoon(): void {
    this.#cancel = this.options.clock.after(CHECK_EVERY_MS, () => this.#check());
  }

  #check(): void {
    const { clock, stallWarnMs, stallKillMs } = this.options;
    const now = clock.monotonic();
    const elapsed = now - this.#checkedAt;
    this.#checkedAt = now;
    if (this.#silentMs !== undefined && !this.#debugged) this.#silentMs += Math.min(elapsed, 2 * CHECK_EVERY_MS);
    // What has come in meanwhile is heard first.
    if (this.#silence >= Math.min(stallWarnMs, stallKillMs)) this.#cancel = clock.after(0, () => this.#judge());
    else this.#weigh();
  }

  #judge(): void {
    const { stallWarnMs, stallKillMs, onWarn, onStall } = this.options;
    if (this.#silence >= stallKillMs) {
      onStall(Math.round(this.#silence));
      return;
    }
    if (this.#silence >= stallWarnMs && !this.#warned) {
      this.#warned = true;
      onWarn(Math.round(this.#silence));
    }
    this.#weigh();
  }

  #weigh(): void {
    const { pid, maxMemoryMb, onMemory } = this.options;
    const memoryMb = residentMb(pid);
    if (memoryMb > maxMemoryMb) onMemory(memoryMb);
    else this.#checkSoon();
  }

  get #silence(): number {
    return this.#debugged ? 0 : (this.#silentMs ?? 0);
  }
}

/**
 * How much of a process is in memory, in MB; 0 where the system doesn't say, as all but Linux don't. Nothing is read from
 * a disk: by way of the thread pool it would take ten times as long.
 */
function residentMb(pid: number): number {
  const [, kilobytes = "0"] = /^VmRSS:\s+(\d+) kB$/m.exec(readStatus(pid)) ?? [];
  return Number(kilobytes) / 1024;
}

function readStatus(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return "";
  }
}
