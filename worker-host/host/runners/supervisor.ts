import { existsSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describeError, WorkerHostError } from "../../contract/errors.ts";
import type { ConfigSpec, FromRunner, RunnerSetup, StartOptions } from "../../worker/channel.ts";
import type { Bundle, Bundler } from "../plan/bundle.ts";
import { noneOfThem, type Planned, specOf } from "../plan/plan.ts";
import { type Intensity, Records, type RecordsOptions, Restarts, type WorkerRecord } from "./records.ts";
import type { RunnerAnswer, RunnerSlot } from "./runner-slot.ts";
import { Slots, type SlotsOptions } from "./slots.ts";
import type { Offender } from "./watched-runner.ts";

export interface SupervisorOptions
  extends RecordsOptions,
    Omit<SlotsOptions, "onState" | "onHolds" | "onDied" | "onMoved"> {
  bundler: Bundler;
  /** The folder for what has to outlive a restart. */
  data: string;
  /** Why a worker can't run here, where its id is another host's or a board's. */
  idTakenBy: (planned: Planned) => Promise<string | undefined>;
  intensity: Intensity;
  random: () => number;
  /** Calls `work` when all that was asked for before has been done. */
  inTurn: (work: () => Promise<void>) => Promise<void>;
  /** Tells people of something about a worker that still runs. */
  say: (id: string, key: "warn" | "error", text: string) => void;
}

/** `patient` as in `StartOptions`. */
type LaunchOptions = Partial<Pick<StartOptions, "patient">>;

/** Starts and stops workers: builds them, puts them into a runner, and knows how they are. */
export class Supervisor {
  readonly records: Records;
  readonly #slots: Slots;
  readonly #restarts: Restarts;
  #stopping = false;

