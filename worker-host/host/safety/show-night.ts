import { rename } from "node:fs/promises";
import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { readJsonFile } from "../../base/durable-file.ts";
import { quote } from "../../contract/command.ts";
import { describeError, messageOf, WorkerHostError } from "../../contract/errors.ts";
import type { Heard } from "../../contract/heard.ts";
import { faultOfId } from "../../contract/topics.ts";
import { DurableValue } from "../data/durable-value.ts";
import { DISK_MS, MAX_REASON_CHARS } from "../limits.ts";

/** One prop's lock-out; a second one of the same prop is another. */
interface LockOut {
  reason: string;
}

/** What holds for the night. */
interface Night {
  /** Edits wait. */
  show: boolean;
  /** Why a prop takes no command, by its id. */
  lockOuts: ReadonlyMap<string, LockOut>;
}

/** What a file of the night says, and what of it can't be read. */
interface Read {
  night: Night;
  faults: string[];
}

const NOTHING: Night = { show: false, lockOuts: new Map() };

/** What the file of a night holds, as JSON. */
function encodeNight({ show, lockOuts }: Night): unknown {
  return { show, lockOuts: Object.fromEntries([...lockOuts].map(([id, { reason }]) => [id, reason])) };
}

/**
 * Reads the file of a night. What can't be read of it restrains: edits wait, and who has no readable reason is locked
 * out. A damaged file is set aside, and `damage` tells of it.
 */
async function readNight(file: string, now: number): Promise<{ night: Night; damage?: string }> {
  const { night, faults } = await read(file);
  if (faults.length === 0) return { night };
  const kept = await setAside(file, now);
  const held = [...night.lockOuts.keys()].join(", ") || "none";
  const edits = night.show ? 'Edits wait until "show off"' : "Edits are taken in";
  const damage =
    `${file} is damaged (${faults.join("; ")}): ${kept}. Locked out by it: ${held}; and of this host's ids those ` +
    `whose topic says so. ${edits}. Look at it, and lock out anew who is missing`;
  return { night, damage };
}

async function read(file: string): Promise<Read> {
  try {
    return (await readJsonFile(file, parseNight)) ?? { night: NOTHING, faults: [] };
  } catch (error) {
    return { night: { ...NOTHING, show: true }, faults: [describeError(error)] };
  }
}

function parseNight(value: unknown): Read {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { night: { ...NOTHING, show: true }, faults: ["it is no JSON object"] };
  }
  const { show, lockOuts } = value as Partial<Record<string, unknown>>;
  const faults: string[] = [];
  if (typeof show !== "boolean") faults.push(`"show" is ${quote(show)}; expected true or false`);
  const night = { show: show !== false, lockOuts: lockOutsIn(lockOuts, faults) };
  return { night, faults };
}

function lockOutsIn(value: unknown, faults: string[]): Map<string, LockOut> {
  const lockOuts = new Map<string, LockOut>();
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    faults.push(`"lockOuts" is ${quote(value)}; expected an object`);
    return lockOuts;
  }
  for (const [id, reason] of Object.entries(value)) {
    const fault = faultOfId(id);
    if (fault !== undefined) faults.push(fault);
    else if (typeof reason === "string" && reason !== "")
      lockOuts.set(id, { reason: reason.slice(0, MAX_REASON_CHARS) });
    else {
      faults.push(`the reason of ${id} is ${quote(reason)}; expected a text`);
      lockOuts.set(id, { reason: "its reason can't be read" });
    }
  }
  return lockOuts;
}

/** Gives a file another name, so that it can be looked at; says in words what became of it. */
async function setAside(file: string, now: number): Promise<string> {
  const aside = `${file}.damaged-${new Date(now).toISOString().replaceAll(":", "-")}`;
  try {
    await rename(file, aside);
    return `it is kept as ${aside}`;
  } catch (error) {
    return `it can't be kept as ${aside} (${describeError(error)}), and is written anew`;
  }
}

/** Wants a sign of the operator from time to time, as a dead man's switch does. */
export class OperatorWatch {
  #begun = false;
  #cancel = () => {};

  /** @param timeoutMs 0: nobody is watched */
  constructor(
    private readonly timeoutMs: number,
    private readonly clock: Clock,
    private readonly onSilent: (reason: string) => void,
  ) {}

  /** The workers are up: from now on the time counts. */
  begin(): void {
    this.#begun = true;
    this.alive();
  }

