/** Does one thing after the other. Whoever asked hears of an error; whoever asks next doesn't. */
export class SerialQueue {
  #last: Promise<unknown> = Promise.resolve();

  /** Calls `work` when all that was asked for before has been done, or has failed. */
  take<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }
}
