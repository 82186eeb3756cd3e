import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import { type Span, within } from "../base/clock.ts";
import { isAbort, Scope } from "../base/scope.ts";
import { AbortError, type ScopeOwner } from "../base/scope-owner.ts";
import { timer } from "../base/timers.ts";
import { Commands } from "../commands/commands.ts";
import { type EndReason, STOPPED_BY, Stopping, type StopReason, stopTimeoutOf } from "../commands/stopping.ts";
import type { HaltReason } from "../contract/command.ts";
import { messageOf, WorkerHostError } from "../contract/errors.ts";
import { STOP_TIMEOUT_MS } from "../contract/limits.ts";
import { CallError } from "../mqtt/calls.ts";
import type { MessageHandler } from "../mqtt/wire.ts";
import type { BaseWorker } from "./base-worker.ts";
import { type About, type ConfigSpec, LOADING, type StartOptions, type WorkerSpec } from "./channel.ts";
import { type CheckedConfig, LiveConfig, shownOf } from "./config.ts";
import { createContext } from "./context.ts";
import { Description, type Telemetry } from "./description.ts";
import { HaltGuard } from "./halt-guard.ts";
import type { Configured, LifeOptions } from "./life-options.ts";
import { DRAIN_MS, LOOP_INTERVAL_MS, START_MS } from "./limits.ts";
import { CHECK, explainStart, inTime, isLasting, locate, type WorkerClass } from "./load.ts";
import { Loop } from "./loop.ts";
import { StatusReporter } from "./messenger.ts";
import { beginDisarmed, collectCommands, takeOwnCalls } from "./own-commands.ts";
import { type LifeParts, reclaim } from "./reclaim.ts";
import { Store } from "./store.ts";
import { WorkerConnection } from "./worker-connection.ts";

const QUIET_MS = 1_000;
/** How long a broker has to send what it retains. */
const RETAINED_MS = 1_000;

/** One worker's life: loaded, connected, started, stopped, reclaimed. */
export class Life implements ScopeOwner {
  readonly id: string;
  readonly log: Logger;
  readonly standstill: HaltGuard;
  readonly stops = { count: 0, reason: new AbortError("stopped") };
  readonly #reporter: StatusReporter;
  readonly #scope: Scope;
  readonly #wire: WorkerConnection;
  readonly #commands: Commands;
  readonly #description: Description;
  readonly #parts: LifeParts;
  readonly #switching: Stopping;
  readonly #shielded: Scope;
  /** How much has begun, and how much of that were commands or what moves something. */
  #begun = 0;
  #moved = 0;
  /** How many `hold`s have something on. */
  #holds = 0;
  /** The tasks that people have been told of. */
  readonly #warnedOf = new Set<string>();
  #class: WorkerClass | undefined;
  #stopTimeoutMs = STOP_TIMEOUT_MS;
  #config: LiveConfig | undefined;
  #loop: Loop | undefined;
  #store: Store | undefined;
  #worker: BaseWorker | undefined;
  #running = false;
  /** Where its `start()` runs. */
  #starting: Scope | undefined;
  #stopping: Promise<void> | undefined;

