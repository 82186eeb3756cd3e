import type { Logger } from "pino";
import { describeError } from "../contract/errors.ts";
import type { Clock } from "../worker/clock.ts";
import { readJsonFile, writeJsonFile } from "./json-file.ts";
import { Turns } from "./turns.ts";

/** What the latch's file holds. */
export interface AllStopState {
  engaged: boolean;
  /** Who engaged or cleared it last: a worker's id, `cli`, or what else they said of themselves. */
  by: string;
  reason?: string;
  /** ISO 8601. */
  since: string;
}

/** Who wants it, and why. */
export type Who = Pick<AllStopState, "by" | "reason">;

export interface AllStopOptions {
  /** Where the latch outlives a power cut. */
  file: string;
  clock: Clock;
  log: Logger;
  /** Tells the processes of workers; fulfils when they have heard it, or have been ended. */
  tell: (engaged: boolean) => Promise<void>;
  /** Publishes what holds, retained. */
  publish: (engaged: boolean) => void;
  /** Tells every prop and board to stop. */
  stopAll: () => void;
  fail: (text: string) => void;
}

/**
 * The latch that stops everything until somebody clears it. It outlives the host and the broker: its file is synced
 * before anything is published, and where the file and the retained topic differ, it is engaged.
 */
export class AllStop {
  #state: AllStopState;
  /** How many of our own `engaged` are still to come back to us. */
  #echoes = 0;
  #engagements = 0;
  readonly #turns = new Turns();

  private constructor(
    private readonly options: AllStopOptions,
    state: AllStopState,
  ) {
    this.#state = state;
  }

  /** Takes up what its file says. */
  static async open(options: AllStopOptions): Promise<AllStop> {
    return new AllStop(options, await read(options));
  }

  get state(): AllStopState {
    return this.#state;
  }

  get engaged(): boolean {
    return this.#state.engaged;
  }

  /** Engages it, or, where it is, stops everything once more. Works even where its file can't be written. */
  engage({ by, reason }: Who): Promise<AllStopState> {
    const { log, tell, publish, stopAll, fail } = this.options;
    this.#engagements++;
    if (!this.engaged) this.#state = this.#next(true, { by, ...(reason === undefined ? {} : { reason }) });
    const state = this.#state;
    log.warn(state, "all-stop is engaged");
    const told = tell(true);
    return this.#turns.take(async () => {
      await writeJsonFile(this.options.file, state).catch((error: unknown) =>
        fail(`all-stop is engaged, but would not be after a restart: ${describeError(error)}`),
      );
      this.#echoes++;
      publish(true);
      stopAll();
      await told;
      return state;
    });
  }

  /**
   * Clears it; starts nothing by itself. Its topic says so when every worker takes commands again.
   *
   * @throws Error where its file can't be written: it stays engaged
   */
  clear(who: Who): Promise<AllStopState> {
    const { log, tell, publish } = this.options;
    const engagements = this.#engagements;
    return this.#turns.take(async () => {
      // Somebody has engaged it since: they win.
      if (engagements !== this.#engagements) return this.#state;
      const next = this.#next(false, who);
      await writeJsonFile(this.options.file, next);
      if (engagements !== this.#engagements) return this.#state;
      this.#state = next;
      log.warn(next, "all-stop is cleared");
      await tell(false);
      if (engagements === this.#engagements) publish(false);
      return this.#state;
    });
  }

  /** Publishes what holds. */
  assert(): void {
    if (this.engaged) this.#echoes++;
    this.options.publish(this.engaged);
  }

  /** On a new connection nothing of the one before comes back. */
  reconnected(): void {
    this.#echoes = this.engaged ? 1 : 0;
  }

  /** Takes what its topic says. */
  heard(text: string | undefined, { retain }: { retain: boolean }): void {
    if (text === "clear" && this.engaged) this.assert();
    if (text !== "engaged") return;
    if (!retain && this.#echoes > 0) this.#echoes--;
    else if (!this.engaged) void this.engage({ by: "the retained topic" });
  }

  #next(engaged: boolean, who: Who): AllStopState {
    return { engaged, ...who, since: new Date(this.options.clock.now()).toISOString() };
  }
}

/** What the file says; one that can't be read counts as engaged. */
async function read({ file, clock, log }: Pick<AllStopOptions, "file" | "clock" | "log">): Promise<AllStopState> {
  const since = new Date(clock.now()).toISOString();
  try {
    const kept = await readJsonFile(file, (value) => parse(value, since));
    return kept ?? { engaged: false, by: "nobody", since };
  } catch (error) {
    log.error(`${file} can't be read (${describeError(error)}): all-stop counts as engaged; all_clear writes it anew`);
    return { engaged: true, by: `${file}, which can't be read`, since };
  }
}

function parse(value: unknown, now: string): AllStopState {
  const state = value as Partial<AllStopState> | null | undefined;
  if (typeof state?.engaged !== "boolean") throw new Error('it is no JSON with "engaged": true or false');
  const { engaged, by = "somebody", reason, since = now } = state;
  return { engaged, by, since, ...(reason === undefined ? {} : { reason }) };
}
