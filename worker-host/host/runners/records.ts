import type { Logger } from "pino";
import { backoffMs, type Clock } from "../../base/clock.ts";
import type { BoardState, Runstate, WorkerSummary } from "../../contract/description.ts";
import { defined } from "../../contract/payload.ts";
import { RESTART_MAX_MS, RESTART_MIN_MS } from "../limits.ts";
import type { Bundle } from "../plan/bundle.ts";
import { type Planned, summaryOf } from "../plan/plan.ts";
import type { RunnerSlot } from "./runner-slot.ts";

/** What the host knows of one worker. */
export class WorkerRecord {
  state: Runstate | "skipped" = "starting";
  /** ms since 1970. */
  since: number;
  detail?: string;
  /** Counts its starts by the host. */
  run = 0;
  /** Its last start has come to an end: it runs, or it failed. */
  settled = true;
  /** Nothing of it runs any more, nor is on its way. */
  ended = true;
  /** What was last said to be wrong with its files while it runs on. */
  complaint?: string;
  /** Its code, as it is on disk, can't be built; it runs on with the code before. */
  broken?: boolean;
  /** The plan whose config it did not take; it runs on with the one before. */
  refused?: Planned;
  /** It held up or ended the process that it shared: it has one of its own until its code changes. */
  quarantined = false;
  /** Its process died under it: what it switched on may still be on, until a start of it has run its `do_stop`. */
  unclean = false;
  /** A `hold` of it has something on, or had when its process died. */
  holds = false;
  /** Its id is another host's, or a board's: its topics are that one's. */
  idTaken?: boolean;
  /** Somebody stopped it: it starts when somebody says so. */
  held = false;
  bundle?: Bundle;
  /** What it last ran of, where it has been built anew since. */
  good?: Bundle;
  /** Why it runs of an earlier bundle than its files would give, and the hash of that one. */
  setback?: { why: string; hash: string };
  /** Where it runs, or ran last. */
  slot?: RunnerSlot;

  /** @param onEach called with each word of what has become of it, also where that is what it was */
  constructor(
    public planned: Planned,
    private readonly options: Pick<RecordsOptions, "clock" | "onChange">,
    private readonly onEach: () => void,
  ) {
    this.since = options.clock.now();
  }

  /** Whether it neither runs nor is on its way. */
  get over(): boolean {
    return ENDED.has(this.state);
  }

  become(state: WorkerRecord["state"], detail?: string): void {
    if (this.state !== state || this.detail !== detail || this.run === 0) {
      this.state = state;
      this.since = this.options.clock.now();
      if (detail === undefined) delete this.detail;
      else this.detail = detail;
      this.options.onChange(this);
    }
    this.onEach();
  }

  /** Takes what a runner says of one of its starts. */
  take(run: number, state: Runstate, detail?: string): void {
    this.ended = run === this.run && ENDED.has(state);
    if (run === this.run && (state === "running" || state === "failed")) this.settled = true;
    if (run === this.run && state === "running") this.unclean = false;
    this.become(state, detail);
  }

  /** Nothing of it runs. */
  end(state: WorkerRecord["state"], detail?: string): void {
    this.ended = true;
    this.settled = true;
    this.become(state, detail);
  }
}

const SETTLED: ReadonlySet<WorkerRecord["state"]> = new Set(["running", "failed", "stopped", "skipped"]);
const ENDED: ReadonlySet<WorkerRecord["state"]> = new Set(["failed", "stopped", "skipped"]);

export interface RecordsOptions {
  clock: Clock;
  /** How a path is shown to people. */
  show: (path: string) => string;
  /** Why a worker takes no command but `stop`. */
  lockedOut: (id: string) => string | undefined;
  /** How a prop's board is, where it has one. */
  boardOf: (planned: Planned) => BoardState | undefined;
  /** Called at each change of a worker's runstate. */
  onChange: (worker: WorkerRecord) => void;
}

/** The workers that the host knows, and their states. */
export class Records {
  readonly #byId = new Map<string, WorkerRecord>();
  readonly #waiting = new Set<() => void>();
  /** What is said of a plan never changes, and is said at each change of any worker. */
  readonly #summaries = new WeakMap<Planned, ReturnType<typeof summaryOf>>();

  constructor(private readonly options: RecordsOptions) {}

