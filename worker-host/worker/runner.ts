import { randomUUID } from "node:crypto";
import { format } from "node:util";
// Loaded before any worker is: Node can't require() a module, as a CommonJS worker does, that is still being loaded.
import "../index.ts";
import type { Logger } from "pino";
import { describeError } from "../contract/errors.ts";
import { Topics } from "../contract/topics.ts";
import { systemClock, within } from "./clock.ts";
import { ConnectGate } from "./connect-gate.ts";
import { killGroup } from "./kill-group.ts";
import { Life } from "./life.ts";
import { inspect, loadWorker } from "./load.ts";
import { createLogger } from "./log.ts";
import type { About, ConfigSpec, FromRunner, RunnerSetup, ToRunner, WorkerSpec } from "./messages.ts";
import { isAbort, Scope } from "./scope.ts";

/** How long workers have to switch off what they switched on, once their host is gone. */
const ORPHANED_MS = 500;

const CONSOLE_LEVELS = [
  ["debug", "debug"],
  ["log", "info"],
  ["info", "info"],
  ["warn", "warn"],
  ["error", "error"],
] as const;

/** A worker's life under an id, and the one that it takes over from until that has ended. */
interface Seat {
  life: Life;
  run: number;
  before: Seat | undefined;
}

/** The process that runs workers' code: lifecycle messages in, states out. */
class Runner {
  readonly #seats = new Map<string, Seat>();
  readonly #gate = new ConnectGate();
  /** The process groups that workers started. */
  readonly #groups = new Set<number>();
  readonly #topics;

  constructor(
    private readonly setup: RunnerSetup,
    private readonly log: Logger,
  ) {
    this.#topics = new Topics(setup.prefix, setup.hostName);
  }

  /** Starts a worker in the place of the one that has its id; `patient`: after its running commands. */
  start(spec: WorkerSpec, run: number, patient: boolean): void {
    const seat: Seat = { life: this.#create(spec, run), run, before: this.#seats.get(spec.id) };
    this.#seats.set(spec.id, seat);
    void this.#take(seat, patient);
  }

  async #take(seat: Seat, patient: boolean): Promise<void> {
    if (seat.before && patient) await this.#drain(seat.before);
    if (seat.before) await this.#vacate(seat.before);
    seat.before = undefined;
    await seat.life.start();
  }

  async #drain({ life, before }: Seat): Promise<void> {
    if (before) await this.#drain(before);
    await life.drain();
  }

  async #vacate({ life, before }: Seat): Promise<void> {
    if (before) await this.#vacate(before);
    await life.stop();
  }

  #create(spec: WorkerSpec, run: number): Life {
    return new Life(spec, {
      broker: this.setup.broker,
      topics: this.#topics,
      log: this.log,
      clock: systemClock,
      random: Math.random,
      newId: randomUUID,
      gate: this.#gate,
      load: loadWorker,
      onState: (state, detail) => send({ type: "state", id: spec.id, run, state, ...(detail ? { detail } : {}) }),
      onGroup: (pid, alive) => {
        if (alive) this.#groups.add(pid);
        else this.#groups.delete(pid);
        send({ type: "group", pid, alive });
      },
    });
  }

  async stop(id: string): Promise<void> {
    const seat = this.#seats.get(id);
    if (!seat) return;
    await this.#vacate(seat);
    // Until then whoever comes next waits for it.
    if (this.#seats.get(id) === seat) this.#seats.delete(id);
  }

  /**
   * Gives a worker what its config file says now; one that can't take it while it runs is started anew.
   *
   * @throws WorkerHostError `invalid_config`; whatever its `onConfig` throws
   */
  async configure(id: string, config: ConfigSpec, about: About): Promise<void> {
    const seat = this.#seats.get(id);
    const configured = await seat?.life.configure(config, about);
    if (seat && configured === "restart" && this.#seats.get(id) === seat)
      this.start({ ...seat.life.spec, config, about }, seat.run, true);
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#seats.keys()].map((id) => this.stop(id)));
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

process.on("message", (message: ToRunner) => {
  switch (message.type) {
    case "setup":
      runner = createRunner(message.setup);
      return;
    case "start":
      void runner?.then((it) => it.start(message.spec, message.run, message.patient));
      return;
    case "stop":
      void runner?.then((it) => it.stop(message.id));
      return;
    case "configure":
      void answer(message.request, configure(message));
      return;
    case "inspect":
      void answer(message.request, inspect(message.spec));
  }
});

async function configure({ id, config, about }: Extract<ToRunner, { type: "configure" }>): Promise<string[]> {
  await (await runner)?.configure(id, config, about);
  return [];
}

/** Tells the host what came of its request. */
async function answer(request: number, work: Promise<string[]>): Promise<void> {
  try {
    send({ type: "checked", request, warnings: await work });
  } catch (error) {
    send({ type: "checked", request, fault: describeError(error), warnings: [] });
  }
}

function send(message: FromRunner): void {
  if (process.connected) process.send?.(message);
}

async function createRunner(setup: RunnerSetup): Promise<Runner> {
  const created = new Runner(setup, await createLogger(setup.log));
  created.takeConsole();
  return created;
}

// The host is gone: what is on goes off, then this process and all that it started end.
process.on("disconnect", () => void end());

async function end(): Promise<void> {
  try {
    const it = await runner;
    await within(systemClock, ORPHANED_MS, Promise.resolve(it?.stopAll()));
    it?.killGroups();
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