  constructor(
    readonly spec: WorkerSpec,
    private readonly options: LifeOptions,
  ) {
    const { topics, clock, latch, secrets } = options;
    const clean = (text: string) => secrets?.cleanText(text) ?? text;
    this.id = spec.id;
    this.standstill = new HaltGuard({ spec, latch, onHalt: (why) => this.#halt(why) });
    this.log = options.log.child({ worker: spec.id });
    this.#scope = new Scope(this, clock);
    this.#shielded = new Scope(this, clock, undefined, "shield");
    this.#reporter = new StatusReporter({
      clock,
      log: this.log,
      publish: (key, text) => void this.#wire.publish(topics.status(spec.id, key), clean(text)),
    });
    this.#wire = new WorkerConnection({
      ...options,
      id: spec.id,
      log: this.log,
      warn: (text) => this.#reporter.warn(text),
      fail: (text) => this.#reporter.fail(text, undefined),
      onLink: (connected) => this.#tellOfLink(connected),
    });
    this.#commands = new Commands({
      ...options,
      from: spec.id,
      scope: this.#scope,
      clock,
      clean,
      state: () => this.#worker?.state,
      warn: (text) => this.#reporter.warn(text),
      publish: (topic, payload, how) => void this.#wire.publish(topic, payload, how),
      onChange: () => this.#description.changed(),
      stop: (reason, path, command) => this.#switching.stop(reason, path, command),
      urgent: new Set(["stop"]),
      barred: (command) => this.standstill.barred(command),
    });
    this.#description = new Description({
      id: spec.id,
      classId: spec.classId,
      commands: this.#commands,
      publish: (text) => void this.#wire.publish(topics.description(spec.id), text, { qos: 1, retain: true }),
    });
    this.#switching = new Stopping({
      owner: this,
      clock,
      timeoutMs: () => this.#stopTimeoutMs,
      endRuns: (reason) => this.#endRuns(reason),
      begun: () => this.#begun,
      moved: () => this.#moved,
      switchOff: (scope, reason, command) => this.#commands.switchOff(scope, reason, command),
      onAllStop: () => this.#worker?.onAllStop?.(),
      warn: (text) => this.#reporter.warn(text),
    });
    this.#parts = {
      owner: this,
      clock,
      topics,
      scope: this.#scope,
      stopping: this.#switching,
      shielded: this.#shielded,
      wire: this.#wire,
      description: this.#description,
      warn: (text) => this.#reporter.warn(text),
    };
  }

  began(what: "command" | "run" | "move"): void {
    this.#begun++;
    if (what !== "run") this.#moved++;
  }

  outside(what: string): Error {
    const place = locate(new Error(what), this.spec.file, this.spec.dir);
    return new WorkerHostError(
      "outside",
      `${what} is outside of every command, handler and task, where no stop would end it (${place}): write this.spawn(() => …) around what your callback does`,
    );
  }

  held(): () => void {
    if (this.#holds++ === 0) this.options.onHolds?.(true);
    let isOff = false;
    return () => {
      if (isOff) return;
      isOff = true;
      if (--this.#holds === 0) this.options.onHolds?.(false);
    };
  }

  /** Ends commands, calls of other handlers, and tasks that have moved something. */
  #endRuns(reason: StopReason): void {
    const words = STOPPED_BY[reason];
    this.stops.count++;
    this.stops.reason = new AbortError(words);
    this.#commands.abortAll(words);
    this.#scope.endRuns(this.stops.reason, (where, moved) => {
      if (this.#warnedOf.has(where)) return;
      this.#warnedOf.add(where);
      this.#reporter.warn(
        `${where} was ended by a stop, since it moves (${moved}): begin what moves in a command or a handler`,
      );
    });
  }

  /** All-stop or a lock-out has begun, or all-stop is engaged once more: it switches off, and stays up. */
  #halt(why: HaltReason): void {
    // Also while it ends: a lid that closes over hands must not close on.
    if (!this.#worker || this.#switching.scope.ended) return;
    // What came of it the worker has been told.
    this.#switching.stop(why, "host").catch(() => undefined);
  }

  #tellOfLink(connected: boolean): void {
    const worker = this.#worker;
    if (worker?.onConnection && !this.#stopping)
      this.#scope.spawn(() => worker.onConnection?.(connected), "onConnection", "run");
  }

  /** Brings the worker to `running`, or to `failed`; `recover` as in `StartOptions`. Never rejects. */
  async start({ recover }: Pick<StartOptions, "recover">): Promise<void> {
    if (this.#stopping) return;
    this.options.onState({ state: "starting" });
    try {
      await this.#bringUp(recover);
      if (this.#stopping) return;
      this.#running = true;
      this.options.onState({ state: "running" });
    } catch (error) {
      if (this.#stopping) return;
      this.log.error({ err: error }, "can't start");
      this.#stopping = this.#fail(error);
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
      const checked = await inTime(this.options.clock, CHECK, live.check(config));
      if (!isDeepStrictEqual(checked.value, live.value)) {
        if (!worker.onConfig) return "restart";
        const takeLimits = this.#commands.limitsWith(checked.value);
        await this.#scope.asRun(() => live.change(worker, checked, this.options.clock), "onConfig()");
        takeLimits();
      }
      for (const warning of checked.warnings) this.#reporter.warn(warning);
      this.#describe(checked, config, about);
      return "applied";
    } catch (error) {
      this.#reporter.fail(`${explainStart(error, this.spec)}; the old config stays`, error);
      throw error;
    }
  }

  /**
   * Ends the worker, whatever it is doing: `do_stop`, `stop()`, then all that it started; `quiet`: its connection first.
   * Never rejects.
   */
  stop(reason: EndReason, quiet = false): Promise<void> {
    this.#stopping ??= this.#stop(reason, quiet);
    return this.#stopping;
  }

  async #stop(reason: EndReason, quiet: boolean): Promise<void> {
    this.options.onState({ state: "stopping" });
    if (quiet) await within(this.options.clock, QUIET_MS, this.#wire.stop());
    await this.#reclaim(reason);
    this.options.onState({ state: "stopped" });
  }

  async #fail(error: unknown): Promise<void> {
    const hopeless = this.#class === undefined || isLasting(error);
    await this.#reclaim("end");
    this.options.onState({
      state: "failed",
      detail: explainStart(error, this.spec),
      ...(hopeless ? { hopeless } : {}),
    });
  }

  async #reclaim(reason: EndReason): Promise<void> {
    await reclaim(this.#worker, this.#store, { reason, stopTimeoutMs: this.#stopTimeoutMs }, this.#parts);
    this.standstill.release();
  }

  /** It takes no command but `stop` until it is released; `undefined` releases it. */
  lockOut(reason: string | undefined): void {
    this.standstill.lockOut(reason);
  }

  /** Tells people of something. */
  warn(text: string): void {
    this.#reporter.warn(text);
  }

  entered(where: string): void {
    this.options.onEnter?.(where);
  }

  blocks(name: string): void {
    this.options.onEnter?.(name, locate(new Error(name), this.spec.file, this.spec.dir));
  }

  outlived(where: string, what: string): void {
    const text = `${where} has ended while its own ${what} still runs: write "await this.${what}(…)"`;
    if (this.#warnedOf.has(text)) return;
    this.#warnedOf.add(text);
    this.#reporter.warn(text);
  }

  report(error: unknown, where: string): void {
    // Nothing is wrong with the code that asked.
    if (error instanceof CallError && error.code === "refused") {
      this.#reporter.warn(`${where}: ${error.message}`);
      return;
    }
    if (this.options.counts) this.options.counts.errors++;
    this.#reporter.report(error, where);
  }

  async #bringUp(recover: boolean): Promise<void> {
    const { spec, options } = this;
    const loading = this.#scope.run(() => options.load(spec), LOADING);
    this.#class = await inTime(options.clock, LOADING, loading);
    this.#stopTimeoutMs = stopTimeoutOf(this.#class);
    this.#description.setStopTimeout(this.#class.stopTimeoutMs === undefined ? undefined : this.#stopTimeoutMs);
    const connecting = this.#wire.start();
    const [warn, now] = [(text: string) => this.#reporter.warn(text), () => options.clock.now()];
    const [store] = await Promise.all([
      Store.open(spec.dataDir, { warn, now }),
      this.#class.offline === true || connecting,
    ]);
    this.#store = store;
    const live = new LiveConfig(this.#class.config, spec.file, options.secrets);
    const checked = await inTime(options.clock, CHECK, live.check(spec.config));
    if (this.#stopping) return;
    const worker = this.#construct(this.#class, store, live, checked);
    this.#worker = worker;
    beginDisarmed(worker);
    if (worker.onCommand) this.#commands.addFallback(worker.onCommand.bind(worker));
    await this.#startWorker(worker);
    await connecting;
    if (this.#stopping) return;
    const { holding } = this.standstill;
    if (holding === "all_stop" || recover) await Promise.allSettled([this.#switching.stop(holding ?? "end", "host")]);
    if (recover && this.spec.leftOn) this.#tellOfLeftOn();
    if (this.#stopping) return;
    await this.#listen(worker);
    if (this.#stopping) return;
    this.#description.open();
    void this.#wire.publish(options.topics.availability(this.id), "online", { qos: 1, retain: true });
    if (worker.loop) this.#loop?.start();
  }

  /** What its process took with it no `off` switches off any more. */
  #tellOfLeftOn(): void {
    if (!this.#commands.stops) {
      const text =
        "its process ended while it held something on, and it has no do_stop: that may still be on. Go and look, and give " +
        "it a do_stop that switches it off";
      this.#reporter.fail(text, undefined);
    }
    this.options.onHolds?.(this.#holds > 0);
  }

  #construct(Class: WorkerClass, store: Store, live: LiveConfig, checked: CheckedConfig): BaseWorker {
    for (const warning of checked.warnings) this.#reporter.warn(warning);
    live.begin(checked);
    this.#config = live;
    this.#describe(checked, this.spec.config, this.spec.about);
    const loop = new Loop({
      scope: this.#scope,
      intervalMs: (Class.loopIntervalMs as Span | undefined) ?? LOOP_INTERVAL_MS,
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
      shielded: this.#shielded,
      stopTimeoutMs: () => this.#stopTimeoutMs,
      ownCalls: new Map(),
      standstill: this.standstill,
      stops: this.stops,
      place: () => locate(new Error(), this.spec.file, this.spec.dir),
      warn: (text) => this.#reporter.warn(text),
    });
    const worker = this.#scope.run(() => new Class(context), "its constructor");
    const entries = [...collectCommands(worker, live.value).values()];
    this.#commands.add(...entries);
    takeOwnCalls(worker, entries, { ...context, starting: () => this.#starting });
    return worker;
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
    this.#description.setConfig(json, shownOf(config));
  }

  async #startWorker(worker: BaseWorker): Promise<void> {
    const scope = this.#scope.child("start()", "start");
    this.#starting = scope;
    try {
      const starting = scope.track(() => worker.start(), "start()");
      if (await within(this.options.clock, START_MS, starting)) return;
    } catch (error) {
      // No start() fails for an all-stop or a lock-out: it comes up idle.
      if (this.#stopping || !this.standstill.holding || !isAbort(error, scope)) throw error;
      this.#reporter.warn(`start() ended early: ${messageOf(error)}`);
      return;
    } finally {
      scope.leave();
      this.#starting = undefined;
    }
    throw new WorkerHostError(
      "timeout",
      `start() has not ended in ${START_MS / 1000} s: give what goes on for ever to this.spawn()`,
    );
  }

  /** Takes off the broker the state of an earlier life, whose code may have been another one. */
  async #clearOldState(worker: BaseWorker): Promise<void> {
    const topic = this.options.topics.state(this.id);
    const forget = await this.#wire.subscribe(topic, ({ payload, retain }) => {
      if (!retain || payload.length === 0 || worker.state !== undefined) return;
      void this.#wire.publish(topic, "", { qos: 1, retain: true });
    });
    timer(this.#scope, RETAINED_MS, forget);
  }

  async #listen(worker: BaseWorker): Promise<void> {
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
      this.#wire.reassertAvailability(),
      worker.state === undefined && this.#clearOldState(worker),
    ]);
  }

  #whileRunning(handler: MessageHandler): MessageHandler {
    return (message) => {
      if (!this.#scope.ended) handler(message);
    };
  }
}
