import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import { describeError, WorkerHostError } from "../contract/errors.ts";
import type { BaseWorker } from "./base-worker.ts";
import { within } from "./clock.ts";
import { collectCommands } from "./collect-commands.ts";
import { Commands } from "./commands.ts";
import type { CheckedConfig } from "./config.ts";
import { createContext } from "./context.ts";
import { Description, type Telemetry } from "./description.ts";
import type { Configured, LifeOptions } from "./life-options.ts";
import { LiveConfig } from "./live-config.ts";
import type { WorkerClass } from "./load.ts";
import { locate } from "./locate.ts";
import { Loop } from "./loop.ts";
import type { About, ConfigSpec, WorkerSpec } from "./messages.ts";
import { AbortError, Scope, type ScopeOwner } from "./scope.ts";
import { Store } from "./store.ts";
import type { MessageHandler } from "./wire.ts";
import { WorkerWire } from "./worker-wire.ts";

const START_MS = 10_000;
const DO_STOP_MS = 1_000;
const STOP_MS = 5_000;
const SETTLE_MS = 1_000;
/** How long a patient restart waits for running commands. */
const DRAIN_MS = 10_000;
const LOOP_INTERVAL_MS = 1_000;

const SELF_EXPLAINING: ReadonlySet<string> = new Set(["load_failed", "invalid_config"]);

/** One worker's life: loaded, connected, started, stopped, reclaimed. */
export class Life implements ScopeOwner {
  readonly id: string;
  readonly log: Logger;
  readonly #scope: Scope;
  readonly #wire: WorkerWire;
  readonly #commands: Commands;
  readonly #description: Description;
  #class: WorkerClass | undefined;
  #config: LiveConfig | undefined;
  #loop: Loop | undefined;
  #store: Store | undefined;
  #worker: BaseWorker | undefined;
  #running = false;
  #stopping: Promise<void> | undefined;

