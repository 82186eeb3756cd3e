import { backoffMs, within } from "../../base/clock.ts";
import { killGroup } from "../../base/kill-group.ts";
import type { ConfigSpec, FromRunner, RunnerSetup, StartOptions, ToRunner, WorkerSpec } from "../../worker/channel.ts";
import { HEED_MS, PROCESS_RESTART_MAX_MS, PROCESS_RESTART_MIN_MS, PROVEN_MS } from "../limits.ts";
import { type Limits, type Offender, type RunnerSurroundings, WatchedRunner } from "./watched-runner.ts";

/** What came of asking a runner for something. */
export interface RunnerAnswer {
  fault?: string;
  warnings: string[];
  /** The fault is that its process died. */
  died?: boolean;
}

export interface RunnerSlotOptions extends RunnerSurroundings {
  /** A path for what a process notes of itself. */
  blackBox: () => string;
  /** The one worker that it is for; it is to blame for whatever happens. */
  own?: string;
  /** The ids of commands that workers ran in other processes, by the workers' ids. */
  seen: Map<string, string[]>;
  onState: (message: Extract<FromRunner, { type: "state" }>) => void;
  /** One of its workers holds something on, or nothing any more. */
  onHolds?: (message: Extract<FromRunner, { type: "holds" }>) => void;
  /** One of its workers wants everything stopped. */
  onAllStop?: (who: { by: string; reason?: string }) => void;
  /** Its process died: the offender, if there is one, is out; these workers are started again in the next one. */
  onDied: (ids: string[], reason: string, offender?: Offender) => void;
  /** Gives these workers a place of their own; `undefined` where there is no room for one more process. */
  divide?: (ids: string[]) => RunnerSlot | undefined;
}

/** So many deaths in a row that nothing explains are no chance: one of the workers ends the process. */
const REPEATED = 2;
/** How long one has to say what its workers have done. */
const STATS_MS = 500;

/** A place for one runner process: when it dies, the next one takes it, and starts the same workers. */
export class RunnerSlot {
  readonly #workers = new Map<string, { spec: WorkerSpec; run: number }>();
  readonly #requests = new Map<number, (checked: RunnerAnswer) => void>();
  /** The process groups that its workers started. */
  readonly #groups = new Set<number>();
  #setup: RunnerSetup | undefined;
  #process: WatchedRunner | undefined;
  #since = 0;
  #crashes = 0;
  /** How often in a row the system started no process. */
  #refusals = 0;
  #lastRequest = 0;
  /** While its process has died and the next one is not there yet: calls that one off. */
  #callOff: (() => void) | undefined;
  #bytes: number | undefined;

  constructor(private readonly options: RunnerSlotOptions) {}

  /** Whether no worker runs here. */
  get empty(): boolean {
    return this.#workers.size === 0;
  }

  get limits(): Limits | undefined {
    return this.options.limits;
  }

  /** How much memory its process took when it was last asked. */
  get bytes(): number | undefined {
    return this.#process ? this.#bytes : undefined;
  }

