import { freePort } from "../bench/ports.mjs";
import { privateMemoryMb } from "../bench/processes.mjs";
import { HOST_BACK_MS, MEMORY_FROM_MS } from "./bounds.ts";
import { BOARDS, EVERYBODY } from "./cast.ts";
import { Deeds } from "./deeds.ts";
import { Editor, Folder } from "./files.ts";
import { Haunt, pause } from "./haunt.ts";
import { Journals } from "./journals.ts";
import type { Happening } from "./model/happenings.ts";
import { Model } from "./model/model.ts";
import { Observer } from "./observer.ts";
import { Operator } from "./operator.ts";
import { runnersOf } from "./processes.ts";
import { Recorder } from "./recorder.ts";
import { type Step, scheduleOf } from "./schedule.ts";

export interface SoakOptions {
  seed: number;
  /** How long the schedule is. */
  runMs: number;
  /** The repository's folder. */
  root: string;
  env: Record<string, string | undefined>;
  now: () => number;
  /** Ends the run early. */
  signal: AbortSignal;
}

const LOOK_EVERY_MS = 200;
const TEND_EVERY_MS = 1_000;
/** Who has said nothing for so long is asked, and so often. */
const PROBE_AFTER_MS = 5_000;
const PROBE_EVERY_MS = 500;
const MEMORY_EVERY_MS = 3_000;
/** How long all may take, at the end, until it is as it was. */
const SETTLE_MS = 60_000;
/** How long an orderly stop of the host may take: a worker's stop() 5 s, the rest well below that. */
const STOP_MS = 10_000;
/** What a violation drags along belongs into the report. */
const AFTERMATH_MS = 500;

/** One run: a haunt, what is done to it, and who watches. */
export class Soak {
  readonly model: Model;
  readonly recorder: Recorder;
  readonly skipped = new Map<string, number>();
  readonly startedAt: number;
  readonly #folder = new Folder();
  readonly #timers: NodeJS.Timeout[] = [];
  #closers: (() => void)[] = [() => this.#folder.remove()];

  constructor(private readonly options: SoakOptions) {
    this.startedAt = options.now();
    const { startedAt } = this;
    this.model = new Model({ everybody: EVERYBODY, startedAt, dueAt: startedAt + HOST_BACK_MS });
    this.recorder = new Recorder(this.startedAt);
  }

  /** Ends everything at once, and leaves nothing behind. */
  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    for (const closer of this.#closers.splice(0)) closer();
  }

  /** Fulfils when the run is over; `model.violations` has what came of it. */
  async run(): Promise<void> {
    const { root, env, now } = this.options;
    const tell = (happening: Happening) => this.#tell(happening);
    const journals = new Journals(this.#folder.in("journals"));
    const props = this.#folder.in("props");
    const editor = new Editor(props, journals);
    editor.begin(root);
    const port = await freePort();
    const haunt = new Haunt({ root, folder: this.#folder, props, port, env, now, tell });
    this.#closers.unshift(() => haunt.killAll());
    const url = `mqtt://127.0.0.1:${port}`;
    const note = (text: string) => this.recorder.note(now(), text);
    const observer = new Observer({ url, now, tell, note });
    const operator = new Operator({ url, haunt, now, tell, allStopShown: () => this.model.latch.shown });
    this.#closers.unshift(
      () => observer.stop(),
      () => operator.stop(),
    );

    await haunt.startBroker();
    observer.start();
    operator.start();
    haunt.host.start();
    for (const { id } of BOARDS) haunt.board(id).start();
    this.#every(LOOK_EVERY_MS, () => {
      for (const happening of journals.news(now())) tell(happening);
      this.model.look(now());
    });
    this.#every(TEND_EVERY_MS, () => operator.tend());
    this.#every(MEMORY_EVERY_MS, () => this.#weigh(haunt));

    const disturbed = (who: string) => this.model.troubles.disturbed.includes(who);
    const deeds = new Deeds({ haunt, editor, journals, operator, disturbed, now, tell });
    await this.#settle(operator);
    await this.#play(deeds, operator);
    await this.#settle(operator);
    if (this.#over) await pause(AFTERMATH_MS);
    else await this.#finish(haunt);
  }

  get #over(): boolean {
    return this.model.violations.length > 0;
  }

  #tell(happening: Happening): void {
    this.recorder.take(happening);
    this.model.take(happening);
  }

  #every(ms: number, work: () => void): void {
    this.#timers.push(setInterval(work, ms));
  }

  async #play(deeds: Deeds, operator: Operator): Promise<void> {
    const { seed, runMs, now, signal } = this.options;
    const beganAt = now();
    for (const step of scheduleOf(seed, runMs)) {
      const waitMs = beganAt + step.atMs - now();
      if (waitMs > 0) await pause(waitMs);
      if (this.#over || signal.aborted) return;
      this.#perform(step, deeds, operator);
    }
  }

  #perform(step: Step, deeds: Deeds, operator: Operator): void {
    if (step.kind === "command") {
      if (!operator.send(step)) this.#skip("command");
      return;
    }
    if (step.deed === "start_host") operator.hostStarted();
    // While something is ended or started, the operator goes on.
    deeds.do(step.deed, step.who).then(
      (done) => {
        if (!done) this.#skip(step.deed);
      },
      (error: unknown) => this.#fail(`the soak itself failed at ${step.deed}: ${String(error)}`),
    );
  }

  #skip(what: string): void {
    this.skipped.set(what, (this.skipped.get(what) ?? 0) + 1);
  }

  #fail(text: string): void {
    this.model.violations.push({ rule: "error", text });
  }

  /** Waits until all is as it was; who was disturbed and has said nothing since is asked. */
  async #settle(operator: Operator): Promise<void> {
    const { model, options } = this;
    const beganAt = options.now();
    for (; options.now() < beganAt + SETTLE_MS; await pause(PROBE_EVERY_MS)) {
      const { disturbed } = model.troubles;
      if (this.#over || options.signal.aborted || (model.settled && disturbed.length === 0)) return;
      if (options.now() > beganAt + PROBE_AFTER_MS) for (const who of disturbed) operator.probe(who);
    }
    const left = [...model.troubles.open, ...model.availability.missing.map((who) => `${who} is not online`)];
    this.#fail(`expected all to be as it was ${SETTLE_MS / 1000} s after the last fault; left: ${left.join("; ")}`);
  }

  #weigh(haunt: Haunt): void {
    const { pid } = haunt.host;
    if (pid === undefined) return;
    const at = this.options.now();
    for (const each of [pid, ...runnersOf(pid)]) {
      const mb = privateMemoryMb(each);
      const role = each === pid ? "the host" : "a process of workers";
      if (mb !== undefined) this.#tell({ at, type: "memory", pid: each, role, mb, ...haunt.heapOf(each) });
    }
  }

  /** Looks at what shows only at the end. */
  async #finish(haunt: Haunt): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    if (this.options.signal.aborted) return;
    if (this.options.runMs >= MEMORY_FROM_MS) this.model.memory.judge();
    const ended = haunt.host.end("SIGTERM");
    const code = await Promise.race([ended, pause(STOP_MS)]);
    if (code !== 0) this.#fail(`expected the host to stop with exit code 0 in ${STOP_MS} ms, got ${code ?? "none"}`);
  }
}
