import type { Logger } from "pino";
import { type Clock, within } from "../../base/clock.ts";
import { SerialQueue } from "../../base/promises.ts";
import { describeError } from "../../contract/errors.ts";
import { writeJsonFile } from "../../base/durable-file.ts";
import { WRITE_AGAIN_MS } from "../limits.ts";

export interface DurableValueOptions<T> {
  file: string;
  /** What would be lost, for people: `all-stop`. */
  what: string;
  clock: Clock;
  log: Logger;
  /** What the file holds of a value, as JSON. */
  encode: (value: T) => unknown;
  /** Tells people that what holds can't be written. */
  fail: (text: string) => void;
}

/**
 * A value that outlives the host in a JSON file. What is safe is `set`: it holds at once, and is written beside, again
 * and again until it is there. What lifts a restraint is `replace`d: it holds once it is written, and a `set` that comes
 * meanwhile wins.
 */
export class DurableValue<T> {
  readonly #queue = new SerialQueue();
  #version = 0;
  #written = 0;
  #fault: string | undefined;
  #cancelRetry = () => {};
  #closed = false;
  #replacing = false;

  constructor(
    private readonly options: DurableValueOptions<T>,
    private current: T,
  ) {}

  get value(): T {
    return this.current;
  }

  /** Why what holds would not outlive a restart; `undefined` where it would. */
  get unsaved(): string | undefined {
    if (this.#written === this.#version) return undefined;
    return this.#fault ?? `${this.options.file} is still being written`;
  }

  /** Holds at once, and is written from now on. What holds already is written again only where it is being replaced. */
  set(value: T): void {
    if (value === this.current && !this.#replacing) return;
    this.current = value;
    this.#version++;
    void this.#queue.take(() => this.#save());
  }

  /**
   * Writes what is to hold next, which holds once it is written. Gives whether it does.
   *
   * @param next gives it, from what holds then; `undefined` where it is out of date. Asked anew after a `set` meanwhile
   * @throws Error where it can't be written: what holds stays
   */
  replace(next: (value: T) => T | undefined): Promise<boolean> {
    return this.#queue.take(async () => {
      this.#replacing = true;
      try {
        return await this.#replace(next);
      } finally {
        this.#replacing = false;
      }
    });
  }

  async #replace(next: (value: T) => T | undefined): Promise<boolean> {
    for (let value = next(this.current); value !== undefined; value = next(this.current)) {
      if (!(await this.#write(value))) continue;
      this.current = value;
      this.#version++;
      this.#saved(this.#version);
      return true;
    }
    return false;
  }

  /** Fulfils when what holds has been written, or could not be, or after `ms`. Never rejects. */
  async settled(ms: number): Promise<void> {
    await within(
      this.options.clock,
      ms,
      this.#queue.take(async () => {}),
    );
  }

  /** Tries for the last time to write what isn't written yet, for `ms` at most. Never rejects. */
  async close(ms: number): Promise<void> {
    this.#closed = true;
    this.#cancelRetry();
    void this.#queue.take(() => this.#save());
    await this.settled(ms);
  }

  async #save(): Promise<void> {
    this.#cancelRetry();
    const version = this.#version;
    if (this.#written === version) return;
    try {
      await writeJsonFile(this.options.file, this.options.encode(this.current));
      this.#saved(version);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Gives whether it was written, and no `set` came meanwhile. */
  async #write(value: T): Promise<boolean> {
    const version = this.#version;
    const isWanted = () => version === this.#version;
    try {
      return (await writeJsonFile(this.options.file, this.options.encode(value), isWanted)) && isWanted();
    } catch (error) {
      throw new Error(`${this.#cannot(error)}, and a host that starts anew would read what it holds now`, {
        cause: error,
      });
    }
  }

  #saved(version: number): void {
    const { file, what, log } = this.options;
    this.#written = version;
    if (this.#fault !== undefined) log.warn(`${file} is written: ${what} would outlive a restart of the host again`);
    this.#fault = undefined;
    this.#cancelRetry();
  }

  #failed(error: unknown): void {
    const { what, clock, fail } = this.options;
    const isNew = this.#fault === undefined;
    this.#fault = this.#cannot(error);
    if (!this.#closed) this.#cancelRetry = clock.after(WRITE_AGAIN_MS, () => void this.#queue.take(() => this.#save()));
    if (isNew) {
      const again = `it is tried again every ${WRITE_AGAIN_MS / 1000} s until it is there`;
      fail(`${what} would not outlive a restart of the host: ${this.#fault}; ${again}`);
    }
  }

  #cannot(error: unknown): string {
    return `${this.options.file} can't be written (${describeError(error)}): free or mend the disk`;
  }
}