  /** Asks its process for what its workers have done; fulfils when that has answered, or not in time. */
  async stats(): Promise<void> {
    if (!this.#process) return;
    const answer = this.#ask((request) => ({ type: "stats", request }));
    await within(this.options.clock, STATS_MS, answer);
  }

  /** Starts the process ahead of its workers, since it takes a while to come up. */
  open(): void {
    if (!this.#process) this.#launch(false);
  }

  #launch(recover: boolean): void {
    // Whoever wants it sooner: what died with something on is switched off first.
    const died = this.#endPause();
    const launched: WatchedRunner = new WatchedRunner({
      ...this.options,
      blackBox: this.options.blackBox(),
      has: (id) => this.#workers.has(id),
      onMessage: (message) => {
        if (this.#process === launched) this.#receive(message);
      },
      onSeen: (seen) => this.#keepSeen(seen, this.#workers),
      onExit: (reason, offender) => {
        if (this.#process === launched) this.#ended(reason, offender);
      },
      onUnborn: (reason) => {
        if (this.#process === launched) this.#waitForRoom(reason, recover || died);
      },
    });
    if (launched.process.pid !== undefined) this.#refusals = 0;
    this.#since = this.options.clock.monotonic();
    this.#process = launched;
    this.#introduce(recover || died);
  }

  /** The next process is not waited for any more; gives whether it was. */
  #endPause(): boolean {
    const callOff = this.#callOff;
    this.#callOff = undefined;
    callOff?.();
    return callOff !== undefined;
  }

  /** Says what its process is to know; the workers that came before this start now. */
  setUp(setup: RunnerSetup): void {
    this.#setup = setup;
    this.#introduce(false);
  }

  /** Starts a worker, in the place of the one that has its id. */
  start(spec: WorkerSpec, run: number, options: Omit<StartOptions, "seen">): void {
    this.#workers.set(spec.id, { spec, run });
    if (this.#process && this.#setup) this.#sendStart(spec, run, options);
    else if (!this.#process) this.#launch(options.recover);
  }

  /**
   * Tells its workers of all-stop, and ends a process that doesn't heed it in time; fulfils when all are told. A process
   * that waits for its next start is started at once, so that what its workers had switched on goes off.
   */
  async allStop(engaged: boolean): Promise<void> {
    if (this.#setup) this.#setup = { ...this.#setup, allStop: engaged };
    if (engaged && this.#callOff) this.#launch(true);
    const told = this.#process;
    if (!told) return;
    const answer = this.#ask((request) => ({ type: "all_stop", request, engaged }));
    await told.demand(
      answer,
      HEED_MS,
      ({ id, where }) => `${id} held up all-stop ${where}: its process did not answer in ${HEED_MS} ms and was ended`,
    );
  }

  /** Has a worker take no command but `stop`, or with no reason any command again. */
  lockOut(id: string, reason: string | undefined): void {
    this.#respec(id, { lockedOut: reason });
    this.#send({ type: "lock_out", id, reason });
  }

  /** Has what a worker has seen known to all processes, before it goes elsewhere. */
  shareSeen(id: string): void {
    if (this.#process) this.#keepSeen(this.#process.seen(), new Set([id]));
  }

  stop(id: string, quiet: boolean): void {
    const known = this.#workers.get(id);
    this.#workers.delete(id);
    if (this.#process && this.#setup) this.#send({ type: "stop", id, quiet });
    // No process ever hears of it.
    else if (known) this.options.onState({ type: "state", id, run: known.run, state: "stopped" });
    if (this.empty) this.#endPause();
  }

  /** Says whether workers may connect. */
  gate(open: boolean): void {
    if (this.#setup) this.#setup = { ...this.#setup, gateOpen: open };
    this.#send({ type: "gate", open });
  }

  /** Gives a worker its new config; where its process dies meanwhile, it has that one in the next. */
  async configure(id: string, next: Pick<WorkerSpec, "config" | "about">): Promise<RunnerAnswer> {
    this.open();
    const before = this.#workers.get(id)?.spec;
    this.#respec(id, next);
    const checked = await this.#ask((request) => ({ type: "configure", request, id, ...next }));
    if (checked.died) return { warnings: [] };
    if (before && checked.fault !== undefined) this.#respec(id, { config: before.config, about: before.about });
    return checked;
  }

  /** Has a worker start with these after a crash. */
  #respec(id: string, changed: Partial<WorkerSpec>): void {
    const known = this.#workers.get(id);
    if (known) this.#workers.set(id, { ...known, spec: { ...known.spec, ...changed } });
  }

  /** Loads a worker and checks its config, without starting it; `before`: the one that a `configure` would change. */
  inspect(spec: WorkerSpec, before?: ConfigSpec): Promise<RunnerAnswer> {
    this.open();
    return this.#ask((request) => ({ type: "inspect", request, spec, ...(before ? { before } : {}) }));
  }

  /** Ends the process by itself: what still runs in it gets half a second. */
  async close(): Promise<void> {
    const ending = this.#process;
    this.#leave();
    await ending?.close();
    this.#killGroups();
  }

  /** Ends everything at once. */
  kill(): void {
    const ending = this.#process;
    this.#leave();
    ending?.process.kill();
    this.#killGroups();
  }

  #leave(): void {
    this.#process = undefined;
    this.#endPause();
    this.#failRequests({ fault: "it was ended" });
  }

  #send(message: ToRunner): void {
    this.#process?.send(message);
  }

  #ask(message: (request: number) => ToRunner): Promise<RunnerAnswer> {
    const request = ++this.#lastRequest;
    return new Promise((resolve) => {
      this.#requests.set(request, resolve);
      this.#send(message(request));
    });
  }

  #introduce(recover: boolean): void {
    if (!this.#process || !this.#setup) return;
    this.#process.introduce(this.#setup);
    for (const { spec, run } of this.#workers.values()) this.#sendStart(spec, run, { patient: false, recover });
  }

  #sendStart(spec: WorkerSpec, run: number, options: Omit<StartOptions, "seen">): void {
    this.#send({ type: "start", spec, run, ...options, seen: this.options.seen.get(spec.id) ?? [] });
  }

  /** Of those who have gone elsewhere, a process knows only what was before that. */
  #keepSeen(seen: Map<string, string[]>, whose: { has: (id: string) => boolean }): void {
    for (const [id, ids] of seen) if (whose.has(id)) this.options.seen.set(id, ids);
  }

  #receive(message: Exclude<FromRunner, { type: "beat" }>): void {
    switch (message.type) {
      case "state":
        this.options.onState(message);
        return;
      case "all_stop": {
        const { type: _, ...who } = message;
        this.options.onAllStop?.(who);
        return;
      }
      case "answer": {
        const { request, ...checked } = message;
        this.#requests.get(request)?.(checked);
        this.#requests.delete(request);
        return;
      }
      case "stats":
        this.#bytes = message.bytes;
        this.options.counts?.take(message.counts);
        this.#requests.get(message.request)?.({ warnings: [] });
        this.#requests.delete(message.request);
        return;
      case "holds":
        this.#respec(message.id, { leftOn: message.on });
        this.options.onHolds?.(message);
        return;
      case "group":
        if (message.alive && this.#process?.process.started(message.pid)) this.#groups.add(message.pid);
        else this.#groups.delete(message.pid);
    }
  }

  #ended(reason: string, offender: Offender | undefined): void {
    this.#process = undefined;
    this.#bytes = undefined;
    if (this.options.counts) this.options.counts.deaths++;
    this.#killGroups();
    this.#failRequests({ fault: `the process of the worker died (${reason})`, died: true });
    if (!offender) this.#crashes = this.options.clock.monotonic() - this.#since > PROVEN_MS ? 0 : this.#crashes + 1;
    const found = offender ?? this.#onlyOne(reason);
    if (found) this.#workers.delete(found.id);
    this.options.onDied([...this.#workers.keys()], reason, found);
    if (this.empty) return;
    if (found) this.#launch(true);
    else this.#restart(reason);
  }

  /** The one worker of a process that died again and again. */
  #onlyOne(reason: string): Offender | undefined {
    const [id, ...others] = this.#workers.keys();
    if (id === undefined || others.length > 0 || this.#crashes < REPEATED) return undefined;
    return { id, text: `the process of ${id} died again (${reason}), with no other worker in it` };
  }

  /** Starts it again, the later the more often it died for no known reason. */
  #restart(reason: string): void {
    const ms = this.#crashes === 0 ? 0 : backoffMs(this.#crashes - 1, PROCESS_RESTART_MIN_MS, PROCESS_RESTART_MAX_MS);
    this.options.log.error(`the process of the workers died (${reason}): starting it again in ${ms} ms`);
    if (this.#crashes >= REPEATED) this.#divide(reason, ms);
    this.#launchLater(ms);
  }

  #launchLater(ms: number, recover = true): void {
    this.#callOff = this.options.clock.after(ms, () => this.#launch(recover));
  }

  /** The system started no process: it is asked again, the later the more often it refused. */
  #waitForRoom(reason: string, recover: boolean): void {
    const ms = backoffMs(this.#refusals++, PROCESS_RESTART_MIN_MS, PROCESS_RESTART_MAX_MS);
    this.#process = undefined;
    this.#failRequests({ fault: `the process of the worker can't be started (${reason})`, died: true });
    this.options.warn(`the process of the workers can't be started (${reason}): trying again in ${ms} ms`);
    if (!this.empty) this.#launchLater(ms, recover);
  }

  /** Moves half of the workers into another process, since the one that ends it is in one of the two. */
  #divide(reason: string, ms: number): void {
    const half = [...this.#workers].slice(this.#workers.size / 2);
    const other = this.options.divide?.(half.map(([id]) => id));
    if (!other) return;
    for (const [id, worker] of half) {
      this.#workers.delete(id);
      other.#workers.set(id, worker);
    }
    this.#crashes = other.#crashes = REPEATED - 1;
    other.#launchLater(ms);
    const ids = (all: Iterable<string>) => [...all].join(", ");
    this.options.warn(
      `the process of the workers died again (${reason}), and it isn't known which of them ends it: from now on ${ids(this.#workers.keys())} share one process, and ${ids(half.map(([id]) => id))} another`,
    );
  }

  #failRequests(why: Omit<RunnerAnswer, "warnings">): void {
    for (const resolve of this.#requests.values()) resolve({ ...why, warnings: [] });
    this.#requests.clear();
  }

  #killGroups(): void {
    for (const pid of this.#groups) killGroup(pid);
    this.#groups.clear();
  }
}
