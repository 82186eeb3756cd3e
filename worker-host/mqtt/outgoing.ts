/** How much may be on its way to the broker at once. */
const MAX_BYTES = 8 * 1024 * 1024;
const MAX_MESSAGES = 10_000;

/** Bounds what a connection has on its way: a broker that takes less than is said must not cost all memory. */
export class Outgoing {
  #bytes = 0;
  #messages = 0;
  #whenRoom: (() => void) | undefined;

  /** Takes a message on its way, unless there are too many; what it gives is to be called when it has arrived. */
  enter(payload: string | Uint8Array): (() => void) | undefined {
    if (this.#bytes >= MAX_BYTES || this.#messages >= MAX_MESSAGES) return undefined;
    const { length } = payload;
    this.#bytes += length;
    this.#messages++;
    return () => {
      this.#bytes -= length;
      this.#messages--;
      this.#check();
    };
  }

  /** Calls `callback` once, when half of the room is free, in the place of the one before. */
  whenRoom(callback: () => void): void {
    this.#whenRoom = callback;
  }

  #check(): void {
    if (this.#bytes > MAX_BYTES / 2 || this.#messages > MAX_MESSAGES / 2) return;
    const callback = this.#whenRoom;
    this.#whenRoom = undefined;
    callback?.();
  }
}
