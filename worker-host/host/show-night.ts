import type { Logger } from "pino";
import { describeError, WorkerHostError } from "../contract/errors.ts";
import { faultOfId } from "../contract/topics.ts";
import { readJsonFile, writeJsonFile } from "./json-file.ts";
import { Turns } from "./turns.ts";

/** What its file holds. */
interface Kept {
  /** Edits wait. */
  show: boolean;
  /** Why a prop takes no command, by its id. */
  lockOuts: Record<string, string>;
}

export interface ShowNightOptions {
  /** Where it outlives a restart. */
  file: string;
  log: Logger;
  /** Edits are taken in again. */
  onShowOver: () => void;
  /** Tells a worker that it takes no command but `stop`, or with no reason any command again. */
  tell: (id: string, reason: string | undefined) => void;
  /** Publishes the same for a board and for people, retained. */
  publish: (id: string, reason: string | undefined) => void;
}

/** What the operator has set for the night: whether edits wait, and who is locked out. It outlives the host. */
export class ShowNight {
  readonly #turns = new Turns();

  private constructor(
    private readonly options: ShowNightOptions,
    private on: boolean,
    private readonly lockOuts: Map<string, string>,
  ) {}

  /** Takes up what its file says. */
  static async open(options: ShowNightOptions): Promise<ShowNight> {
    const { show, lockOuts } = await read(options);
    return new ShowNight(options, show, new Map(Object.entries(lockOuts)));
  }

  /** While the show is on, edits wait. */
  get show(): boolean {
    return this.on;
  }

  /** Why a prop takes no command but `stop`; `undefined` where it isn't locked out. */
  lockedOut(id: string): string | undefined {
    return this.lockOuts.get(id);
  }

  /** All that are locked out. */
  get allLockedOut(): string[] {
    return [...this.lockOuts.keys()];
  }

  /** Tells all that are locked out, at the start. */
  assert(): void {
    for (const [id, reason] of this.lockOuts) this.options.publish(id, reason);
  }

  /** @throws WorkerHostError `not_allowed` where something would change what runs while the show is on */
  refuseDuringShow(what: string): void {
    if (!this.on) return;
    throw new WorkerHostError("not_allowed", `the show is on, and ${what} has to wait: send "show off" first`);
  }

  /** Edits wait from now on, or are taken in. */
  async setShow(on: boolean): Promise<void> {
    const was = this.on;
    this.on = on;
    if (was && !on) this.options.onShowOver();
    await this.#write();
  }

  /**
   * A prop, or a board, takes no command but `stop` until it is released.
   *
   * @throws WorkerHostError `invalid_id`
   */
  async lockOut(id: string, reason: string): Promise<void> {
    const fault = faultOfId(id);
    if (fault !== undefined) throw new WorkerHostError("invalid_id", fault);
    this.lockOuts.set(id, reason);
    await this.#changed(id, reason);
  }

  /** @throws WorkerHostError `invalid_id` where it isn't locked out */
  async release(id: string): Promise<void> {
    if (!this.lockOuts.delete(id)) {
      const all = this.allLockedOut.join(", ") || "none is";
      throw new WorkerHostError("invalid_id", `"${id}" is not locked out; ${all}`);
    }
    await this.#changed(id, undefined);
  }

  /** What people see holds over a power cut: it is written first. */
  async #changed(id: string, reason: string | undefined): Promise<void> {
    this.options.tell(id, reason);
    try {
      await this.#write();
    } finally {
      this.options.publish(id, reason);
    }
  }

  #write(): Promise<void> {
    const { file } = this.options;
    return this.#turns.take(() => {
      const kept: Kept = { show: this.on, lockOuts: Object.fromEntries(this.lockOuts) };
      return writeJsonFile(file, kept);
    });
  }
}

async function read({ file, log }: ShowNightOptions): Promise<Kept> {
  const none: Kept = { show: false, lockOuts: {} };
  try {
    return (await readJsonFile(file, parse)) ?? none;
  } catch (error) {
    log.error(`${file} can't be read (${describeError(error)}): nobody is locked out, and edits are taken in`);
    return none;
  }
}

function parse(value: unknown): Kept {
  const { show, lockOuts } = (value ?? {}) as Partial<Kept>;
  if (typeof show !== "boolean" || typeof lockOuts !== "object" || lockOuts === null)
    throw new Error("it is not what the host wrote");
  return { show, lockOuts };
}
