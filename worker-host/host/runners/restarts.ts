import type { Clock } from "../../base/clock.ts";
import type { WorkerRecord } from "./records.ts";

/** How often a worker that fails is started again. */
export interface Intensity {
  /** So many times at most … */
  maxRestarts: number;
  /** … in this time. */
  withinMs: number;
}

export interface RestartsOptions extends Intensity {
  clock: Clock;
  /** A number from 0 to 1, as `Math.random`. */
  random: () => number;
}

const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 30_000;

/** Starts what failed again, each time later, until it has failed too often: as supervisors in Erlang/OTP do. */
export class Restarts {
  readonly #failures = new Map<WorkerRecord, number[]>();
  readonly #cancels = new Map<WorkerRecord, () => void>();

  constructor(private readonly options: RestartsOptions) {}

  /** Counts a failure, and calls `again` in a while, unless there were too many; says so in words. */
  plan(record: WorkerRecord, again: () => void): string {
    const { clock, random, maxRestarts, withinMs } = this.options;
    const now = clock.monotonic();
    const failures = [...(this.#failures.get(record) ?? []).filter((at) => at > now - withinMs), now];
    this.#failures.set(record, failures);
    this.cancel(record);
    const count = failures.length;
    const often = `${maxRestarts} in ${withinMs / 1000} s`;
    if (count > maxRestarts) {
      const tried = maxRestarts === 0 ? "not started again" : `given up after ${often}`;
      return `${tried}: mend it, or send restart_worker to the host`;
    }
    const ms = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** (count - 1)) * (0.5 + random() / 2);
    this.#cancels.set(record, clock.after(ms, again));
    return `starting it again in ${(ms / 1000).toFixed(1)} s (${count} of ${often})`;
  }

  /** It is not started again by itself; gives whether it would have been. */
  cancel(record: WorkerRecord): boolean {
    this.#cancels.get(record)?.();
    return this.#cancels.delete(record);
  }

  /** Somebody did something about it: its failures count no more. */
  forget(record: WorkerRecord): void {
    this.cancel(record);
    this.#failures.delete(record);
  }

  cancelAll(): void {
    for (const record of [...this.#cancels.keys()]) this.cancel(record);
  }
}