  constructor(
    readonly spec: WorkerSpec,
    private readonly options: LifeOptions,
  ) {
    const { topics, clock } = options;
    this.id = spec.id;
    this.log = options.log.child({ worker: spec.id });
    this.#scope = new Scope(this, clock);
    this.#wire = new WorkerWire({ ...options, id: spec.id, log: this.log, warn: (text) => this.#warn(text) });
    this.#commands = new Commands({
      scope: this.#scope,
      topics,
      now: () => clock.now(),
      warn: (text) => this.#warn(text),
      publish: (topic, payload, how) => void this.#wire.publish(topic, payload, how),
      onChange: () => this.#description.changed(),
      stoppable: true,
    });
    this.#description = new Description({
      id: spec.id,
      classId: spec.classId,
      commands: this.#commands,
      publish: (text) => void this.#wire.publish(topics.description(spec.id), text, { qos: 1, retain: true }),
    });
  }

  /** Brings the worker to `running`, or to `failed`. Never rejects. */
  async start(): Promise<void> {
    if (this.#stopping) return;
    this.options.onState("starting");
    try {
      await this.#bringUp();
      if (this.#stopping) return;
      this.#running = true;
      this.options.onState("running");
    } catch (error) {
      if (this.#stopping) return;
      this.log.error({ err: error }, "can't start");
      this.#stopping = this.#fail(this.#explain(error));
      await this.#stopping;
    }
  }

  /** Fulfils when none of its commands runs, or after 10 s. */
  async drain(): Promise<void> {
    if (this.#running) await within(this.options.clock, DRAIN_MS, this.#commands.idle());
  }

  /**
   * Gives a running worker a new config; where it is not valid, or the worker throws at it, the old one stays, which
   * `status/error` tells of.
   *
   * @throws WorkerHostError `invalid_config`; whatever `onConfig` throws
   */
  async configure(config: ConfigSpec, about: About): Promise<Configured> {
    const worker = this.#worker;
    const live = this.#config;
    if (!this.#running || this.#stopping || !worker || !live) return "restart";
    try {
      const checked = await live.check(config);
      if (!isDeepStrictEqual(checked.value, live.value)) {
        if (!worker.onConfig) return "restart";
        await this.#scope.track(() => live.change(worker, checked, this.options.clock));
      }
      for (const warning of checked.warnings) this.#warn(warning);
      this.#describe(checked, config, about);
      return "applied";
    } catch (error) {
      this.log.error({ err: error }, "the new config is not taken; the old one stays");
      this.#tell("error", `${this.#explain(error)}; the old config stays`);
      throw error;
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
    void this.#wire.publish(this.options.topics.status(this.id, key), text);
  }

  #warn(text: string): void {
    this.log.warn(text);
    this.#tell("warn", text);
  }

  async #bringUp(): Promise<void> {
    const { spec, options } = this;
    this.#class = await this.#scope.run(() => options.load(spec));
    const [store] = await Promise.all([this.#openStore(), this.#wire.start()]);
    this.#store = store;
    const live = new LiveConfig(this.#class.config, spec.file);
    const checked = await live.check(spec.config);
    if (this.#stopping) return;
    const worker = this.#construct(this.#class, store, live, checked);
    this.#worker = worker;
    for (const entry of collectCommands(worker).values()) this.#commands.add(entry);
    if (worker.onCommand) this.#commands.addFallback(worker.onCommand.bind(worker));
    await this.#startWorker(worker);
    if (this.#stopping) return;
    await this.#listen();
    if (this.#stopping) return;
    this.#description.open();
    void this.#wire.publish(options.topics.availability(this.id), "online", { qos: 1, retain: true });
    if (worker.loop) this.#loop?.start();
  }

  #openStore(): Promise<Store> {
    const { clock } = this.options;
    return Store.open(this.spec.dataDir, { warn: (text) => this.#warn(text), now: () => clock.now() });
  }

  #construct(Class: WorkerClass, store: Store, live: LiveConfig, checked: CheckedConfig): BaseWorker {
    for (const warning of checked.warnings) this.#warn(warning);
    live.begin(checked);
    this.#config = live;
    this.#describe(checked, this.spec.config, this.spec.about);
    const loop = new Loop({
      scope: this.#scope,
      intervalMs: (Class.loopIntervalMs as number | undefined) ?? LOOP_INTERVAL_MS,
      call: () => this.#worker?.loop?.(),
      report: (error) => this.report(error, "loop"),
    });
    this.#loop = loop;
    const context = createContext(this.spec, {
      ...this.options,
      log: this.log,
      scope: this.#scope,
      wire: this.#wire,
      live,
      loop,
      store,
      commands: this.#commands,
      description: this.#description,
    });
    return this.#scope.run(() => new Class(context));
  }

  /** Puts what its class and its config file say of the worker into its description. */
  #describe({ json }: CheckedConfig, config: ConfigSpec, { name, area, version }: About): void {
    const { description, version: own, telemetry } = this.#class ?? {};
    const facts = {
      name: name ?? null,
      area: area ?? null,
      version: (own as string | undefined) ?? version ?? null,
      ...(description === undefined ? {} : { description: description as string }),
      ...(telemetry === undefined ? {} : { telemetry: telemetry as Telemetry }),
    };
    this.#description.declare(facts, "load_failed", `${this.spec.file}: its static properties`);
    this.#description.setConfig(json, config.values);
  }

  async #startWorker(worker: BaseWorker): Promise<void> {
    const starting = this.#scope.track(() => worker.start());
    if (await within(this.options.clock, START_MS, starting)) return;
    throw new WorkerHostError(
      "timeout",
      `start() has not ended in ${START_MS / 1000} s: give what goes on for ever to this.spawn()`,
    );
  }

  async #listen(): Promise<void> {
    const { topics } = this.options;
    await Promise.all([
      this.#wire.subscribeOwn(
        topics.command(this.id),
        this.#whileRunning((message) => this.#commands.receive(message)),
        { retainAsPublished: true },
      ),
      this.#wire.subscribeOwn(
        topics.broadcast,
        this.#whileRunning((message) => this.#commands.receiveBroadcast(message)),
      ),
    ]);
  }

  #whileRunning(handler: MessageHandler): MessageHandler {
    return (message) => {
      if (!this.#scope.ended) handler(message);
    };
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
        last.track(() => this.#commands.stop(last)),
      );
      await this.#finish(
        "stop()",
        STOP_MS,
        last.track(() => worker.stop()),
      );
    }
    await this.#finish("what it started", SETTLE_MS, this.#scope.idle());
    last.end();
    await this.#finish("writing its store", SETTLE_MS, Promise.resolve(this.#store?.flush()));
    this.#description.close();
    const offline = this.#wire.publish(topics.availability(this.id), "offline", { qos: 1, retain: true });
    await within(clock, SETTLE_MS, offline);
    await within(clock, SETTLE_MS, this.#wire.stop());
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
