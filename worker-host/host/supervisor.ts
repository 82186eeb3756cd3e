import type { Logger } from "pino";
import { WorkerHostError } from "../contract/errors.ts";
import type { Clock } from "../worker/clock.ts";
import type { RunnerSetup } from "../worker/messages.ts";
import type { Bundler } from "./bundle.ts";
import { noneOfThem, type Planned, specOf } from "./plan.ts";
import { isOver, Records, type WorkerRecord } from "./records.ts";
import { type Checked, RunnerSlot } from "./runner-slot.ts";

export interface SupervisorOptions {
  bundler: Bundler;
  /** The folder for what has to outlive a restart. */
  data: string;
  log: Logger;
  clock: Clock;
  /** How a path is shown to people. */
  show: (path: string) => string;
  /** Called at each change of a worker's runstate. */
  onChange: (worker: WorkerRecord) => void;
  /** Tells people of something about a worker that still runs. */
  say: (id: string, key: "warn" | "error", text: string) => void;
}

/** How a worker is started in the place of its own earlier self. */
export interface RestartOptions {
  /** After its running commands, 10 s at most. */
  patient: boolean;
}

/** Starts and stops workers: builds them, puts them into a runner, and knows how they are. */
export class Supervisor {
  readonly records: Records;
  readonly #shared: RunnerSlot;
  readonly #own = new Map<string, RunnerSlot>();
  #setup: RunnerSetup | undefined;
  #stopping = false;

  constructor(private readonly options: SupervisorOptions) {
    this.records = new Records(options);
    this.#shared = this.#createSlot();
  }

  /** Starts the process of the workers ahead of them, since it takes a while to come up. */
  open(): void {
    this.#shared.open();
  }

