import { statSync } from "node:fs";
import { basename, dirname } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { SerialQueue } from "../../base/promises.ts";
import { HALF_WRITTEN_MS } from "../limits.ts";
import type { Plan } from "../plan/plan.ts";
import { type Changes, isBeingWritten, type Look, type ReconcileOptions, reconcile } from "./reconcile.ts";
import { Watcher } from "./watcher.ts";

export interface LiveReloadOptions extends ReconcileOptions {
  /** The folders and files that are watched. */
  watched: readonly string[];
  /** Looks at what is on disk. */
  readPlan: () => Promise<Plan>;
  /** Called with each plan before it is taken in. */
  onPlan: (plan: Plan) => void;
  log: Logger;
  clock: Clock;
  /** How a path is shown to people. */
  show: (path: string) => string;
  /** Whether edits are to wait. */
  waits: () => boolean;
  /** Tells people of something about the host. */
  warn: (text: string) => void;
}

/** How long the builder stays ready for the next edit. */
const REST_AFTER_MS = 5_000;
/** What says which workers there are, how they are built, and what is their config. */
const READ = /\.([cm]?[jt]sx?|ya?ml|ino|py)$|^(package|tsconfig.*|.*config)\.json$/;
/** A file system rounds its times. */
const CLOCKS_DIFFER_MS = 100;

/** Keeps what runs in step with what is on disk, one look after the other. */
export class LiveReload {
  readonly #watcher: Watcher;
  readonly #told = new Set<string>();
  /** The folders that could not be read when last looked at: nor does the watcher see what is in them. */
  #unread: readonly string[] = [];
  /** What was edited while edits were to wait. */
  #waiting = new Set<string>();
  /** What was edited, and is yet to be looked at. */
  #edited = new Set<string>();
  /** While a config file seems half written, and no config has changed since: calls off the end of the waiting. */
  #cancelPatience: (() => void) | undefined;
  readonly #queue = new SerialQueue();
  readonly #watches = new SerialQueue();
  #cancelRest = () => {};
  #stopped = false;
  /** The moment of the first plan, on both clocks. */
  readonly #since: { wall: number; monotonic: number };

  constructor(private readonly options: LiveReloadOptions) {
    const { watched, log, clock } = options;
    this.#since = { wall: clock.now(), monotonic: clock.monotonic() };
    this.#watcher = new Watcher({ folders: watched, log, clock, onChange: (files) => this.#seen(files) });
  }

  /** Takes a first plan in. */
  begin(first: Plan): Promise<void> {
    const { supervisor, onPlan } = this.options;
    this.#warn(first);
    this.#unread = first.unread;
    onPlan(first);
    return this.inTurn(async () => {
      await reconcile(first, { changed: () => false, retry: false }, this.options);
      await supervisor.rest();
    });
  }

  /** Begins to watch, or begins anew, and looks at what was edited before that. */
  watch(): Promise<void> {
    return this.#watches.take(async () => {
      await this.#watcher.start();
      for (const file of this.#known()) if (this.#isNew(file)) this.#edited.add(file);
      await this.inTurn(() => this.#takeEdits({ patient: true }));
    });
  }

  /** Whether a file may have changed since the first plan; an edit can set back any time of a file but this one. */
  #isNew(file: string): boolean {
    const { clock } = this.options;
    const { wall, monotonic } = this.#since;
    // Where the system's clock was set meanwhile, no time of a file tells.
    if (Math.abs(clock.now() - wall - (clock.monotonic() - monotonic)) > CLOCKS_DIFFER_MS) return true;
    try {
      return statSync(file).ctimeMs > wall - CLOCKS_DIFFER_MS;
    } catch {
      // It is gone, or it may not be looked at any more.
      return true;
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelRest();
    this.#endPatience();
    await this.#watcher.stop();
    await this.#queue.take(async () => {});
  }

  /** Looks at all files anew; what has failed gets another try. */
  rescan(): Promise<Changes> {
    const look = { changed: () => true, retry: true };
    return this.inTurn(async () => this.#reconcile(await this.options.readPlan(), look));
  }

  /** Looks at what these files belong to. */
  look(files: ReadonlySet<string>): Promise<Changes> {
    return this.inTurn(async () => this.#reconcile(await this.options.readPlan(), lookAt(files)));
  }

  /** Calls `work` when all that was asked for before has been done. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#queue.take(async () => {
      this.#cancelRest();
      try {
        return await work();
      } finally {
        this.#restLater();
      }
    });
  }

  /** What is built meanwhile must not lose its builder. */
  #restLater(): void {
    const { supervisor, clock, log } = this.options;
    if (this.#stopped) return;
    this.#cancelRest = clock.after(REST_AFTER_MS, () => {
      this.#queue
        .take(() => supervisor.rest())
        .catch((error: unknown) => log.warn({ err: error }, "the builder was not put to rest"));
    });
  }

