import type { Logger } from "pino";
import type { Runstate } from "../contract/description.ts";
import { describeError, WorkerHostError } from "../contract/errors.ts";
import { matchesFilter, type Topics } from "../contract/topics.ts";
import { BaseWorker, type WorkerContext } from "./base-worker.ts";
import { Calls } from "./calls.ts";
import { type Clock, within } from "./clock.ts";
import { Commands } from "./commands.ts";
import { checkConfig } from "./config.ts";
import type { ConnectGate } from "./connect-gate.ts";
import { Connection } from "./connection.ts";
import { locate } from "./locate.ts";
import type { WorkerSpec } from "./messages.ts";
import { AbortError, Scope, type ScopeOwner } from "./scope.ts";
import type { BrokerOptions, MessageHandler, Wire } from "./wire.ts";

const START_MS = 10_000;
const DO_STOP_MS = 1_000;
const STOP_MS = 5_000;
const SETTLE_MS = 1_000;

const SELF_EXPLAINING: ReadonlySet<string> = new Set(["load_failed", "invalid_config"]);

/** A class that a worker's file exports. */
interface WorkerClass {
  new (context: WorkerContext): BaseWorker;
  /** The schema of its config. */
  config?: unknown;
}

/** What a life is handed from its process. */
export interface LifeOptions {
  broker: BrokerOptions;
  topics: Topics;
  log: Logger;
  clock: Clock;
  random: () => number;
  newId: () => string;
  gate: ConnectGate;
  onState: (state: Runstate, detail?: string) => void;
}

/** One worker's life: loaded, connected, started, stopped, reclaimed. */
export class Life implements ScopeOwner {
  readonly id: string;
  readonly log: Logger;
  readonly #scope: Scope;
  readonly #connection: Connection;
  /** For what a worker subscribes to that has its own commands in it: on one connection they could arrive twice. */
  #listener: { connection: Connection; connected: Promise<void> } | undefined;
  #worker: BaseWorker | undefined;
  #commands: Commands | undefined;
  #stopping: Promise<void> | undefined;

  constructor(
    private readonly spec: WorkerSpec,
    private readonly options: LifeOptions,
  ) {
    this.id = spec.id;
    this.log = options.log.child({ worker: spec.id });
    this.#scope = new Scope(this, options.clock);
    this.#connection = this.#createConnection(spec.id, true);
  }

