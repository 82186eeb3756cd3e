import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { backoffMs, isWithin, type Span } from "../base/clock.ts";
import { writeDurably } from "../base/durable-file.ts";
import { isAbort } from "../base/scope.ts";
import { AbortError, type Task } from "../base/scope-owner.ts";
import { assertFunction, at, every, timeline, unlessEnded } from "../base/timers.ts";
import { assertAction, type CommandSpec, entryOf, type RunningCommand } from "../commands/command-spec.ts";
import type { InferOutput, Schema } from "../commands/schema.ts";
import { quote } from "../contract/command.ts";
import { describeError, WorkerHostError } from "../contract/errors.ts";
import { CallError } from "../mqtt/calls.ts";
import type { SafeOptions } from "../mqtt/wire.ts";
import { coverMethods, type WorkerContext } from "./context.ts";
import type { Facts } from "./description.ts";
import { type ExecOptions, type ExecResult, execIn } from "./exec.ts";
import { RETRY_MAX_MS, RETRY_MIN_MS } from "./limits.ts";
import { assertCommand, Messenger } from "./messenger.ts";
import { STORE_FILE, type Store } from "./store.ts";

const FILE_NAME = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}$/;

/** A worker without a schema takes its config as it was written. */
// biome-ignore lint/suspicious/noExplicitAny: so that `(this.config.interval ?? 5) * 1000` compiles without a schema
export type AnyConfig = Record<string, any>;

/**
 * What every prop's worker extends. A method `do_fire` runs on the command `fire`, and `this.do_fire()` is that command
 * too; all that is started with a helper (`spawn`, `sleep`, `every`, `hold`, `subscribe`, `call`, `exec`) ends by itself
 * when the worker stops. With `static arming = true` it has the commands `arm` and `disarm`.
 */
export class BaseWorker<Config = AnyConfig> extends Messenger {
  /** Writes to the host's log, marked with this worker's id. */
  readonly log: Logger;
  /** The folder of the worker's source file. */
  readonly dir: string;
  readonly #context: WorkerContext;

  /** Called by the host. A subclass that has a constructor passes `context` on. */
  constructor(context: WorkerContext) {
    super(context);
    coverMethods(this, BaseWorker.prototype, context.ownCalls);
    this.#context = context;
    this.log = context.log;
    this.dir = context.dir;
  }

  /** What its config file says now, checked by `static config` where there is one; `{}` without a file. */
  get config(): Config {
    return this.#context.config as Config;
  }

  /**
   * Called once, when connected; the prop is `online` when it is done, `failed` if it throws. With `static offline = true`
   * it is called before that, at once, also while the broker is away.
   */
  async start(): Promise<void> {}

  /**
   * Called once, at the end, after all that the worker started has ended, and `do_stop`. Together they have `static
   * stopTimeoutMs`: 5000 if not given, 30,000 at most.
   */
  async stop(): Promise<void> {}

  /** Gets the commands that have no `do_` method of their own; without it they are refused. */
  onCommand?(action: string, args: unknown, command: RunningCommand): unknown;

  /**
   * Called when the config file has changed, `this.config` being the new one already. Where it throws, the old config
   * comes back. A worker without it is restarted instead.
   */
  onConfig?(next: Config, previous: Config): unknown;

  /**
   * Called when all-stop is engaged, and at the start of a worker while it is: besides `do_stop`, for what it does on
   * its own; also for a lock-out that comes while `do_stop` runs. Commands are aborted already, and `hold`s are off.
   */
  onAllStop?(): unknown;

  /**
   * Called with `false` when the connection to the broker is lost, and with `true` when it is there again; with `static
   * offline = true` also when it is there for the first time.
   */
  onConnection?(connected: boolean): unknown;

  /**
   * Called again and again, from the end of `start()` on: `static loopIntervalMs` (1000 if not given) after its last call
   * has ended. After an error it waits twice as long each time, up to a minute.
   */
  loop?(): unknown;

  /** No further call of `loop()`; one that is under way runs to its end. */
  pauseLoop(): void {
    this.#context.loop.pause();
  }

