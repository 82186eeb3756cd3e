import type { Standstill } from "../base/scope-owner.ts";
import type { CheckedSpec } from "../commands/command-spec.ts";
import type { HaltReason } from "../contract/command.ts";
import type { Latch } from "./latch.ts";
import type { WorkerSpec } from "./messages.ts";

export interface HaltGuardOptions {
  spec: WorkerSpec;
  latch: Latch;
  /** Called when all-stop or a lock-out begins, and when all-stop is engaged once more. */
  onHalt: (why: HaltReason) => void;
}

/** What keeps a worker from moving while it is up: all-stop, and a lock-out. */
export class HaltGuard implements Standstill {
  readonly #unlatch: () => void;
  readonly #callbacks = new Set<() => void>();

  constructor(private readonly options: HaltGuardOptions) {
    this.#unlatch = options.latch.whenEngaged(() => this.#begin("all_stop"));
  }

  get holding(): HaltReason | undefined {
    const { spec, latch } = this.options;
    if (latch.engaged) return "all_stop";
    return spec.lockedOut === undefined ? undefined : "lock_out";
  }

  whenHeld(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => {
      this.#callbacks.delete(callback);
    };
  }

  /** Why a command may not run now, in words. */
  barred({ safe }: CheckedSpec): string | undefined {
    const { spec, latch } = this.options;
    if (spec.lockedOut !== undefined)
      return `it is locked out (${spec.lockedOut}), until the host is told "release ${spec.id}"`;
    if (latch.engaged && !safe) return "all-stop is engaged: only stop and safe commands run, until all_clear";
    return undefined;
  }

  /** It takes no command but `stop` until it is released; `undefined` releases it. */
  lockOut(reason: string | undefined): void {
    this.options.spec.lockedOut = reason;
    if (reason !== undefined) this.#begin("lock_out");
  }

  #begin(why: HaltReason): void {
    for (const callback of [...this.#callbacks]) callback();
    this.options.onHalt(why);
  }

  /** It is of no use any more. */
  release(): void {
    this.#unlatch();
  }
}
