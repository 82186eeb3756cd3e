import { addCounts, type Counts, noCounts } from "../base/counts.ts";

/** What the host has counted since its start, of itself and of the workers that it knows. */
export class HostCounts {
  /** Of the host's own connection. */
  readonly own = noCounts();
  /** How often a process of workers was found to be held up, and how often one was ended for that. */
  stallWarnings = 0;
  stalls = 0;
  /** How often a process of workers died. */
  deaths = 0;
  readonly #workers = new Map<string, Counts>();
  readonly #restarts = new Map<string, number>();

  /** Takes what a process says that its workers have done since it was last asked. */
  take(counts: [id: string, counts: Counts][]): void {
    for (const [id, more] of counts) {
      const known = this.#workers.get(id) ?? noCounts();
      addCounts(known, more);
      this.#workers.set(id, known);
    }
  }

  /** A worker is started again by itself. */
  restarted(id: string): void {
    this.#restarts.set(id, this.restartsOf(id) + 1);
  }

  of(id: string): Counts {
    return this.#workers.get(id) ?? noCounts();
  }

  restartsOf(id: string): number {
    return this.#restarts.get(id) ?? 0;
  }

  /** Its prop is gone. */
  forget(id: string): void {
    this.#workers.delete(id);
    this.#restarts.delete(id);
  }
}
