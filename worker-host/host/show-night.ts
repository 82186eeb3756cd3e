import type { Logger } from "pino";
import { describeError, messageOf, WorkerHostError } from "../contract/errors.ts";
import { faultOfId } from "../contract/topics.ts";
import type { Clock } from "../worker/clock.ts";
import { DurableValue } from "./durable-value.ts";
import { readJsonFile } from "./json-file.ts";

/** What its file holds. */
interface Kept {
  /** Edits wait. */
  show: boolean;
  /** Why a prop takes no command, by its id. */
  lockOuts: Record<string, string>;
}

/** One prop's lock-out; a second one of the same prop is another. */
interface LockOut {
  reason: string;
}

/** What holds for the night. */
interface Night {
  show: boolean;
  lockOuts: ReadonlyMap<string, LockOut>;
}

/** What is answered to who locks a prop out, or switches the show on or off. */
export interface NightAnswer {
  /** Why it would not outlive a restart of the host. */
  unsaved?: string;
}

export interface ShowNightOptions {
  /** Where it outlives a restart. */
  file: string;
  log: Logger;
  clock: Clock;
  /** Edits are taken in again. */
  onShowOver: () => void;
  /** Tells a worker that it takes no command but `stop`, or with no reason any command again. */
  tell: (id: string, reason: string | undefined) => void;
  /** Publishes the same for a board and for people, retained. */
  publish: (id: string, reason: string | undefined) => void;
  /** Tells people that something failed. */
  fail: (text: string) => void;
}

/** How long an answer waits for the disk. */
const DISK_MS = 2_000;

/** What the operator has set for the night: whether edits wait, and who is locked out. It outlives the host. */
export class ShowNight {
  readonly #kept: DurableValue<Night>;

  private constructor(
    private readonly options: ShowNightOptions,
    night: Night,
  ) {
    this.#kept = new DurableValue({ ...options, what: "lock-outs", encode }, night);
  }

  /** Takes up what its file says. */
  static async open(options: ShowNightOptions): Promise<ShowNight> {
    return new ShowNight(options, await read(options));
  }

  /** While the show is on, edits wait. */
  get show(): boolean {
    return this.#kept.value.show;
  }

  get #lockOuts(): ReadonlyMap<string, LockOut> {
    return this.#kept.value.lockOuts;
  }

  /** Why a prop takes no command but `stop`; `undefined` where it isn't locked out. */
  lockedOut(id: string): string | undefined {
    return this.#lockOuts.get(id)?.reason;
  }

  /** All that are locked out. */
  get allLockedOut(): string[] {
    return [...this.#lockOuts.keys()];
  }

  /** Tells all that are locked out, at the start. */
  assert(): void {
    for (const [id, { reason }] of this.#lockOuts) this.options.publish(id, reason);
  }

  /** @throws WorkerHostError `not_allowed` where something would change what runs while the show is on */
  refuseDuringShow(what: string): void {
    if (!this.show) return;
    throw new WorkerHostError("not_allowed", `the show is on, and ${what} has to wait: send "show off" first`);
  }

  /** Edits wait from now on, or are taken in. */
  async setShow(on: boolean): Promise<NightAnswer> {
    const was = this.show;
    this.#kept.set({ ...this.#kept.value, show: on });
    if (was && !on) this.options.onShowOver();
    return this.#answer();
  }

  /**
   * A prop, or a board, takes no command but `stop` until it is released. It is told before that is written, since a
   * disk may take seconds.
   *
   * @throws WorkerHostError `invalid_id`
   */
  async lockOut(id: string, reason: string): Promise<NightAnswer> {
    const fault = faultOfId(id);
    if (fault !== undefined) throw new WorkerHostError("invalid_id", fault);
    this.#kept.set({ ...this.#kept.value, lockOuts: new Map([...this.#lockOuts, [id, { reason }]]) });
    this.options.tell(id, reason);
    this.options.publish(id, reason);
    return this.#answer();
  }

  /**
   * Ends a lock-out, once that is written.
   *
   * @throws WorkerHostError `invalid_id` where it isn't locked out, `not_written` where its file can't be written
   */
  async release(id: string): Promise<void> {
    const lockOut = this.#lockOuts.get(id);
    if (!lockOut) {
      const all = this.allLockedOut.join(", ") || "none is";
      throw new WorkerHostError("invalid_id", `"${id}" is not locked out; ${all}`);
    }
    // Who locks it out meanwhile wins.
    const isAsked = ({ lockOuts }: Night) => lockOuts.get(id) === lockOut;
    try {
      if (!(await this.#kept.replace((night) => (isAsked(night) ? without(night, id) : undefined)))) return;
    } catch (cause) {
      throw new WorkerHostError("not_written", `${id} stays locked out: ${messageOf(cause)}`, { cause });
    }
    this.options.tell(id, undefined);
    this.options.publish(id, undefined);
  }

  /** Fulfils when what holds is written, or can't be. */
  close(ms: number): Promise<void> {
    return this.#kept.close(ms);
  }

  async #answer(): Promise<NightAnswer> {
    await this.#kept.settled(DISK_MS);
    const { unsaved } = this.#kept;
    return unsaved === undefined ? {} : { unsaved };
  }
}

function without({ show, lockOuts }: Night, id: string): Night {
  return { show, lockOuts: new Map([...lockOuts].filter(([each]) => each !== id)) };
}

function encode({ show, lockOuts }: Night): Kept {
  return { show, lockOuts: Object.fromEntries([...lockOuts].map(([id, { reason }]) => [id, reason])) };
}

async function read({ file, log }: ShowNightOptions): Promise<Night> {
  const none: Night = { show: false, lockOuts: new Map() };
  try {
    return (await readJsonFile(file, parse)) ?? none;
  } catch (error) {
    log.error(`${file} can't be read (${describeError(error)}): nobody is locked out, and edits are taken in`);
    return none;
  }
}

function parse(value: unknown): Night {
  const { show, lockOuts } = (value ?? {}) as Partial<Kept>;
  if (typeof show !== "boolean" || typeof lockOuts !== "object" || lockOuts === null)
    throw new Error("it is not what the host wrote");
  return { show, lockOuts: new Map(Object.entries(lockOuts).map(([id, reason]) => [id, { reason }])) };
}
