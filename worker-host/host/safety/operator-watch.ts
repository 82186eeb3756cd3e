import type { Clock } from "../../base/clock.ts";

/** Wants a sign of the operator from time to time, as a dead man's switch does. */
export class OperatorWatch {
  #begun = false;
  #cancel = () => {};

  /** @param timeoutMs 0: nobody is watched */
  constructor(
    private readonly timeoutMs: number,
    private readonly clock: Clock,
    private readonly onSilent: (reason: string) => void,
  ) {}

  /** The workers are up: from now on the time counts. */
  begin(): void {
    this.#begun = true;
    this.alive();
  }

  /** The operator is there: the time begins anew. */
  alive(): void {
    this.#cancel();
    if (!this.#begun || this.timeoutMs === 0) return;
    const seconds = this.timeoutMs / 1000;
    this.#cancel = this.clock.after(this.timeoutMs, () => this.onSilent(`no operator_alive for ${seconds} s`));
  }

  stop(): void {
    this.#cancel();
  }
}