  /** The operator is there: the time begins anew. */
  alive(): void {
    this.#cancel();
    if (!this.#begun || this.timeoutMs === 0) return;
    const seconds = this.timeoutMs / 1000;
    this.#cancel = this.clock.after(this.timeoutMs, () => this.onSilent(`no operator_alive for ${seconds} s`));
  }

  stop(): void {
    this.#cancel();
  }
}

/** What is answered to who locks a prop out, or switches the show on or off; whether that prop has heard it. */
interface NightAnswer extends Partial<Heard> {
  /** Why it would not outlive a restart of the host. */
  unsaved?: string;
}

interface ShowNightOptions {
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
  /** Tells an id to stop; gives whether it has heard, some time later. */
  stop: (id: string) => Promise<Heard>;
  /** Whether an id is a prop of this host, or the board of one; known once the workers are. */
  isOurs: (id: string) => boolean;
  /** Whether its worker, or that of its prop, runs here: of two hosts that may lock it out, one has the say of its reason. */
  runsHere: (id: string) => boolean;
  /** Tells people that something failed. */
  fail: (text: string) => void;
}

/** Strangers may publish under any id. */
const MOST_SHOWN = 10_000;

/**
 * What the operator has set for the night: whether edits wait, and who is locked out. It outlives the host and the
 * broker: who is locked out by the file or by the retained topic is so until it is released.
 */
export class ShowNight {
  readonly #kept: DurableValue<Night>;
  /** What the topics of lock-outs say, by id. */
  readonly #shown = new Map<string, string>();
  /** How many of our own reasons are still to come back to us, by id. */
  #echoes = new Map<string, number>();
  /** What the broker still retains for one of these is out of date. */
  readonly #released = new Set<string>();

  private constructor(
    private readonly options: ShowNightOptions,
    night: Night,
  ) {
    this.#kept = new DurableValue({ ...options, what: "lock-outs", encode: encodeNight }, night);
  }

  /** Takes up what its file says. */
  static async open(options: ShowNightOptions): Promise<ShowNight> {
    const { night, damage } = await readNight(options.file, options.clock.now());
    const opened = new ShowNight(options, night);
    if (damage !== undefined) {
      options.fail(damage);
      opened.#kept.set({ ...night });
    }
    return opened;
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
    return this.#lockOuts.get(id)?.reason ?? (this.#released.has(id) ? undefined : this.#shown.get(id));
  }

  /** All that are locked out. */
  get allLockedOut(): string[] {
    return [...this.#lockOuts.keys()];
  }

  /** Tells all that are locked out, at the start. */
  assert(): void {
    for (const [id, { reason }] of this.#lockOuts) this.#publish(id, reason);
  }

  /** On a new connection nothing of the one before comes back. */
  reconnected(): void {
    this.#echoes = new Map([...this.#lockOuts.keys()].map((id) => [id, 1]));
  }

  /** Takes what the topic of an id's lock-out says. */
  heard(id: string, text: string, { retain }: { retain: boolean }): void {
    if (faultOfId(id) !== undefined) return;
    const held = this.#lockOuts.get(id);
    if (text === "") this.#shown.delete(id);
    if (held && (text === "" || (text !== held.reason && this.options.runsHere(id)))) this.#publish(id, held.reason);
    if (text === "") return;
    const echoes = this.#echoes.get(id) ?? 0;
    if (!retain && echoes > 0) this.#echoes.set(id, echoes - 1);
    else if (!retain) this.#released.delete(id);
    if (this.#shown.size >= MOST_SHOWN && !this.#shown.has(id)) return;
    this.#shown.set(id, text.slice(0, MAX_REASON_CHARS));
    this.#adopt(id);
  }

  /** To be called when the workers are known: whom the topics have locked out of them is so by the file too. */
  settle(): void {
    for (const id of this.#shown.keys()) this.#adopt(id);
  }

  #adopt(id: string): void {
    const reason = this.lockedOut(id);
    if (reason === undefined || this.#lockOuts.has(id) || !this.options.isOurs(id)) return;
    this.options.log.warn(`${id} is locked out (${reason}): its topic says so, and its file doesn't`);
    void this.lockOut(id, reason);
  }

  #publish(id: string, reason: string): void {
    this.#echoes.set(id, (this.#echoes.get(id) ?? 0) + 1);
    this.options.publish(id, reason);
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
    this.#released.delete(id);
    this.options.tell(id, reason);
    this.#publish(id, reason);
    const [heard, answer] = await Promise.all([this.options.stop(id), this.#answer()]);
    return { ...heard, ...answer };
  }

  /**
   * Ends a lock-out, once that is written.
   *
   * @throws WorkerHostError `invalid_id` where it isn't locked out, `not_written` where its file can't be written
   */
  async release(id: string): Promise<void> {
    const lockOut = this.#lockOuts.get(id);
    if (lockOut) {
      if (!(await this.#forget(id, lockOut))) return;
    } else if (!this.#shown.has(id)) {
      const ids = this.allLockedOut.join(", ");
      const all = ids === "" ? "none is" : `locked out: ${ids}`;
      throw new WorkerHostError("invalid_id", `"${id}" is not locked out; ${all}`);
    }
    this.#released.add(id);
    this.options.tell(id, undefined);
    this.options.publish(id, undefined);
  }

  /** Gives whether it did: who locks it out meanwhile wins. */
  async #forget(id: string, lockOut: LockOut): Promise<boolean> {
    const isAsked = ({ lockOuts }: Night) => lockOuts.get(id) === lockOut;
    try {
      return await this.#kept.replace((night) => (isAsked(night) ? without(night, id) : undefined));
    } catch (cause) {
      throw new WorkerHostError("not_written", `${id} stays locked out: ${messageOf(cause)}`, { cause });
    }
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
