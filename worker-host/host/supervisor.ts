import { join } from "node:path";
import type { Logger } from "pino";
import type { Runstate, WorkerSummary } from "../contract/description.ts";
import { WorkerHostError } from "../contract/errors.ts";
import type { Clock } from "../worker/clock.ts";
import type { FromRunner, RunnerSetup, WorkerSpec } from "../worker/messages.ts";
import type { Bundler } from "./bundle.ts";
import { readConfigFile } from "./config-file.ts";
import type { Found } from "./discover.ts";
import { RunnerProcess } from "./runner-process.ts";

export interface SupervisorOptions {
  bundler: Bundler;
  env: Readonly<Record<string, string | undefined>>;
  log: Logger;
  clock: Clock;
  /** How a path is shown to people. */
  show: (path: string) => string;
  /** Called at each change of a worker's runstate. */
  onChange: (worker: WorkerRecord) => void;
  /** Tells people of something about a worker that still runs. */
  onWarning: (id: string, text: string) => void;
}

/** What the host knows of one worker. */
export interface WorkerRecord {
  readonly id: string;
  readonly file: string;
  config?: string;
  state: Runstate | "skipped";
  /** ms since 1970. */
  since: number;
  detail?: string;
}

/** A runner that lived so long has proved itself: the next one starts without delay. */
const PROVEN_MS = 10_000;
const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 5_000;

const SETTLED: ReadonlySet<WorkerRecord["state"]> = new Set(["running", "failed", "stopped", "skipped"]);
const ENDED: ReadonlySet<WorkerRecord["state"]> = new Set(["failed", "stopped", "skipped"]);

/** Decides which worker should run, and sees that it does. */
export class Supervisor {
  readonly #records = new Map<string, WorkerRecord>();
  readonly #specs = new Map<string, WorkerSpec>();
  readonly #waiting = new Set<() => void>();
  #setup: RunnerSetup | undefined;
  #runner: RunnerProcess | undefined;
  #runnerSince = 0;
  #crashes = 0;
  #stopping = false;

  constructor(private readonly options: SupervisorOptions) {}

  get workers(): WorkerRecord[] {
    return [...this.#records.values()];
  }

  /** What is said of the workers in the host's description. */
  summaries(): WorkerSummary[] {
    return this.workers.map(({ id, file, config, state, detail }) => ({
      id,
      file,
      ...(config ? { config } : {}),
      state,
      ...(detail ? { detail } : {}),
    }));
  }

  /**
   * Reads the configs of what was found and builds it; each worker starts as soon as it is built and there is a setup.
   * A fault in one is that one's alone.
   */
  async add(found: Found[]): Promise<void> {
    await Promise.all(found.map((worker) => this.#add(worker)));
    await this.options.bundler.rest();
    if (this.#specs.size === 0) this.#dropRunner();
  }

  /** Ends the runner that nobody needs. */
  #dropRunner(): void {
    const runner = this.#runner;
    this.#runner = undefined;
    runner?.kill();
  }

  async #closeRunner(): Promise<void> {
    const runner = this.#runner;
    this.#runner = undefined;
    await runner?.close();
  }

  async #add(found: Found): Promise<void> {
    const { bundler, env, show, clock, onWarning } = this.options;
    const { id, dir, skipped, fault } = found;
    const record: WorkerRecord = { id, file: show(found.file), state: "starting", since: clock.now() };
    this.#records.set(id, record);
    if (skipped !== undefined) return this.#become(record, "skipped", skipped);
    if (fault !== undefined) return this.#become(record, "failed", fault);
    const { config, path, warnings, lines } = readConfigFile(dir, found.configBase, env, show);
    if (path) record.config = show(path);
    for (const warning of warnings) onWarning(id, warning);
    try {
      const { url } = await bundler.bundle(id, found.file);
      const file = show(path ?? join(dir, `${found.configBase}.yaml`));
      this.#launch({ id, bundle: url, file: record.file, dir, config: { values: config, file, lines } });
    } catch (error) {
      if (!(error instanceof WorkerHostError)) throw error;
      this.#become(record, "failed", error.message);
    }
  }

  /** Starts the process of the workers ahead of them, since it takes a while to come up. */
  open(): void {
    this.#startRunner();
  }

  /** Says what runners are to know; starts the workers that are built. */
  start(setup: RunnerSetup): void {
    this.#setup = setup;
    this.#introduce();
  }

  #launch(spec: WorkerSpec): void {
    this.#specs.set(spec.id, spec);
    if (this.#runner && this.#setup) this.#send(this.#runner, spec);
  }

  #send(runner: RunnerProcess, spec: WorkerSpec): void {
    const record = this.#records.get(spec.id);
    if (record) this.#become(record, "starting");
    runner.send({ type: "start", spec });
  }

  /** Fulfils when no worker is on its way up or down. */
  async settled(): Promise<void> {
    await this.#until(() => this.workers.every(({ state }) => SETTLED.has(state)));
  }

  /** Stops all workers, then their process. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const runner = this.#runner;
    if (runner && this.#setup) {
      for (const id of this.#specs.keys()) runner.send({ type: "stop", id });
      await this.#until(() => this.workers.every(({ state }) => ENDED.has(state)));
    }
    await this.#closeRunner();
    this.#giveUp("stopped before it could start");
  }

  /** Ends everything at once. */
  kill(): void {
    this.#stopping = true;
    this.#runner?.kill();
  }

  #startRunner(): void {
    if (this.#stopping) return;
    this.#runnerSince = this.options.clock.now();
    const runner = new RunnerProcess({
      onMessage: (message) => this.#receive(message),
      onExit: (reason) => {
        if (this.#runner === runner) this.#runnerEnded(reason);
      },
    });
    this.#runner = runner;
    this.#introduce();
  }

  #introduce(): void {
    const runner = this.#runner;
    if (!runner || !this.#setup) return;
    runner.send({ type: "setup", setup: this.#setup });
    for (const spec of this.#specs.values()) this.#send(runner, spec);
  }

  #receive({ id, state, detail }: FromRunner): void {
    const record = this.#records.get(id);
    if (record) this.#become(record, state, detail);
  }

  #runnerEnded(reason: string): void {
    this.#runner = undefined;
    const { clock, log } = this.options;
    if (this.#stopping) {
      this.#giveUp(`killed: ${reason}`);
      return;
    }
    this.#crashes = clock.now() - this.#runnerSince > PROVEN_MS ? 0 : this.#crashes + 1;
    const ms = this.#crashes === 0 ? 0 : Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** (this.#crashes - 1));
    log.error(`the process of the workers died (${reason}): starting it again in ${ms} ms`);
    for (const id of this.#specs.keys()) {
      const record = this.#records.get(id);
      if (record) this.#become(record, "starting", `its process died (${reason})`);
    }
    clock.after(ms, () => this.#startRunner());
  }

  #giveUp(detail: string): void {
    for (const record of this.workers) if (!ENDED.has(record.state)) this.#become(record, "stopped", detail);
  }

  #become(record: WorkerRecord, state: WorkerRecord["state"], detail?: string): void {
    if (record.state === state && record.detail === detail && state !== "starting") return;
    record.state = state;
    record.since = this.options.clock.now();
    if (detail === undefined) delete record.detail;
    else record.detail = detail;
    this.options.onChange(record);
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