  /** Calls `loop()` again, at once. */
  resumeLoop(): void {
    this.#context.loop.resume();
  }

  /** Pauses the loop, and resumes it in so many ms, or `"2s"`. */
  resumeLoopIn(span: Span): void {
    this.#context.loop.resumeIn(span);
  }

  /**
   * Aborted when the worker stops; inside a command also when that command is aborted, for as long as it runs. For
   * `fetch` and others that take a signal.
   */
  get signal(): AbortSignal {
    return this.currentScope.ofTasks.signal;
  }

  /**
   * Starts a task at once: a method, called with `this` bound, or a promise. It is cancelled when the worker stops; an
   * error in it is logged and goes to `status/error`, and the worker goes on.
   */
  spawn(task: ((this: this) => unknown) | Promise<unknown>): Task {
    const scope = this.currentScope;
    // What begins because of something, in a callback of somebody else's code, is a run.
    const kind = scope.outside ? "run" : "task";
    if (typeof task !== "function") return scope.ofTasks.spawn(task, undefined, kind);
    return scope.ofTasks.spawn(() => task.call(this), task.name || "a spawned task", kind);
  }

  /**
   * Calls `fn` as the handler of a message is called, so that a stop ends what it does; gives what it gives. For callbacks of
   * other code, such as a web server's, which are no handlers by themselves.
   *
   * @throws AbortError when the worker stops, or a stop ends it; whatever `fn` throws
   */
  run<T>(fn: (this: this) => T): Promise<Awaited<T>> {
    return this.currentScope.asRun(() => fn.call(this), fn.name || "a callback");
  }

  /**
   * Waits so many ms, or `"2s"`.
   *
   * @throws AbortError when the worker stops, or the command that it is called in is aborted.
   */
  sleep(span: Span): Promise<void> {
    return this.currentScope.sleep(span);
  }

