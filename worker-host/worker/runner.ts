import { randomUUID } from "node:crypto";
import { url as inspectorUrl } from "node:inspector";
import { Socket } from "node:net";
import { setImmediate } from "node:timers/promises";
import { format } from "node:util";
import type { Logger } from "pino";
import { systemClock, within } from "../base/clock.ts";
import { type Counts, noCounts, takeCounts } from "../base/counts.ts";
import { killGroup } from "../base/kill-group.ts";
import { createLogger, LogPipe, Secrets } from "../base/log.ts";
import { type Output, withoutWaiting } from "../base/output.ts";
import { isAbort, Scope } from "../base/scope.ts";
import { journalOf, SeenJournal } from "../commands/seen-ids.ts";
import type { EndReason } from "../commands/stopping.ts";
import { describeError, WorkerHostError } from "../contract/errors.ts";
import { defined } from "../contract/payload.ts";
import { Topics } from "../contract/topics.ts";
import { ConnectGate } from "../mqtt/mqtt-client.ts";
import { BlackBox, noteBlockingCalls } from "./black-box.ts";
import {
  type About,
  BEAT_MS,
  CHANNEL_FD,
  Channel,
  type ConfigSpec,
  type FromRunner,
  type RunnerSetup,
  type StartOptions,
  type ToRunner,
  type WorkerSpec,
} from "./channel.ts";
import { Latch } from "./halt-guard.ts";
import { Life } from "./life.ts";
import { HOST_SILENT_MS, ORPHANED_MS } from "./limits.ts";
import { inspect, loadWorker } from "./load.ts";

/** A worker's life under an id, and the one that it takes over from until that has ended. */
interface Place {
  life: Life;
  run: number;
  before: Place | undefined;
}

const STARTS_A_TURN = 16;

/** The workers of a process, one under each id: the next one's life begins when the one before has ended. */
class Lives {
  readonly #places = new Map<string, Place>();
  #turn: Promise<unknown> = Promise.resolve();
  #starts = 0;

  /** @param create makes a life; `run` counts the worker's starts by its host, `seen` are the ids that it ran elsewhere */
  constructor(private readonly create: (spec: WorkerSpec, run: number, seen: readonly string[]) => Life) {}

  /** Starts a worker in the place of the one that has its id. */
  start(spec: WorkerSpec, run: number, options: StartOptions): void {
    const life = this.create(spec, run, options.seen);
    const place: Place = { life, run, before: this.#places.get(spec.id) };
    this.#places.set(spec.id, place);
    void this.#take(place, options);
  }

  async #take(place: Place, { patient, recover }: StartOptions): Promise<void> {
    if (place.before && patient) await this.#drain(place.before);
    if (place.before) await this.#vacate(place.before, "reload");
    place.before = undefined;
    await this.#inTurn();
    await place.life.start({ recover });
  }

  /** A few start in each turn of the event loop: a thousand at once would hold up the process. */
  #inTurn(): Promise<unknown> {
    if (this.#starts++ % STARTS_A_TURN === 0) this.#turn = this.#turn.then(() => setImmediate());
    return this.#turn;
  }

