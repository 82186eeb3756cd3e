import type { BaseWorker } from "./base-worker.ts";
import type { CommandSpec } from "./command-spec.ts";
import type { Latch } from "./latch.ts";
import type { WorkerSpec } from "./messages.ts";
import { type LifeParts, switchOff } from "./reclaim.ts";

export interface BrakeOptions {
  spec: WorkerSpec;
  latch: Latch;
  parts: LifeParts;
  /** The worker, while there is one to be halted. */
  worker: () => BaseWorker | undefined;
}

/** What keeps a worker from moving while it is up: all-stop, and a lock-out. */
export class Brake {
  readonly #unlatch: () => void;

  constructor(private readonly options: BrakeOptions) {
    this.#unlatch = options.latch.whenEngaged(() => void this.halt("all-stop"));
  }

  /** Why a command may not run now, in words. */
  barred({ safe }: CommandSpec): string | undefined {
    const { spec, latch } = this.options;
    if (spec.lockedOut !== undefined)
      return `it is locked out (${spec.lockedOut}), until the host is told "release ${spec.id}"`;
    if (latch.engaged && !safe) return "all-stop is engaged: only stop and safe commands run, until all_clear";
    return undefined;
  }

  /** It takes no command but `stop` until it is released; `undefined` releases it. */
  lockOut(reason: string | undefined): void {
    this.options.spec.lockedOut = reason;
    if (reason !== undefined) void this.halt("locked out");
  }

  /** Ends what the worker is doing, and switches off what it switched on; it stays up. Never rejects. */
  async halt(why: "all-stop" | "locked out"): Promise<void> {
    const { parts } = this.options;
    const worker = this.options.worker();
    if (!worker) return;
    const { owner, scope, commands } = parts;
    commands.abortAll(why);
    const told = why === "all-stop" ? scope.track(() => worker.onAllStop?.(), "onAllStop()") : undefined;
    await Promise.all([switchOff(scope, parts), told?.catch((error: unknown) => owner.report(error, "onAllStop()"))]);
  }

  /** It is of no use any more. */
  release(): void {
    this.#unlatch();
  }
}
