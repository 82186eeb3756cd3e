/** How many ids of commands are remembered of each worker, at least. */
const KEPT = 1024;
/** How many are taken of what others say: they may have it from others, before or after their own. */
const KEPT_OF_OTHERS = 2 * KEPT;
const MOST = 2 * KEPT_OF_OTHERS;

/** The ids of the last commands that ran, so that none runs twice. */
export class SeenIds {
  readonly #ids: Set<string>;

  /** @param onTaken told of each new one */
  constructor(
    ids: readonly string[] = [],
    private readonly onTaken: (id: string) => void = () => {},
  ) {
    this.#ids = new Set(ids.slice(-KEPT_OF_OTHERS));
  }

  /** The oldest first. */
  get all(): string[] {
    return [...this.#ids];
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /** Remembers one. */
  take(id: string): void {
    if (!this.#add(id)) return;
    // One for each, even where there are more: they may be newer than those that are kept.
    const [oldest] = this.#ids;
    if (this.#ids.size > KEPT && oldest !== undefined) this.#ids.delete(oldest);
  }

  /** Remembers what was seen elsewhere; whether that was before or after its own isn't known, so nothing goes for it. */
  takeAll(ids: readonly string[]): void {
    for (const id of ids.slice(-KEPT_OF_OTHERS)) this.#add(id);
    for (const oldest of this.#ids) {
      if (this.#ids.size <= MOST) return;
      this.#ids.delete(oldest);
    }
  }

  /** Gives whether it is new. */
  #add(id: string): boolean {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    this.onTaken(id);
    return true;
  }
}