  async #drain({ life, before }: Place): Promise<void> {
    if (before) await this.#drain(before);
    await life.drain();
  }

  async #vacate({ life, before }: Place, reason: EndReason, quiet = false): Promise<void> {
    if (before) await this.#vacate(before, reason, quiet);
    await life.stop(reason, quiet);
  }

  /** @param quiet after its connection has ended, so that nothing of it is heard */
  async stop(id: string, quiet = false): Promise<void> {
    const place = this.#places.get(id);
    if (!place) return;
    await this.#vacate(place, "end", quiet);
    // Until then whoever comes next waits for it.
    if (this.#places.get(id) === place) this.#places.delete(id);
  }

  /**
   * Gives a worker what its config file says now; one that can't take it while it runs is started anew.
   *
   * @throws WorkerHostError `invalid_config`; whatever its `onConfig` throws
   */
  async configure(id: string, config: ConfigSpec, about: About): Promise<void> {
    const place = this.#places.get(id);
    const configured = await place?.life.configure(config, about);
    if (!place || configured !== "restart" || this.#places.get(id) !== place) return;
    this.start({ ...place.life.spec, config, about }, place.run, { patient: true, recover: false, seen: [] });
  }

  /** It takes no command but `stop`; `undefined` releases it. */
  lockOut(id: string, reason: string | undefined): void {
    for (const life of livesOf(this.#places.get(id))) life.lockOut(reason);
  }

  /** Tells people of something that concerns all workers of this process. */
  warnAll(text: string): void {
    for (const place of this.#places.values()) for (const life of livesOf(place)) life.warn(text);
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#places.keys()].map((id) => this.stop(id)));
  }
}

/** The lives under one id: the next one, and those before it, which run until it begins. */
function livesOf(place: Place | undefined): Life[] {
  return place ? [place.life, ...livesOf(place.before)] : [];
}

/**
 * Watches the host of this process, from its workers' side: a host that stands still restarts nothing, and hears no
 * all-stop. Time counts only as far as this process itself went on, so that a machine which was suspended tells nothing.
 */
class HostWatch {
  #silentMs = 0;

  /** @param say tells people of it, for each worker */
  constructor(private readonly say: (text: string) => void) {}

  /** So much time has passed in this process, in ms. */
  pass(ms: number): void {
    const before = this.#silentMs;
    this.#silentMs += ms;
    if (before < HOST_SILENT_MS && this.#silentMs >= HOST_SILENT_MS)
      this.say(`the host has said nothing for ${HOST_SILENT_MS / 1000} s: it hears no all-stop, and restarts nothing`);
  }

  /** The host has said something. */
  heard(): void {
    if (this.#silentMs >= HOST_SILENT_MS) this.say("the host is there again");
    this.#silentMs = 0;
  }
}

const CONSOLE_LEVELS = [
  ["debug", "debug"],
  ["log", "info"],
  ["info", "info"],
  ["warn", "warn"],
  ["error", "error"],
] as const;

/** The process that runs workers' code: lifecycle messages in, states out. */
class Runner {
  readonly lives = new Lives((spec, run, seen) => this.#create(spec, run, seen));
  readonly #gate = new ConnectGate();
  readonly latch = new Latch();
  readonly #counts = new Map<string, Counts>();
  /** The process groups that workers started. */
  readonly #groups = new Set<number>();
  readonly #topics;

  constructor(
    private readonly setup: RunnerSetup,
    private readonly log: Logger,
    readonly output: Output,
    readonly secrets: Secrets,
    private readonly blackBox: BlackBox,
    private readonly journal: SeenJournal,
  ) {
    this.#topics = new Topics(setup.prefix, setup.hostName);
    this.latch.set(setup.allStop);
    this.gate(setup.gateOpen);
  }

  gate(open: boolean): void {
    if (open) this.#gate.open();
    else this.#gate.close();
  }

  #create(spec: WorkerSpec, run: number, seen: readonly string[]): Life {
    const { id } = spec;
    return new Life(spec, {
      broker: this.setup.broker,
      topics: this.#topics,
      log: this.log,
      secrets: this.secrets,
      clock: systemClock,
      random: Math.random,
      newId: randomUUID,
      gate: this.#gate,
      latch: this.latch,
      seen: this.journal.of(id, seen),
      load: loadWorker,
      onState: ({ detail, ...state }) => {
        const said = detail === undefined ? {} : { detail: this.secrets.cleanText(detail) };
        send({ type: "state", run, id, ...state, ...said });
      },
      counts: this.#countsOf(id),
      onEnter: (where, place) => this.blackBox.enter(id, where, place),
      onWantsAllStop: (reason) => send({ type: "all_stop", by: id, ...defined({ reason }) }),
      onHolds: (on) => send({ type: "holds", id, on }),
      onGroup: (pid, alive) => {
        if (alive) this.#groups.add(pid);
        else this.#groups.delete(pid);
        send({ type: "group", pid, alive });
      },
    });
  }

  #countsOf(id: string): Counts {
    const counts = this.#counts.get(id) ?? noCounts();
    this.#counts.set(id, counts);
    return counts;
  }

  /** What each worker has done since this was last called. */
  takeCounts(): [id: string, counts: Counts][] {
    return [...this.#counts].map(([id, counts]) => [id, takeCounts(counts)]);
  }

  killGroups(): void {
    for (const pid of this.#groups) killGroup(pid);
  }

  /** What a worker writes with `console` goes to the log, as its own. */
  takeConsole(): void {
    for (const [method, level] of CONSOLE_LEVELS) {
      console[method] = (...args: unknown[]) => (Scope.current()?.owner.log ?? this.log)[level](format(...args));
    }
  }

  /** An error that nobody caught goes to the worker in whose code it arose; the others never notice. */
  uncaught(error: unknown): void {
    const scope = Scope.current();
    if (scope && isAbort(error, scope)) return;
    if (scope) scope.owner.report(error, "an error that nobody caught");
    else this.log.error({ err: error }, `an error that nobody caught: ${describeError(error)}`);
  }
}

let runner: Promise<Runner> | undefined;
const hostWatch = new HostWatch((text) => void runner?.then(({ lives }) => lives.warnAll(text)));

function receive(message: ToRunner): void {
  switch (message.type) {
    case "setup":
      runner = createRunner(message.setup, message.blackBox).catch(giveUp);
      return;
    case "start": {
      const { spec, run, ...options } = message;
      void runner?.then(({ lives }) => lives.start(spec, run, options));
      return;
    }
    case "stop":
      void runner?.then(({ lives }) => lives.stop(message.id, message.quiet));
      return;
    case "gate":
      void runner?.then((it) => it.gate(message.open));
      return;
    case "all_stop":
      void answer(message.request, allStop(message.engaged));
      return;
    case "lock_out":
      void runner?.then(({ lives }) => lives.lockOut(message.id, message.reason));
      return;
    case "configure":
      void answer(message.request, configure(message));
      return;
    case "stats":
      void stats(message.request);
      return;
    case "beat":
      hostWatch.heard();
      return;
    case "inspect":
      void answer(message.request, inspected(message));
  }
}

const channel = new Channel(new Socket({ fd: CHANNEL_FD }), {
  onMessage: (message) => receive(message as ToRunner),
  onGarbage: (text) => process.stderr.write(`the host of this process sent ${text}\n`),
  // The host is gone: what is on goes off, then this process and all that it started end.
  onEnd: () => void end(),
});

async function configure({ id, config, about }: Extract<ToRunner, { type: "configure" }>): Promise<string[]> {
  await (await runner)?.lives.configure(id, config, about);
  return [];
}

async function inspected({ spec, before }: Extract<ToRunner, { type: "inspect" }>): Promise<string[]> {
  return inspect(spec, before, (await runner)?.secrets, systemClock);
}

async function allStop(engaged: boolean): Promise<string[]> {
  (await runner)?.latch.set(engaged);
  return [];
}

async function stats(request: number): Promise<void> {
  const counts = (await runner)?.takeCounts() ?? [];
  send({ type: "stats", request, counts, bytes: process.memoryUsage.rss() });
}

/** Tells the host what came of its request. */
async function answer(request: number, work: Promise<string[]>): Promise<void> {
  try {
    send({ type: "answer", request, warnings: await work });
  } catch (error) {
    const fault = describeError(error);
    send({ type: "answer", request, fault: (await runner)?.secrets.cleanText(fault) ?? fault, warnings: [] });
  }
}

function send(message: FromRunner): void {
  channel.send(message);
}

async function createRunner(setup: RunnerSetup, blackBox: string): Promise<Runner> {
  const secrets = new Secrets();
  secrets.add(setup.broker.password);
  const pipe = setup.log.kept ? new LogPipe() : undefined;
  const clean = (line: string) => secrets.clean(line);
  const { log, output } = await createLogger(setup.log, {
    target: withoutWaiting(process.stdout),
    clock: systemClock,
    clean,
    ...(pipe ? { keep: (line) => pipe.write(line) } : {}),
  });
  const onError = (error: unknown) => log.error({ err: error }, "what it does can't be noted any more");
  const journal = new SeenJournal(journalOf(blackBox), onError);
  const created = new Runner(setup, log, output, secrets, new BlackBox(blackBox, onError), journal);
  created.takeConsole();
  return created;
}

/** Says why this process is of no use, for its host to log, and ends it; never fulfils. */
async function giveUp(cause: unknown): Promise<never> {
  const words = `this process of workers can't be set up: ${describeError(cause)}\n`;
  await new Promise((resolve) => process.stderr.write(words, resolve));
  killGroup(process.pid);
  return new Promise(() => {});
}

async function end(): Promise<void> {
  try {
    const it = await runner;
    await within(systemClock, ORPHANED_MS, Promise.resolve(it?.lives.stopAll()));
    it?.killGroups();
    await it?.output.flush();
  } finally {
    killGroup(process.pid);
  }
}

function onUncaught(error: unknown): void {
  if (!runner) throw error;
  void runner.then((it) => it.uncaught(error));
}

process.on("uncaughtException", onUncaught);
process.on("unhandledRejection", onUncaught);

for (const name of ["exit", "abort"] as const) {
  process[name] = () => {
    throw new WorkerHostError(
      "not_allowed",
      `process.${name}() would end the other workers too: throw an error in start(), or return`,
    );
  };
}

const kill = process.kill.bind(process);
/** Itself, its group, all processes, and its host. By `-process.pid` it ends itself, once it is done. */
const PROTECTED: ReadonlySet<number> = new Set([0, -1, process.pid, process.ppid]);

process.kill = (pid, signal) => {
  if (signal === 0 || !PROTECTED.has(Number(pid))) return kill(pid, signal);
  throw new WorkerHostError(
    "not_allowed",
    `process.kill(${pid}) would end the other workers too: throw an error in start(), or return`,
  );
};

noteBlockingCalls((name) => Scope.current()?.owner.blocks?.(name));

/** Says that the process is not held up; an inspector that is open is a person's, who may have it at a breakpoint. */
function beat(): void {
  send({ type: "beat", debugged: inspectorUrl() !== undefined });
}

// All that it imports itself is loaded.
beat();
// A process whose host has gone already ends by itself.
setInterval(() => {
  beat();
  hostWatch.pass(BEAT_MS);
}, BEAT_MS).unref();
