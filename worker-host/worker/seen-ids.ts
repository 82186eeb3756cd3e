/** How many ids of commands are remembered of each worker. */
const KEPT = 1024;

/** The ids of the last commands that ran, so that none runs twice. */
export class SeenIds {
  readonly #ids: Set<string>;

  /** @param onTaken told of each new one */
  constructor(
    ids: Iterable<string> = [],
    private readonly onTaken: (id: string) => void = () => {},
  ) {
    this.#ids = new Set([...ids].slice(-KEPT));
  }

  /** The oldest first. */
  get all(): string[] {
    return [...this.#ids];
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /** Remembers one; gives whether it is new. */
  take(id: string): boolean {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    for (const oldest of this.#ids) {
      if (this.#ids.size <= KEPT) break;
      this.#ids.delete(oldest);
    }
    this.onTaken(id);
    return true;
  }
}