  get all(): WorkerRecord[] {
    return [...this.#byId.values()].sort((a, b) => (a.planned.id < b.planned.id ? -1 : 1));
  }

  get(id: string): WorkerRecord | undefined {
    return this.#byId.get(id);
  }

  add(planned: Planned): WorkerRecord {
    const record = new WorkerRecord(planned, this.options, () => this.#check());
    this.#byId.set(planned.id, record);
    return record;
  }

  remove(id: string): void {
    this.#byId.delete(id);
    this.#check();
  }

  /** What is said of the workers in the host's description. */
  summaries(): WorkerSummary[] {
    const { show } = this.options;
    return this.all.map(({ planned, state, detail }) => {
      const lockedOut = this.options.lockedOut(planned.id);
      const board = this.options.boardOf(planned);
      const summary = this.#summaries.get(planned) ?? summaryOf(planned, show);
      this.#summaries.set(planned, summary);
      return {
        ...summary,
        state,
        ...(detail ? { detail } : {}),
        ...defined({ locked_out: lockedOut, board }),
      };
    });
  }

  /** Fulfils when `record` is over, or is no longer there. */
  ended(record: WorkerRecord): Promise<void> {
    return this.#until(() => record.ended || this.get(record.planned.id) !== record);
  }

  /** Fulfils when what `record` was last told to do has come to an end. */
  settled(record: WorkerRecord): Promise<void> {
    return this.#until(() => record.settled || this.get(record.planned.id) !== record);
  }

  /** Fulfils when no worker is on its way up or down. */
  async allSettled(): Promise<void> {
    await this.#until(() => this.#every(SETTLED));
  }

  async allEnded(): Promise<void> {
    await this.#until(() => this.#every(ENDED));
  }

  #every(states: ReadonlySet<WorkerRecord["state"]>): boolean {
    for (const { state } of this.#byId.values()) if (!states.has(state)) return false;
    return true;
  }

  /** Calls off what will not happen any more. */
  giveUp(detail: string): void {
    for (const record of this.all) if (!record.over) record.become("stopped", detail);
  }

  #check(): void {
    for (const check of [...this.#waiting]) check();
  }

  #until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = () => {
        if (!condition()) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
      check();
    });
  }
}

/** Writes to the log what has become of a worker. */
export function logChange(log: Logger, { planned: { id }, state, detail }: WorkerRecord): void {
  if (state === "failed") log.error({ worker: id }, `failed: ${detail}`);
  else if (state === "skipped") log.info({ worker: id }, `skipped: ${detail}`);
  else log[state === "running" ? "info" : "debug"]({ worker: id }, state);
}

/** How often a worker that fails is started again. */
export interface Intensity {
  /** So many times at most … */
  maxRestarts: number;
  /** … in this time. */
  withinMs: number;
}

interface RestartsOptions extends Intensity {
  clock: Clock;
  /** A number from 0 to 1, as `Math.random`. */
  random: () => number;
}

/** Starts what failed again, each time later, until it has failed too often: as supervisors in Erlang/OTP do. */
export class Restarts {
  readonly #failures = new Map<WorkerRecord, number[]>();
  readonly #cancels = new Map<WorkerRecord, () => void>();

  constructor(private readonly options: RestartsOptions) {}

  /** Counts a failure, and calls `again` in a while, unless there were too many; says so in words. */
  plan(record: WorkerRecord, again: () => void): string {
    const { clock, random, maxRestarts, withinMs } = this.options;
    const now = clock.monotonic();
    const failures = [...(this.#failures.get(record) ?? []).filter((at) => at > now - withinMs), now];
    this.#failures.set(record, failures);
    this.cancel(record);
    const count = failures.length;
    const often = `${maxRestarts} in ${withinMs / 1000} s`;
    if (count > maxRestarts) {
      const tried = maxRestarts === 0 ? "not started again" : `given up after ${often}`;
      return `${tried}: mend it, or send restart_worker to the host`;
    }
    const ms = backoffMs(count - 1, RESTART_MIN_MS, RESTART_MAX_MS) * (0.5 + random() / 2);
    this.#cancels.set(record, clock.after(ms, again));
    return `starting it again in ${(ms / 1000).toFixed(1)} s (${count} of ${often})`;
  }

  /** It is not started again by itself; gives whether it would have been. */
  cancel(record: WorkerRecord): boolean {
    this.#cancels.get(record)?.();
    return this.#cancels.delete(record);
  }

  /** Somebody did something about it: its failures count no more. */
  forget(record: WorkerRecord): void {
    this.cancel(record);
    this.#failures.delete(record);
  }

  cancelAll(): void {
    for (const record of [...this.#cancels.keys()]) this.cancel(record);
  }
}