  constructor(private readonly options: SupervisorOptions) {
    this.records = new Records(options);
    this.#restarts = new Restarts({ ...options, ...options.intensity });
    this.#slots = new Slots({
      ...options,
      onState: (slot, message) => this.#onState(slot, message),
      onHolds: ({ id, on }) => {
        const record = this.records.get(id);
        if (record) record.holds = on;
      },
      onMoved: (ids, slot) => {
        for (const id of ids) {
          const record = this.records.get(id);
          if (record) record.slot = slot;
        }
      },
      onDied: (slot, ids, reason, offender) => this.#onDied(slot, ids, reason, offender),
    });
  }

  /** Starts the process of the workers ahead of them, since it takes a while to come up. */
  open(): void {
    this.#slots.shared.open();
  }

  /** Says what runners are to know; starts the workers that are built. */
  start(setup: RunnerSetup): void {
    this.#slots.setUp(setup);
  }

  /** Says whether workers may connect; those that are connected stay so. */
  gate(open: boolean): void {
    this.#slots.gate(open);
  }

  /** Asks the workers' processes for what has happened in them, and gives how much memory each takes. */
  stats(): Promise<{ own?: string; bytes: number }[]> {
    return this.#slots.stats();
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
    if (planned.skipped !== undefined) return record.end("skipped", planned.skipped);
    await this.#begin(record, planned.fault ?? (await this.build(record)));
  }

  /** Starts a worker whose id was another's, from what it was built of then. */
  retry(id: string): void {
    void this.options.inTurn(async () => {
      const record = this.records.get(id);
      if (record?.state !== "failed" || !record.idTaken) return;
      await this.#begin(record, record.planned.fault ?? (record.bundle ? undefined : await this.build(record)));
    });
  }

  async #begin(record: WorkerRecord, fault: string | undefined): Promise<void> {
    const { planned } = record;
    // Its topics are not ours to say anything on where its id is another's.
    if (await this.#isElsewhere(record)) return;
    if (planned.fault === undefined)
      for (const warning of warningsOf(planned)) this.options.say(planned.id, "warn", warning);
    if (fault === undefined) await this.launch(record);
    else this.#fail(record, fault);
  }

  /** Builds a worker anew; gives what is wrong with its code. `record.bundle` stays the same object where nothing changed. */
  async build(record: WorkerRecord): Promise<string | undefined> {
    const { bundler } = this.options;
    const { id, file } = record.planned;
    let built: Bundle;
    try {
      // Somebody may have removed it.
      mkdirSync(this.options.scratch, { recursive: true });
      built = await bundler.bundle(id, file);
    } catch (error) {
      return describeError(error);
    }
    const old = record.bundle;
    if (old?.hash === built.hash && isThere(old)) {
      old.inputs = built.inputs;
      await bundler.discard(built);
    } else {
      // It may have come up while this was built.
      if (old && record.state === "running") record.good = old;
      record.bundle = built;
      record.quarantined = false;
      if (old && old !== record.good) await bundler.discard(old);
    }
    return undefined;
  }

  /**
   * Builds a worker that runs anew, and loads that; gives what is wrong with it. Then `record.bundle` stays what it runs of.
   */
  async rebuild(record: WorkerRecord): Promise<string | undefined> {
    const before = record.bundle;
    const broken = await this.build(record);
    if (broken !== undefined) return broken;
    const { bundle, good, setback } = record;
    if (bundle === before) {
      // It is about to go back to what it ran of.
      if (good && good !== bundle) return undefined;
      // The files are again what it runs of.
      if (setback && record.state === "running") record.become("running");
      delete record.setback;
      return undefined;
    }
    if (bundle && bundle.hash === setback?.hash) {
      // This did not start, and one edit may be seen twice.
      await this.#setBack(record);
      return undefined;
    }
    const { fault } = record.good ? await this.inspect(record, record.planned) : {};
    if (fault !== undefined) await this.#setBack(record);
    else delete record.setback;
    return fault;
  }

  /** Goes back to what a worker last ran of; an edit of what the newer one was made of is still seen. */
  async #setBack(record: WorkerRecord): Promise<void> {
    const { bundle, good } = record;
    if (!bundle || !good || bundle === good) return;
    good.inputs = [...new Set([...good.inputs, ...bundle.inputs])];
    record.bundle = good;
    await this.options.bundler.discard(bundle);
  }

  /** Starts a worker that is built, in the place of its earlier self, because somebody wants it. */
  async launch(record: WorkerRecord, options: LaunchOptions = {}): Promise<void> {
    this.#restarts.forget(record);
    await this.#launch(record, options);
  }

  async #launch(record: WorkerRecord, { patient = false }: LaunchOptions): Promise<void> {
    const slot = this.#slots.of(record);
    // Two connections must not share an id: it starts over there when it has ended here.
    if (record.slot && record.slot !== slot) await this.halt(record);
    if (!record.bundle || this.#stopping || (await this.#isElsewhere(record))) return;
    if (!slot) {
      const most = this.options.maxProcesses;
      const fault = `it needs a process of its own, and there are ${most} already: remove "isolation: own" where it isn't needed, or raise max_processes`;
      return this.#fail(record, fault);
    }
    const fault = isThere(record.bundle) ? undefined : await this.build(record);
    if (fault !== undefined) return this.#fail(record, `${fault}; ${this.#startAgain(record)}`);
    if (record.over || record.run === 0) record.become("starting");
    record.held = false;
    record.ended = false;
    record.settled = false;
    record.slot = slot;
    record.run++;
    const lockedOut = this.options.lockedOut(record.planned.id);
    const spec = { ...specOf(record.planned, record.bundle, this.options), lockedOut, leftOn: record.holds };
    slot.start(spec, record.run, { patient, recover: record.unclean });
  }

  /** Gives a running worker what its config file says now. */
  async configure(record: WorkerRecord): Promise<RunnerAnswer> {
    const { config, about } = record.planned;
    return (await record.slot?.configure(record.planned.id, { config, about })) ?? { warnings: [] };
  }

  /** Says whether a worker, as it would be planned, could start; `before`: the config that a `configure` would change. */
  async inspect(record: WorkerRecord, planned: Planned, before?: ConfigSpec): Promise<RunnerAnswer> {
    const fault = planned.fault ?? (record.bundle && isThere(record.bundle) ? undefined : await this.build(record));
    if (fault !== undefined) return { fault, warnings: [] };
    if (!record.bundle) return { warnings: [] };
    return (record.slot ?? this.#slots.shared).inspect(specOf(planned, record.bundle, this.options), before);
  }

  /** Ends a worker whose id is another's too, without a word on its topics; `detail` says so. */
  async giveWay(record: WorkerRecord, detail: string): Promise<void> {
    record.idTaken = true;
    if (!record.ended) await this.halt(record, true);
    this.#fail(record, detail);
  }

  /** Stops a worker, and fulfils when it has ended; `quiet`: after its connection. */
  async halt(record: WorkerRecord, quiet = false): Promise<void> {
    this.#restarts.forget(record);
    record.slot?.stop(record.planned.id, quiet);
    await this.records.ended(record);
    record.slot?.shareSeen(record.planned.id);
    record.end("stopped");
    if (record.slot) await this.#slots.leave(record.slot);
    delete record.slot;
  }

  /** Stops a worker that is gone, and forgets it. */
  async remove(record: WorkerRecord): Promise<void> {
    await this.halt(record);
    if (record.bundle) await this.options.bundler.discard(record.bundle);
    this.records.remove(record.planned.id);
    this.#slots.forget(record.planned.id);
  }

  /** Tells a worker, where there is one, that it takes no command but `stop`; with no reason, that it does again. */
  lockOut(id: string, reason: string | undefined): void {
    this.records.get(id)?.slot?.lockOut(id, reason);
  }

  /** Tells all workers of all-stop; fulfils when they have been told. */
  async allStop(engaged: boolean): Promise<void> {
    if (engaged) for (const record of this.records.all) if (record.unclean) this.#switchOff(record);
    await this.#slots.allStop(engaged);
  }

  /** Starts a worker that ended its process, so that what it had switched on goes off, even where it was given up. */
  #switchOff(record: WorkerRecord): void {
    void this.options.inTurn(async () => {
      if (!record.unclean || record.state !== "failed" || record.held || record.idTaken) return;
      this.#restarts.cancel(record);
      await this.#launch(record, {});
    });
  }

  /** Ends the processes that nobody needs. */
  async rest(): Promise<void> {
    await this.options.bundler.rest();
    await this.#slots.rest();
  }

  /** From now on no worker starts. */
  startNoMore(): void {
    this.#stopping = true;
    this.#restarts.cancelAll();
  }

  /** Stops all workers, then their processes. */
  async stop(): Promise<void> {
    this.startNoMore();
    if (this.#slots.ready) {
      for (const { planned, slot } of this.records.all) slot?.stop(planned.id, false);
      const unborn = this.records.all.filter(({ slot, state }) => !slot && state === "starting");
      for (const record of unborn) record.end("stopped", "stopped before it could start");
      await this.records.allEnded();
    }
    await this.#slots.close();
    this.records.giveUp("stopped before it could start");
  }

  /** Ends everything at once. */
  kill(): void {
    this.startNoMore();
    this.#slots.kill();
  }

  /** Whether its id is another's: then it has failed here. */
  async #isElsewhere(record: WorkerRecord): Promise<boolean> {
    const detail = await this.options.idTakenBy(record.planned);
    if (this.#stopping) return true;
    record.idTaken = false;
    if (detail !== undefined) await this.giveWay(record, detail);
    return detail !== undefined;
  }

  #fail(record: WorkerRecord, fault: string): void {
    record.run++;
    record.end("failed", fault);
  }

  #onState(slot: RunnerSlot, { id, run, state, detail, hopeless }: Extract<FromRunner, { type: "state" }>): void {
    const record = this.records.get(id);
    if (!record || record.slot !== slot) return;
    // What was removed is built anew before the next start.
    const passes = !hopeless || (record.bundle !== undefined && !isThere(record.bundle));
    const failed = state === "failed" && run === record.run && !this.#stopping;
    if (failed && record.good && record.good !== record.bundle) {
      this.#startGood(record, run, detail ?? "it failed");
      return;
    }
    if (state === "running" && run === record.run) this.#proven(record);
    const shown = state === "running" ? (record.setback?.why ?? detail) : detail;
    record.take(run, state, failed && passes ? `${detail}; ${this.#startAgain(record)}` : shown);
  }

  /** Has a worker go back to what it last ran of; the fault is shown until it is mended. */
  #startGood(record: WorkerRecord, run: number, fault: string): void {
    const why = `${fault}; the one before it runs on`;
    record.setback = { why, hash: record.bundle?.hash ?? "" };
    record.take(run, "failed", why);
    this.options.say(record.planned.id, "error", why);
    void this.options.inTurn(() => this.goBack(record));
  }

  /** Starts what a worker last ran of, where something newer did not start, and this was not done yet. */
  async goBack(record: WorkerRecord): Promise<void> {
    const { good, bundle, setback, state } = record;
    if (!setback || state !== "failed" || !good || good === bundle) return;
    await this.#setBack(record);
    if (!record.held) await this.#launch(record, {});
  }

  /** What it runs of now is what it goes back to. */
  #proven(record: WorkerRecord): void {
    const { good, bundle } = record;
    delete record.good;
    if (good && good !== bundle) void this.options.bundler.discard(good);
  }

  #onDied(slot: RunnerSlot, ids: string[], reason: string, offender?: Offender): void {
    const here = this.records.all.filter((one) => one.slot === slot);
    for (const record of here) {
      const { id } = record.planned;
      if (!record.over) record.unclean = true;
      if (ids.includes(id)) {
        this.options.counts.restarted(id);
        record.become("starting", `its process died (${reason})`);
      } else if (id === offender?.id) this.#offended(record, offender.text);
      else if (!record.over) record.end("stopped", `its process died (${reason})`);
    }
  }

  /** It ended its process: it gets one of its own, so that it can't do so to others again. */
  #offended(record: WorkerRecord, text: string): void {
    delete record.slot;
    if (record.good && record.good !== record.bundle) {
      this.#startGood(record, record.run, text);
      return;
    }
    record.quarantined = true;
    record.end("failed", `${text}; ${this.#startAgain(record)}`);
  }

  #startAgain(record: WorkerRecord): string {
    const again = async () => {
      if (!this.#restarts.cancel(record)) return;
      this.options.counts.restarted(record.planned.id);
      await this.#launch(record, {});
    };
    return this.#restarts.plan(record, () => void this.options.inTurn(again));
  }
}

function warningsOf({ warnings, unreadable }: Planned): string[] {
  return [...(unreadable === undefined ? [] : [`${unreadable}; taken for {}`]), ...warnings];
}

/** Somebody may have removed it. */
function isThere({ url }: Bundle): boolean {
  return existsSync(fileURLToPath(url));
}