  /** Says what runners are to know; starts the workers that are built. */
  start(setup: RunnerSetup): void {
    this.#setup = setup;
    for (const slot of [this.#shared, ...this.#own.values()]) slot.setUp(setup);
  }

  /** @throws WorkerHostError `invalid_id` where there is none of that id */
  find(id: string): WorkerRecord {
    const record = this.records.get(id);
    if (record) return record;
    const known = this.records.all.map(({ planned }) => planned);
    throw new WorkerHostError("invalid_id", noneOfThem(id, known));
  }

  /** Takes a worker in, and starts it if it can and is to run. A fault in it is its own alone. */
  async add(planned: Planned): Promise<void> {
    await this.bringUp(this.records.add(planned));
  }

  /** Builds a worker and starts it, unless it is not to run. */
  async bringUp(record: WorkerRecord): Promise<void> {
    const { planned } = record;
    if (planned.skipped !== undefined) return this.records.end(record, "skipped", planned.skipped);
    if (planned.fault !== undefined) return this.#fail(record, planned.fault);
    for (const warning of warningsOf(planned)) this.options.say(planned.id, "warn", warning);
    const fault = await this.build(record);
    if (fault === undefined) await this.launch(record, { patient: false });
    else this.#fail(record, fault);
  }

  /** Builds a worker anew; gives what is wrong with its code. `record.bundle` stays the same object where nothing changed. */
  async build(record: WorkerRecord): Promise<string | undefined> {
    const { bundler } = this.options;
    const { id, file } = record.planned;
    try {
      const built = await bundler.bundle(id, file);
      const old = record.bundle;
      if (old?.hash === built.hash) {
        old.inputs = built.inputs;
        await bundler.discard(built);
      } else {
        record.bundle = built;
        if (old) await bundler.discard(old);
      }
      return undefined;
    } catch (error) {
      if (error instanceof WorkerHostError) return error.message;
      throw error;
    }
  }

  /** Starts a worker that is built, in the place of its earlier self. */
  async launch(record: WorkerRecord, { patient }: RestartOptions): Promise<void> {
    const slot = this.#slotFor(record.planned);
    // Two connections must not share an id: it starts over there when it has ended here.
    if (record.slot && record.slot !== slot) await this.halt(record);
    if (!record.bundle || this.#stopping) return;
    if (isOver(record) || record.run === 0) this.records.become(record, "starting");
    record.held = false;
    record.ended = false;
    record.settled = false;
    record.slot = slot;
    record.run++;
    slot.start(specOf(record.planned, record.bundle, this.options), record.run, patient);
  }

  /** Gives a running worker what its config file says now. */
  async configure(record: WorkerRecord): Promise<Checked> {
    const { config, about } = record.planned;
    return (await record.slot?.configure(record.planned.id, { config, about })) ?? { warnings: [] };
  }

  /** Says whether a worker, as it would be planned, could start. */
  async inspect(record: WorkerRecord, planned: Planned): Promise<Checked> {
    const fault = planned.fault ?? (record.bundle ? undefined : await this.build(record));
    if (fault !== undefined) return { fault, warnings: [] };
    if (!record.bundle) return { warnings: [] };
    return (record.slot ?? this.#shared).inspect(specOf(planned, record.bundle, this.options));
  }

  /** Stops a worker, and fulfils when it has ended. */
  async halt(record: WorkerRecord): Promise<void> {
    record.slot?.stop(record.planned.id);
    await this.records.ended(record);
    this.records.end(record, "stopped");
    if (record.slot?.empty && record.slot !== this.#shared) await this.#drop(record.slot);
    delete record.slot;
  }

  /** Stops a worker that is gone, and forgets it. */
  async remove(record: WorkerRecord): Promise<void> {
    await this.halt(record);
    if (record.bundle) await this.options.bundler.discard(record.bundle);
    this.records.remove(record.planned.id);
  }

  /** Ends the processes that nobody needs. */
  async rest(): Promise<void> {
    await this.options.bundler.rest();
    if (this.#shared.empty) await this.#shared.close();
  }

  /** Stops all workers, then their processes. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#setup) {
      for (const { planned, slot } of this.records.all) slot?.stop(planned.id);
      const unborn = this.records.all.filter(({ slot, state }) => !slot && state === "starting");
      for (const record of unborn) this.records.end(record, "stopped", "stopped before it could start");
      await this.records.allEnded();
    }
    await Promise.all([this.#shared, ...this.#own.values()].map((slot) => slot.close()));
    this.records.giveUp("stopped before it could start");
  }

  /** Ends everything at once. */
  kill(): void {
    this.#stopping = true;
    for (const slot of [this.#shared, ...this.#own.values()]) slot.kill();
  }

  #fail(record: WorkerRecord, fault: string): void {
    record.run++;
    this.records.end(record, "failed", fault);
  }

  #slotFor({ id, isolation }: Planned): RunnerSlot {
    if (isolation === "shared") return this.#shared;
    const slot = this.#own.get(id) ?? this.#createSlot();
    this.#own.set(id, slot);
    return slot;
  }

  async #drop(slot: RunnerSlot): Promise<void> {
    for (const [id, own] of this.#own) if (own === slot) this.#own.delete(id);
    await slot.close();
  }

  #createSlot(): RunnerSlot {
    const { log, clock } = this.options;
    const slot = new RunnerSlot({
      log,
      clock,
      onState: ({ id, run, state, detail }) => {
        const record = this.records.get(id);
        if (!record || record.slot !== slot) return;
        this.records.take(record, run, state, detail);
      },
      onDied: (ids, reason) => {
        for (const record of this.records.all.filter((one) => one.slot === slot)) {
          if (ids.includes(record.planned.id)) this.records.become(record, "starting", `its process died (${reason})`);
          else this.records.end(record, "stopped", `its process died (${reason})`);
        }
      },
    });
    if (this.#setup) slot.setUp(this.#setup);
    return slot;
  }
}

function warningsOf({ warnings, unreadable }: Planned): string[] {
  return [...(unreadable === undefined ? [] : [`${unreadable}; taken for {}`]), ...warnings];
}
