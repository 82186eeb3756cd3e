import type { Logger } from "pino";
import type { Clock } from "../worker/clock.ts";
import { killGroup } from "../worker/kill-group.ts";
import type { FromRunner, RunnerSetup, ToRunner, WorkerSpec } from "../worker/messages.ts";
import { RunnerProcess } from "./runner-process.ts";

/** What came of asking a runner for something. */
export interface Checked {
  fault?: string;
  warnings: string[];
}

export interface RunnerSlotOptions {
  log: Logger;
  clock: Clock;
  onState: (message: Extract<FromRunner, { type: "state" }>) => void;
  /** Its process died under these workers; they are started again in the next one. */
  onDied: (ids: string[], reason: string) => void;
}

/** A runner that lived so long has proved itself: the next one starts without delay. */
const PROVEN_MS = 10_000;
const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 5_000;

/** A place for one runner process: when it dies, the next one takes it, and starts the same workers. */
export class RunnerSlot {
  readonly #workers = new Map<string, { spec: WorkerSpec; run: number }>();
  readonly #requests = new Map<number, (checked: Checked) => void>();
  /** The process groups that its workers started. */
  readonly #groups = new Set<number>();
  #setup: RunnerSetup | undefined;
  #process: RunnerProcess | undefined;
  #since = 0;
  #crashes = 0;
  #lastRequest = 0;
  #cancelRestart = () => {};

  constructor(private readonly options: RunnerSlotOptions) {}

  /** Whether no worker runs here. */
  get empty(): boolean {
    return this.#workers.size === 0;
  }

  /** Starts the process ahead of its workers, since it takes a while to come up. */
  open(): void {
    if (this.#process) return;
    this.#since = this.options.clock.now();
    const started = new RunnerProcess({
      onMessage: (message) => this.#receive(message),
      onExit: (reason) => {
        if (this.#process === started) this.#ended(reason);
      },
    });
    this.#process = started;
    this.#introduce();
  }

  /** Says what its process is to know; the workers that came before this start now. */
  setUp(setup: RunnerSetup): void {
    this.#setup = setup;
    this.#introduce();
  }

  /** Starts a worker, in the place of the one that has its id; `patient`: after its running commands. */
  start(spec: WorkerSpec, run: number, patient: boolean): void {
    this.#workers.set(spec.id, { spec, run });
    if (this.#process && this.#setup) this.#send({ type: "start", spec, run, patient });
    else this.open();
  }

  stop(id: string): void {
    this.#workers.delete(id);
    this.#send({ type: "stop", id });
  }

  /** Gives a worker its new config. */
  async configure(id: string, next: Pick<WorkerSpec, "config" | "about">): Promise<Checked> {
    const checked = await this.#ask((request) => ({ type: "configure", request, id, ...next }));
    const known = this.#workers.get(id);
    // After a crash it starts with what it last took.
    if (known && checked.fault === undefined) this.#workers.set(id, { ...known, spec: { ...known.spec, ...next } });
    return checked;
  }

  /** Loads a worker and checks its config, without starting it. */
  inspect(spec: WorkerSpec): Promise<Checked> {
    this.open();
    return this.#ask((request) => ({ type: "inspect", request, spec }));
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
    ending?.kill();
    this.#killGroups();
  }

  #leave(): void {
    this.#process = undefined;
    this.#cancelRestart();
    this.#failRequests("it was ended");
  }

  #send(message: ToRunner): void {
    this.#process?.send(message);
  }

  #ask(message: (request: number) => ToRunner): Promise<Checked> {
    const request = ++this.#lastRequest;
    return new Promise((resolve) => {
      this.#requests.set(request, resolve);
      this.#send(message(request));
    });
  }

  #introduce(): void {
    if (!this.#process || !this.#setup) return;
    this.#send({ type: "setup", setup: this.#setup });
    for (const { spec, run } of this.#workers.values()) this.#send({ type: "start", spec, run, patient: false });
  }

  #receive(message: FromRunner): void {
    switch (message.type) {
      case "state":
        this.options.onState(message);
        return;
      case "checked": {
        const { request, ...checked } = message;
        this.#requests.get(request)?.(checked);
        this.#requests.delete(request);
        return;
      }
      case "group":
        if (message.alive) this.#groups.add(message.pid);
        else this.#groups.delete(message.pid);
    }
  }

  #ended(reason: string): void {
    this.#process = undefined;
    this.#killGroups();
    this.#failRequests(`the process of the worker died (${reason})`);
    const { clock, log, onDied } = this.options;
    onDied([...this.#workers.keys()], reason);
    if (this.empty) return;
    this.#crashes = clock.now() - this.#since > PROVEN_MS ? 0 : this.#crashes + 1;
    const ms = this.#crashes === 0 ? 0 : Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** (this.#crashes - 1));
    log.error(`the process of the workers died (${reason}): starting it again in ${ms} ms`);
    this.#cancelRestart = clock.after(ms, () => this.open());
  }

  #failRequests(fault: string): void {
    for (const resolve of this.#requests.values()) resolve({ fault, warnings: [] });
    this.#requests.clear();
  }

  #killGroups(): void {
    for (const pid of this.#groups) killGroup(pid);
    this.#groups.clear();
  }
}