  /** Calls `fn` every `span`, first after that, never while its last call still runs. An error in it ends nothing. */
  every(span: Span, fn: (this: this) => unknown): Task {
    const scope = this.currentScope;
    // What a stop begins again and again moves as all else does.
    return every(scope.stopping ? this.#context.scope : scope.ofTasks, span, () => fn.call(this), fn.name || "every");
  }

  /**
   * Calls each step at its time, counted from now, so that no delay adds up: `[[0, a], ["12.5s", b]]`; one that takes long
   * holds up none of the others. Fulfils when all have ended.
   *
   * @throws AbortError when the worker stops, or the command that it is called in is aborted; what a step throws: the
   * others end, too, and their `hold`s turn off
   * @throws WorkerHostError `invalid_value`
   */
  timeline(steps: readonly (readonly [at: Span, step: (this: this) => unknown])[]): Promise<void> {
    const scope = this.currentScope;
    // In a callback of somebody else's code no stop would end it.
    if (scope.outside) return this.run(() => this.timeline(steps));
    for (const [at, step] of steps) assertFunction(`timeline: the step at ${at}`, step);
    const bound = steps.map(([at, step]) => [at, () => step.call(this)] as const);
    return timeline(scope, bound);
  }

  /**
   * Gives what `fn` gives; where it throws, it is called again, after 1 s, 2 s, and so on, up to 1 min. `status/warn` says
   * so once, with `what`, such as `Hue bridge`, and once more when it has worked.
   *
   * @throws AbortError when the worker stops, or the command that it is called in is aborted
   * @throws WorkerHostError `invalid_value` where `fn` is no function
   */
  async retry<T>(what: string, fn: (this: this) => T): Promise<Awaited<T>> {
    assertFunction(`retry("${what}")`, fn);
    const scope = this.currentScope;
    for (let failures = 0; ; failures++) {
      try {
        const value = await fn.call(this);
        if (failures > 0) this.#context.warn(`${what} works again`);
        return value;
      } catch (error) {
        if (isAbort(error, scope)) throw error;
        if (failures === 0) this.#context.warn(`${what}: ${describeError(error)}; it is tried again until it works`);
        await scope.sleep(backoffMs(failures, RETRY_MIN_MS, RETRY_MAX_MS));
      }
    }
  }

  /** ms since 1970, by the clock on the wall, which somebody may set; in a test, `advance` puts it forward. */
  now(): number {
    return this.#context.clock.now();
  }

  /**
   * Calls `fn` every day at a time of day, local time, such as `"18:00"`, as a message calls its handler. What the clock
   * skips by more than 2 min, because it was set or the machine slept, is left out, with a warning. On the nights of
   * summer time it is called once: a time that is there twice is the first one, one that is not there is the next that is.
   *
   * @throws WorkerHostError `invalid_value`
   */
  at(timeOfDay: string, fn: (this: this) => unknown): Task {
    assertFunction(`at("${timeOfDay}")`, fn);
    const { warn, scope } = this.#context;
    const own = this.currentScope;
    return at(own.stopping ? scope : own.ofTasks, timeOfDay, () => fn.call(this), warn);
  }

  /**
   * Whether it is between two times of day, local time: from the first on, until the second, which may be on the next day:
   * `this.within("18:00", "02:00")`. All day is `this.within("00:00", "24:00")`.
   *
   * @throws WorkerHostError `invalid_value`
   */
  within(from: string, until: string): boolean {
    return isWithin(this.now(), from, until);
  }

  /**
   * Calls `on`, waits `span`, calls `off`; `off` is called at once when the worker stops, or what it is called in is
   * stopped, so that what was switched on goes off. `hold(Infinity, on, off)`: until it is stopped.
   *
   * @throws AbortError when it ended early.
   */
  hold(span: Span, on: () => unknown, off: () => unknown): Promise<void> {
    return this.currentScope.hold(span, on, off);
  }

  /**
   * Runs a program, without a shell, in the worker's folder, and waits for its end; its output goes to the log. It is
   * killed, with all that it started in its process group, when the worker stops or what it is called in is stopped.
   *
   * @throws ExecError `not_found`, `failed` (an exit code other than 0, or a signal), `timeout`
   * @throws AbortError when it was killed, and while all-stop or a lock-out holds, unless it is `safe`
   */
  exec(file: string, args: readonly (string | number)[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    const { log, onGroup, sends } = this.#context;
    const scope = this.currentScope;
    const why = options.safe ? undefined : sends.held(scope);
    if (why !== undefined) {
      const text = `${file} was not run: ${why}`;
      sends.tell(text);
      return Promise.reject(new AbortError(text));
    }
    return execIn(scope, file, args, options, {
      dir: this.dir,
      log: (line) => log.info(`${file}: ${line}`),
      onGroup,
    });
  }

  /**
   * Sends a command to another prop and waits for what its handler returns; `timeoutMs` is what
   * the target's description says of that command if not given, else 30 s. With `expiresAt`, in ms since 1970, the target
   * refuses it later than that by its own clock: for what is on this machine.
   *
   * @throws CallError `timeout`, `refused`, `failed`, `nobody` (with MQTT 5), `not_sent`
   * @throws AbortError when the worker stops, or the command that it is called in is aborted.
   * @throws WorkerHostError `invalid_id`, `invalid_value`
   */
  call(
    target: string,
    action: string,
    args?: unknown,
    { safe, ...options }: { timeoutMs?: Span; expiresAt?: number } & SafeOptions = {},
  ): Promise<unknown> {
    assertCommand(target, action);
    const { sends, calls } = this.#context;
    const scope = this.currentScope;
    const free = sends.isFree(target, action, safe);
    const call = async () => {
      const refusal = sends.commandRefusal(scope, target, action, free);
      if (refusal) return refusal;
      const why = free ? undefined : await sends.heldCommand(scope, target, action);
      if (why !== undefined) throw new CallError("not_sent", `${target} was not told "${action}": ${why}`);
      const topic = await sends.topicOf(scope, target, action);
      if (topic === undefined)
        throw new CallError("not_sent", `${target} was not told "${action}": it was stopped first`);
      return calls.call({ target, action, args, topic, ...options });
    };
    return free && scope.ended ? call() : unlessEnded(scope, call);
  }

  /**
   * What `promise` gives: for promises that aren't made by these helpers, and so don't end with what they are awaited in.
   *
   * @throws AbortError when the worker stops, or what it is called in is stopped
   */
  until<T>(promise: Promise<T>): Promise<T> {
    return unlessEnded(this.currentScope, () => promise);
  }

  /**
   * Calls `fn`, and lets no stop cut it: for a step that must be done whole once it has begun, and is short. After a stop it
   * has `static stopTimeoutMs`, 5 s if not given; the worker's end waits for it.
   *
   * @throws AbortError where what it is called in was stopped before; whatever `fn` throws
   */
  shield<T>(fn: (this: this) => T): Promise<Awaited<T>> {
    const scope = this.currentScope;
    if (scope.ended) return scope.sleep(0).then(() => this.shield(fn));
    try {
      scope.move("shield");
    } catch (error) {
      return Promise.reject(error);
    }
    // A stopping is cut by nothing anyway, and what it sends always goes out.
    if (scope.stopping) return scope.track(() => fn.call(this));
    const { shielded: all, stopTimeoutMs } = this.#context;
    const shielded = all.child(`${scope.where}, shielded`);
    let cancel = () => {};
    const forget = scope.whenEnded(() => {
      const ms = stopTimeoutMs();
      cancel = scope.clock.after(ms, () => {
        const text = `what ${scope.where} shields went on for ${ms / 1000} s after a stop: it was ended`;
        this.#context.warn(text);
        shielded.end(new AbortError(text));
      });
    });
    return shielded
      .track(() => fn.call(this))
      .finally(() => {
        forget();
        cancel();
      });
  }

  /** A small map that outlives the worker, its host and a power cut, in `store.json` in `dataDir`. */
  get store(): Store {
    return this.#context.store;
  }

  /** A folder of this worker's own, for files that outlive it. */
  get dataDir(): string {
    const { dataDir } = this.#context;
    mkdirSync(dataDir, { recursive: true });
    return dataDir;
  }

  /**
   * Writes a file of this worker's own into `dataDir`: it is the old one or the new one at any moment, also after a power
   * cut, and the new one once this fulfils.
   *
   * @throws WorkerHostError `invalid_value` where `name` is no plain file name, or that of the store; an error of Node's
   * where the disk doesn't take it
   */
  async writeFile(name: string, data: string | Uint8Array): Promise<void> {
    if (!FILE_NAME.test(name) || name === STORE_FILE)
      throw new WorkerHostError(
        "invalid_value",
        `${quote(name)} can't be a file's name: write letters, digits, "_", "-" and ".", such as "scores.json"`,
      );
    await writeDurably(join(this.dataDir, name), data);
  }

  /**
   * Takes one more command from now on, besides the `do_` methods.
   *
   * @throws WorkerHostError `invalid_value` where there is one for that action already, it is no word, or `onMaxOn` names
   * none; `load_failed` where the spec says what none can
   */
  addCommand<Args extends Schema>(
    action: string,
    spec: Omit<CommandSpec, "args"> & { args: Args },
    handler: (this: this, args: InferOutput<Args>, command: RunningCommand) => unknown,
  ): void;
  addCommand(
    action: string,
    spec: CommandSpec,
    // biome-ignore lint/suspicious/noExplicitAny: without a schema the arguments are what was sent
    handler: (this: this, args: any, command: RunningCommand) => unknown,
  ): void;
  addCommand(
    action: string,
    spec: CommandSpec,
    handler: (this: this, args: never, command: RunningCommand) => unknown,
  ): void {
    assertAction(action);
    const run = (args: unknown, command: RunningCommand) => handler.call(this, args as never, command);
    this.#context.commands.add(entryOf(action, spec, run, this.config));
  }

  /** Takes a command no longer; what of it runs goes on to its end. Gives whether there was one. */
  removeCommand(action: string): boolean {
    return this.#context.commands.remove(action);
  }

  /**
   * Changes what the retained description says of this worker: `name`, `area`, `description`, `telemetry` by its keys,
   * and any facts of its own. `null` takes something out.
   *
   * @throws WorkerHostError `invalid_value` for what the host says itself, such as `commands`
   */
  describe(facts: Facts): void {
    this.#context.description.describe(facts);
  }
}
