import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { HostCounts } from "../../base/counts.ts";
import { defined } from "../../contract/payload.ts";
import type { FromRunner, RunnerSetup } from "../../worker/channel.ts";
import type { WorkerRecord } from "./records.ts";
import { RunnerSlot } from "./runner-slot.ts";
import type { Limits, Offender, RunnerSurroundings } from "./watched-runner.ts";

export interface SlotsOptions extends RunnerSurroundings {
  limits: Limits;
  /** How many processes there may be besides the shared one. */
  maxProcesses: number;
  counts: HostCounts;
  /** A folder for what processes note of themselves. */
  scratch: string;
  /** A process said what has become of a worker. */
  onState: (slot: RunnerSlot, message: Extract<FromRunner, { type: "state" }>) => void;
  /** As of `RunnerSlot`. */
  onHolds: (message: Extract<FromRunner, { type: "holds" }>) => void;
  /** As of `RunnerSlot`. */
  onAllStop: (who: { by: string; reason?: string }) => void;
  /** These workers run in another process from now on. */
  onMoved: (ids: string[], slot: RunnerSlot) => void;
  /** As of `RunnerSlot`. */
  onDied: (slot: RunnerSlot, ids: string[], reason: string, offender?: Offender) => void;
}

/** The processes that workers run in: one that most of them share, and those that one of them has for itself. */
export class Slots {
  readonly shared: RunnerSlot;
  readonly #own = new Map<string, RunnerSlot>();
  /** Where those run that left the shared process, since one of the workers there ends it. */
  readonly #moved = new Map<string, RunnerSlot>();
  /** One that is about to end is among them; another may have its place already. */
  readonly #all = new Set<RunnerSlot>();
  readonly #seen = new Map<string, string[]>();
  #setup: RunnerSetup | undefined;
  #processes = 0;

  constructor(private readonly options: SlotsOptions) {
    this.shared = this.#create(options.limits);
  }

  /** Whether workers may start. */
  get ready(): boolean {
    return this.#setup !== undefined;
  }

  /** Says what runners are to know; starts the workers that are built. */
  setUp(setup: RunnerSetup): void {
    this.#setup = setup;
    for (const slot of this.#all) slot.setUp(setup);
  }

  /** Says whether workers may connect; those that are connected stay so. */
  gate(open: boolean): void {
    if (this.#setup) this.#setup = { ...this.#setup, gateOpen: open };
    for (const slot of this.#all) slot.gate(open);
  }

  /** Tells all workers of all-stop; fulfils when they have been told. */
  async allStop(engaged: boolean): Promise<void> {
    if (this.#setup) this.#setup = { ...this.#setup, allStop: engaged };
    await Promise.all([...this.#all].map((slot) => slot.allStop(engaged)));
  }

  /**
   * Asks all processes for what their workers have done; gives how much memory each takes, as it last said, with the id
   * of the worker that it is for alone.
   */
  async stats(): Promise<{ own?: string; bytes: number }[]> {
    await Promise.all([...this.#all].map((slot) => slot.stats()));
    const own = [...this.#own].flatMap(([id, { bytes }]) => (bytes === undefined ? [] : [{ own: id, bytes }]));
    const shared = [this.shared, ...new Set(this.#moved.values())].flatMap(({ bytes }) => bytes ?? []);
    return [...(shared.length === 0 ? [] : [{ bytes: shared.reduce((sum, bytes) => sum + bytes) }]), ...own];
  }

  /** Where a worker is to run; `undefined` where it needs a process of its own, and there are as many as there may be. */
  of({ planned: { id, isolation, maxMemoryMb }, quarantined }: WorkerRecord): RunnerSlot | undefined {
    if (isolation === "shared" && !quarantined) return this.#moved.get(id) ?? this.shared;
    const limits = { ...this.options.limits, ...defined({ maxMemoryMb }) };
    const own = this.#own.get(id);
    if (own?.limits?.maxMemoryMb === limits.maxMemoryMb) return own;
    if (!own && !this.#hasRoom()) return undefined;
    const slot = this.#create(limits, id);
    this.#own.set(id, slot);
    return slot;
  }

  /** A worker has left a process; one of its own ends. */
  async leave(slot: RunnerSlot): Promise<void> {
    if (!slot.empty || slot === this.shared) return;
    for (const places of [this.#own, this.#moved])
      for (const [id, place] of places) if (place === slot) places.delete(id);
    await slot.close();
    this.#all.delete(slot);
  }

  /** Nobody asks any more which commands a worker has run. */
  forget(id: string): void {
    this.#seen.delete(id);
    this.#moved.delete(id);
    this.options.counts.forget(id);
  }

  /** Ends the process that nobody needs. */
  async rest(): Promise<void> {
    if (this.shared.empty) await this.shared.close();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all].map((slot) => slot.close()));
  }

  /** Ends all of them at once. */
  kill(): void {
    for (const slot of this.#all) slot.kill();
  }

  #hasRoom(): boolean {
    return this.#own.size + new Set(this.#moved.values()).size < this.options.maxProcesses;
  }

  /** A place for half of the workers of another. */
  #divide(ids: string[]): RunnerSlot | undefined {
    if (!this.#hasRoom()) return undefined;
    const slot = this.#create(this.options.limits);
    for (const id of ids) this.#moved.set(id, slot);
    this.options.onMoved(ids, slot);
    return slot;
  }

  #blackBox(): string {
    const { scratch, log } = this.options;
    try {
      // Somebody may have removed it.
      mkdirSync(scratch, { recursive: true });
    } catch (error) {
      log.error({ err: error }, "no process of workers can note what it does");
    }
    return join(scratch, `process-${this.#processes++}.last`);
  }

  #create(limits: Limits, own?: string): RunnerSlot {
    const { onState, onDied } = this.options;
    const slot: RunnerSlot = new RunnerSlot({
      ...this.options,
      limits,
      seen: this.#seen,
      ...defined({ own }),
      blackBox: () => this.#blackBox(),
      onState: (message) => onState(slot, message),
      onDied: (ids, reason, offender) => onDied(slot, ids, reason, offender),
      ...(own === undefined ? { divide: (ids: string[]) => this.#divide(ids) } : {}),
    });
    if (this.#setup) slot.setUp(this.#setup);
    this.#all.add(slot);
    return slot;
  }
}
