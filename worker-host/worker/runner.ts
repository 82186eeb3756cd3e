import { randomUUID } from "node:crypto";
import { format } from "node:util";
// Loaded before any worker is: Node can't require() a module, as a CommonJS worker does, that is still being loaded.
import "../index.ts";
import type { Logger } from "pino";
import { describeError } from "../contract/errors.ts";
import { Topics } from "../contract/topics.ts";
import { systemClock, within } from "./clock.ts";
import { ConnectGate } from "./connect-gate.ts";
import { Life } from "./life.ts";
import { createLogger } from "./log.ts";
import type { FromRunner, RunnerSetup, ToRunner, WorkerSpec } from "./messages.ts";
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

/** The process that runs workers' code: lifecycle messages in, states out. */
class Runner {
  readonly #lives = new Map<string, Life>();
  readonly #gate = new ConnectGate();
  readonly #topics;

  constructor(
    private readonly setup: RunnerSetup,
    private readonly log: Logger,
    private readonly send: (message: FromRunner) => void,
  ) {
    this.#topics = new Topics(setup.prefix, setup.hostName);
  }

  start(spec: WorkerSpec): void {
    const life = new Life(spec, {
      broker: this.setup.broker,
      topics: this.#topics,
      log: this.log,
      clock: systemClock,
      random: Math.random,
      newId: randomUUID,
      gate: this.#gate,
      onState: (state, detail) => this.send({ type: "state", id: spec.id, state, ...(detail ? { detail } : {}) }),
    });
    this.#lives.set(spec.id, life);
    void life.start();
  }

  async stop(id: string): Promise<void> {
    const life = this.#lives.get(id);
    this.#lives.delete(id);
    await life?.stop();
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#lives.keys()].map((id) => this.stop(id)));
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
      void runner?.then((it) => it.start(message.spec));
      return;
    case "stop":
      void runner?.then((it) => it.stop(message.id));
  }
});

async function createRunner(setup: RunnerSetup): Promise<Runner> {
  const created = new Runner(setup, await createLogger(setup.log), (answer) => {
    if (process.connected) process.send?.(answer);
  });
  created.takeConsole();
  return created;
}

// The host is gone: what is on goes off, then this process and all its children end.
process.on("disconnect", () => {
  const stopped = Promise.resolve(runner).then((it) => it?.stopAll());
  void within(systemClock, ORPHANED_MS, stopped).finally(() => process.kill(-process.pid, "SIGKILL"));
});

function onUncaught(error: unknown): void {
  if (!runner) throw error;
  void runner.then((it) => it.uncaught(error));
}

process.on("uncaughtException", onUncaught);
process.on("unhandledRejection", onUncaught);
