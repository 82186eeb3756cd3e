/** Whether all-stop is engaged, as this process has been told. */
export class Latch {
  #engaged = false;
  readonly #callbacks = new Set<() => void>();

  get engaged(): boolean {
    return this.#engaged;
  }

  /** Engages or clears it; whoever is engaged again stops again. */
  set(engaged: boolean): void {
    this.#engaged = engaged;
    if (engaged) for (const callback of [...this.#callbacks]) callback();
  }

  /** Calls `callback` whenever it is engaged from now on; the function that it gives back forgets that. */
  whenEngaged(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => {
      this.#callbacks.delete(callback);
    };
  }
}
