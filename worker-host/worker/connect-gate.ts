/** Lets so many connects be in flight at once, in the order in which they came: a broker's accept backlog is short. */
export class ConnectGate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(limit = 50) {
    this.#free = limit;
  }

  /** Fulfils when there is room; the function that it gives makes room again, once. */
  async enter(): Promise<() => void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    };
  }
}
