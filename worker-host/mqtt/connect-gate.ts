/** How many connects may be in flight at once: a broker's accept backlog is short. */
const LIMIT = 50;

/** Lets connects begin in the order in which they came, `LIMIT` at a time. */
export class ConnectGate {
  #free = LIMIT;
  #open = true;
  readonly #waiting = new Set<(admitted: boolean) => void>();

  /** From now on nobody enters. */
  close(): void {
    this.#open = false;
  }

  open(): void {
    this.#open = true;
    this.#admit();
  }

  /**
   * Fulfils when there is room; the function that it gives makes room again, once. Who has to wait is handed one that
   * ends the waiting, without room.
   */
  async enter(onWait: (giveUp: () => void) => void): Promise<() => void> {
    if (this.#open && this.#free > 0) this.#free--;
    else if (!(await this.#wait(onWait))) return () => {};
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#free++;
      this.#admit();
    };
  }

  #wait(onWait: (giveUp: () => void) => void): Promise<boolean> {
    return new Promise((resolve) => {
      this.#waiting.add(resolve);
      onWait(() => {
        this.#waiting.delete(resolve);
        resolve(false);
      });
    });
  }

  #admit(): void {
    for (const next of this.#waiting) {
      if (!this.#open || this.#free <= 0) return;
      this.#waiting.delete(next);
      this.#free--;
      next(true);
    }
  }
}