  /** Takes in what has waited. */
  resume(): void {
    const files = this.#waiting;
    this.#waiting = new Set();
    if (files.size > 0) this.#seen(files);
  }

  #seen(all: ReadonlySet<string>): void {
    const files = new Set([...all].filter((file) => this.#matters(file)));
    if (files.size === 0) return;
    if (this.options.waits()) {
      this.#wait(files);
      return;
    }
    for (const file of files) this.#edited.add(file);
    // What else comes meanwhile doesn't make it wait for longer.
    if (this.options.supervisor.records.all.some(({ planned }) => files.has(planned.place.path))) this.#endPatience();
    this.#takeIn({ patient: true });
  }

  /** Whether something may be different because of a file: what a worker writes for itself beside its code is no edit. */
  #matters(file: string): boolean {
    const name = basename(file);
    if (!name.includes(".") || READ.test(name)) return true;
    // What a build found missing may be any file.
    const { all } = this.options.supervisor.records;
    return all.some(({ bundle }) => bundle === undefined || bundle.inputs.includes(file));
  }

  #takeIn(how: { patient: boolean }): void {
    this.inTurn(async () => {
      if (this.#edited.size > 0) await this.#takeEdits(how);
    }).catch((error: unknown) => this.options.log.error({ err: error }, "a look at the files failed"));
  }

  /** Looks at all that was edited so far; where patient, only once no config file is half written. */
  async #takeEdits({ patient }: { patient: boolean }): Promise<void> {
    const { clock, readPlan, supervisor } = this.options;
    const files = this.#edited;
    this.#edited = new Set();
    const plan = await readPlan();
    if (patient && !this.#stopped && isBeingWritten(plan, supervisor.records)) {
      for (const file of files) this.#edited.add(file);
      this.#cancelPatience ??= clock.after(HALF_WRITTEN_MS, () => this.#takeIn({ patient: false }));
      return;
    }
    this.#endPatience();
    await this.#reconcile(plan, lookAt(files));
  }

  #endPatience(): void {
    this.#cancelPatience?.();
    this.#cancelPatience = undefined;
  }

  #wait(files: ReadonlySet<string>): void {
    const { show, warn } = this.options;
    const fresh = [...files].filter((file) => !this.#waiting.has(file));
    for (const file of fresh) this.#waiting.add(file);
    if (fresh.length > 0) warn(`the show is on: the edit of ${fresh.map(show).join(", ")} waits for "show off"`);
  }

  async #reconcile(plan: Plan, look: Look): Promise<Changes> {
    if (this.#stopped) return { added: [], removed: [], changed: [], refused: [] };
    const { onPlan, log } = this.options;
    this.#warn(plan);
    onPlan(plan);
    const changes = await reconcile(plan, look, this.options);
    this.#watcher.add(this.#known());
    const opened = this.#unread.some((folder) => !plan.unread.includes(folder));
    this.#unread = plan.unread;
    if (opened) this.watch().catch((error: unknown) => log.error({ err: error }, "some edits may go unseen"));
    if (Object.values(changes).some(({ length }) => length > 0)) log.info(changes, "took in what changed on disk");
    return changes;
  }

  /** What each worker is made of, wherever it is: a worker may import files from anywhere. */
  #known(): string[] {
    const { all } = this.options.supervisor.records;
    return all.flatMap(({ planned, bundle }) => [planned.file, planned.place.path, ...(bundle?.inputs ?? [])]);
  }

  #warn({ warnings }: Plan): void {
    for (const warning of warnings.filter((text) => !this.#told.has(text))) {
      this.#told.add(warning);
      this.options.log.warn(warning);
    }
  }
}

/** What a build found missing may stand in a folder that was moved here whole. */
function lookAt(files: ReadonlySet<string>): Look {
  return { changed: (file) => files.has(file) || files.has(dirname(file)), retry: false };
}
