import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { readJsonFile } from "../../base/durable-file.ts";
import { describeError, messageOf, WorkerHostError } from "../../contract/errors.ts";
import type { Heard } from "../../contract/heard.ts";
import { defined } from "../../contract/payload.ts";
import { DurableValue } from "../data/durable-value.ts";
import { DISK_MS } from "../limits.ts";

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

/** What is answered to who engages or clears it; who has heard it, where it is engaged. */
export interface AllStopAnswer extends AllStopState, Partial<Omit<Heard, "since">> {
  /** Why it would not outlive a restart of the host. */
  unsaved?: string;
}

export interface AllStopOptions {
  /** Where the latch outlives a power cut. */
  file: string;
  clock: Clock;
  log: Logger;
  /** Tells the processes of workers; fulfils when they have heard it, or have been ended. */
  tell: (engaged: boolean) => Promise<void>;
  /** Publishes what holds, retained. */
  publish: (engaged: boolean) => void;
  /** Tells every prop and board to stop at once; gives who has heard it, some time later. */
  stopAll: () => Promise<Heard>;
  fail: (text: string) => void;
}

/**
 * The latch that stops everything until somebody clears it. It is told before it is written, since a disk may take
 * seconds. It outlives the host and the broker: where its file and the retained topic differ, it is engaged.
 */
export class AllStop {
  readonly #kept: DurableValue<AllStopState>;
  /** How many of our own `engaged` are still to come back to us. */
  #echoes = 0;
  #engagements = 0;

  private constructor(
    private readonly options: AllStopOptions,
    state: AllStopState,
  ) {
    this.#kept = new DurableValue({ ...options, what: "all-stop", encode: (value) => value }, state);
  }

  /** Takes up what its file says. */
  static async open(options: AllStopOptions): Promise<AllStop> {
    return new AllStop(options, await read(options));
  }

  get state(): AllStopState {
    return this.#kept.value;
  }

  get engaged(): boolean {
    return this.state.engaged;
  }

  /**
   * Engages it, or, where it is, stops everything once more: at once, whatever the disk does. Fulfils when it is known
   * who has heard it. Never rejects.
   */
  async engage({ by, reason }: Who): Promise<AllStopAnswer> {
    const { log, tell, publish, stopAll } = this.options;
    this.#engagements++;
    const told = tell(true);
    this.#echoes++;
    publish(true);
    const hearing = stopAll();
    const next = this.engaged ? this.state : this.#next(true, { by, ...defined({ reason }) });
    this.#kept.set(next);
    log.warn(next, "all-stop is engaged");
    const [heard] = await Promise.all([hearing, told, this.#kept.settled(DISK_MS)]);
    return { ...heard, ...this.#answer(next) };
  }

  /**
   * Clears it; starts nothing by itself. Its topic says so when every worker takes commands again.
   *
   * @throws WorkerHostError `not_written` where its file can't be written: it stays engaged
   */
  async clear(who: Who): Promise<AllStopAnswer> {
    const { log, tell, publish } = this.options;
    const engagements = this.#engagements;
    const isAsked = () => engagements === this.#engagements;
    const next = this.#next(false, who);
    try {
      // Who has engaged it since wins.
      if (!(await this.#kept.replace(() => (isAsked() ? next : undefined)))) return this.#answer(this.state);
    } catch (cause) {
      throw new WorkerHostError("not_written", `all-stop stays engaged: ${messageOf(cause)}`, { cause });
    }
    log.warn(next, "all-stop is cleared");
    await tell(false);
    if (isAsked()) publish(false);
    return this.#answer(this.state);
  }

  #answer(state: AllStopState): AllStopAnswer {
    const { unsaved } = this.#kept;
    return { ...state, ...defined({ unsaved }) };
  }

  /** Fulfils when what holds is written, or can't be. */
  close(ms: number): Promise<void> {
    return this.#kept.close(ms);
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
    if (text !== "engaged") {
      // Who clears or overwrites it changes nothing.
      if (text !== "clear" || this.engaged) this.assert();
    } else if (!retain && this.#echoes > 0) this.#echoes--;
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
    const kept = await readJsonFile(file, (value) => parseAllStop(value, since));
    return kept ?? { engaged: false, by: "nobody", since };
  } catch (error) {
    log.error(`${file} can't be read (${describeError(error)}): all-stop counts as engaged; all_clear writes it anew`);
    return { engaged: true, by: `${file}, which can't be read`, since };
  }
}

function parseAllStop(value: unknown, now: string): AllStopState {
  const { engaged, by, reason, since } = (value ?? {}) as Partial<Record<keyof AllStopState, unknown>>;
  if (typeof engaged !== "boolean") throw new Error('it is no JSON with "engaged": true or false');
  return {
    engaged,
    by: typeof by === "string" ? by : "somebody",
    since: typeof since === "string" ? since : now,
    ...(typeof reason === "string" ? { reason } : {}),
  };
}