  /** Brings the worker to `running`, or to `failed`. Never rejects. */
  async start(): Promise<void> {
    try {
      await this.#bringUp();
      if (!this.#stopping) this.options.onState("running");
    } catch (error) {
      if (this.#stopping) return;
      this.log.error({ err: error }, "can't start");
      this.#stopping = this.#fail(this.#explain(error));
      await this.#stopping;
    }
  }

  /** Ends the worker, whatever it is doing: `do_stop`, `stop()`, then all that it started. Never rejects. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.options.onState("stopping");
    await this.#reclaim();
    this.options.onState("stopped");
  }

  async #fail(detail: string): Promise<void> {
    await this.#reclaim();
    this.options.onState("failed", detail);
  }

  report(error: unknown, where: string): void {
    this.log.error({ err: error }, `${where} failed`);
    this.#tell("error", `${where}: ${describeError(error)}`);
  }

  #tell(key: "warn" | "error", text: string): void {
    void this.#connection.publish(this.options.topics.status(this.id, key), text);
  }

  #warn(text: string): void {
    this.log.warn(text);
    this.#tell("warn", text);
  }

  async #bringUp(): Promise<void> {
    const WorkerClass = await this.#load();
    await this.#connection.start();
    if (this.#stopping) return;
    const { topics, clock } = this.options;
    const { value: config, warnings } = await checkConfig(WorkerClass.config, this.spec.config, this.spec.file);
    for (const warning of warnings) this.#warn(warning);
    const worker = this.#scope.run(() => new WorkerClass(this.#context(config)));
    this.#worker = worker;
    const commands = new Commands({
      worker,
      scope: this.#scope,
      topics,
      now: () => clock.now(),
      warn: (text) => this.#warn(text),
      publish: (topic, payload, options) => void this.#connection.publish(topic, payload, options),
    });
    this.#commands = commands;
    const started = await within(
      clock,
      START_MS,
      this.#scope.track(() => worker.start()),
    );
    if (!started)
      throw new WorkerHostError(
        "timeout",
        `start() has not ended in ${START_MS / 1000} s: give what goes on for ever to this.spawn()`,
      );
    if (this.#stopping) return;
    await Promise.all([
      this.#connection.subscribe(
        topics.command(this.id),
        this.#whileRunning((message) => commands.receive(message)),
        { retainAsPublished: true },
      ),
      this.#connection.subscribe(
        topics.broadcast,
        this.#whileRunning((message) => commands.receiveBroadcast(message)),
      ),
    ]);
    if (this.#stopping) return;
    void this.#connection.publish(topics.availability(this.id), "online", { qos: 1, retain: true });
  }

  #whileRunning(handler: MessageHandler): MessageHandler {
    return (message) => {
      if (!this.#scope.ended) handler(message);
    };
  }

  async #load(): Promise<WorkerClass> {
    const module: Record<string, unknown> = await this.#scope.run(() => import(this.spec.bundle));
    // A CommonJS module's exports are its default.
    const exported = module.Worker ?? (module.default as { Worker?: unknown } | undefined)?.Worker ?? module.default;
    const { file } = this.spec;
    if (typeof exported !== "function") {
      const names = Object.keys(module).join(", ") || "nothing";
      throw new WorkerHostError(
        "load_failed",
        `${file} exports no class Worker (it exports ${names}): write "export class Worker extends BaseWorker { … }"`,
      );
    }
    if (!(exported.prototype instanceof BaseWorker)) {
      throw new WorkerHostError(
        "load_failed",
        `${file}: its Worker does not extend BaseWorker: write 'import { BaseWorker } from "worker-host"' and "class Worker extends BaseWorker"`,
      );
    }
    return exported as new (
      context: WorkerContext,
    ) => BaseWorker;
  }

  #context(config: unknown): WorkerContext {
    const { spec, options } = this;
    const { topics, clock, newId } = options;
    const wire: Wire = {
      publish: (topic, payload, publishOptions) => this.#connection.publish(topic, payload, publishOptions),
      subscribe: (filter, handler) => this.#subscribe(filter, handler),
    };
    return {
      id: spec.id,
      config,
      dir: spec.dir,
      log: this.log,
      topics,
      scope: this.#scope,
      newId,
      wire,
      calls: new Calls({ id: spec.id, topics, wire, clock, newId }),
    };
  }

  async #subscribe(filter: string, handler: MessageHandler): Promise<() => void> {
    const { topics } = this.options;
    const own = [topics.command(this.id), topics.broadcast];
    if (!own.some((topic) => matchesFilter(filter, topic))) return this.#connection.subscribe(filter, handler);
    this.#listener ??= this.#createListener();
    const unsubscribe = await this.#listener.connection.subscribe(filter, handler);
    await this.#listener.connected;
    return unsubscribe;
  }

  #createListener(): { connection: Connection; connected: Promise<void> } {
    const connection = this.#createConnection(`${this.id}-listener`, false);
    return { connection, connected: connection.start() };
  }

  #createConnection(name: string, withWill: boolean): Connection {
    const { broker, topics, clock, random, gate } = this.options;
    const connection = new Connection({
      broker,
      clientId: `${topics.prefix.replaceAll("/", "-")}-${name}`,
      ...(withWill ? { will: { topic: topics.availability(this.id), payload: "offline" } } : {}),
      log: this.log,
      clock,
      random,
      gate,
      onUp: () => {
        const dropped = connection.takeDropped();
        if (dropped > 0) this.#warn(`${dropped} messages were dropped while the broker was away`);
      },
      onDown: ({ refused, text }) => this.log[refused ? "warn" : "debug"](text),
    });
    return connection;
  }

  async #reclaim(): Promise<void> {
    const { topics, clock } = this.options;
    const worker = this.#worker;
    this.#scope.end(new AbortError("the worker stops"));
    const last = new Scope(this, clock);
    if (worker) {
      await this.#finish(
        "do_stop",
        DO_STOP_MS,
        last.track(async () => this.#commands?.stop(last)),
      );
      await this.#finish(
        "stop()",
        STOP_MS,
        last.track(() => worker.stop()),
      );
    }
    await this.#finish("what it started", SETTLE_MS, this.#scope.idle());
    last.end();
    const offline = this.#connection.publish(topics.availability(this.id), "offline", { qos: 1, retain: true });
    await within(clock, SETTLE_MS, offline);
    await within(clock, SETTLE_MS, Promise.all([this.#connection.stop(), this.#listener?.connection.stop()]));
  }

  async #finish(what: string, ms: number, work: Promise<unknown>): Promise<void> {
    try {
      if (!(await within(this.options.clock, ms, work)))
        this.#warn(`${what} has not ended in ${ms / 1000} s: left behind`);
    } catch (error) {
      this.report(error, what);
    }
  }

  #explain(error: unknown): string {
    // These name their place themselves.
    if (error instanceof WorkerHostError && SELF_EXPLAINING.has(error.code)) return error.message;
    return `${locate(error, this.spec.file, this.spec.dir)}: ${describeError(error)}`;
  }
}
