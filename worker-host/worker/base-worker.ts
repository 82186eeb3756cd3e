import type { Logger } from "pino";
import { COMMAND_EXPIRY_S, formatCommand } from "../contract/command.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { encodePayload, parsePayload } from "../contract/payload.ts";
import { assertKey, assertTarget, assertTopicFilter, assertTopicName, type Topics } from "../contract/topics.ts";
import type { Calls } from "./calls.ts";
import type { RunningCommand } from "./command-spec.ts";
import { Scope, type Task } from "./scope.ts";
import type { PublishOptions, PublishResult, Wire } from "./wire.ts";

/** All that a worker is given by whoever runs it. */
export interface WorkerContext {
  id: string;
  config: unknown;
  dir: string;
  log: Logger;
  topics: Topics;
  wire: Wire;
  scope: Scope;
  /** A fresh id for a command. */
  newId: () => string;
  calls: Calls;
}

/** A message of a subscription. */
export interface IncomingMessage {
  topic: string;
  /** Its payload as UTF-8 text. */
  text: string;
  payload: Uint8Array;
  /** It was retained by the broker before this subscription was made. */
  retain: boolean;
}

/** What `watch` saw. */
export interface WatchedValue {
  /** Of the prop that said it. */
  id: string;
  key: string;
  /** It was retained by the broker before the watch began. */
  retain: boolean;
}

/** A worker without a schema takes its config as it was written. */
// biome-ignore lint/suspicious/noExplicitAny: so that `(this.config.interval ?? 5) * 1000` compiles without a schema
export type AnyConfig = Record<string, any>;

const ONE_WORD = /^\S+$/;
const CALL_TIMEOUT_MS = 30_000;

/**
 * What every prop's worker extends. A method `do_fire` runs on the command `fire`; all that is started with a helper
 * (`spawn`, `sleep`, `every`, `hold`, `subscribe`) ends by itself when the worker stops.
 */
export class BaseWorker<Config = AnyConfig> {
  /** The prop folder's name, or the builtin file's. */
  readonly id: string;
  /** The parsed config file, `{}` without one. */
  readonly config: Config;
  /** Writes to the host's log, marked with this worker's id. */
  readonly log: Logger;
  /** The folder of the worker's source file. */
  readonly dir: string;
  readonly #context: WorkerContext;
  #state: string | undefined;

  /** Called by the host. A subclass that has a constructor passes `context` on. */
  constructor(context: WorkerContext) {
    this.#context = context;
    this.id = context.id;
    this.config = context.config as Config;
    this.log = context.log;
    this.dir = context.dir;
  }

  /** Called once, when connected; the prop is `online` when it is done, `failed` if it throws. */
  async start(): Promise<void> {}

  /** Called once, at the end, after all that the worker started has ended. At most 5 s. */
  async stop(): Promise<void> {}

  /** Gets the commands that have no `do_` method of their own; without it they are refused. */
  onCommand?(action: string, args: unknown, command: RunningCommand): unknown;

  /**
   * Aborted when the worker stops; inside a command also when that command is aborted, for as long as it runs. For
   * `fetch` and others that take a signal.
   */
  get signal(): AbortSignal {
    return this.#scope.signal;
  }

  /**
   * Starts a task at once: a method, called with `this` bound, or a promise. It is cancelled when the worker stops; an
   * error in it is logged and goes to `status/error`, and the worker goes on.
   */
  spawn(task: ((this: this) => unknown) | Promise<unknown>): Task {
    if (typeof task !== "function") return this.#scope.spawn(task);
    return this.#scope.spawn(() => task.call(this), task.name || "a spawned task");
  }

  /**
   * Waits `ms`.
   *
   * @throws AbortError when the worker stops, or the command that it is called in is aborted.
   */
  sleep(ms: number): Promise<void> {
    return this.#scope.sleep(ms);
  }

  /** Calls `fn` every `ms`, first after `ms`, never while its last call still runs. An error in it ends nothing. */
  every(ms: number, fn: (this: this) => unknown): Task {
    return this.#scope.every(ms, () => fn.call(this), fn.name || "every");
  }

  /**
   * Calls `on`, waits `ms`, calls `off`; `off` is called at once when the worker stops or the command is aborted, so
   * that what was switched on goes off.
   *
   * @throws AbortError when it ended early.
   */
  hold(ms: number, on: () => unknown, off: () => unknown): Promise<void> {
    return this.#scope.hold(ms, on, off);
  }

  /** Publishes a measured value, or that something happened, on `telemetry/<key>`. QoS 0, not retained. */
  telemetry(key: string, value: unknown, options: PublishOptions = {}): void {
    assertKey(key);
    void this.#publish(this.#context.topics.telemetry(this.id, key), value, options);
  }

  /**
   * Publishes something for people on `status/<key>`; `warn` and `error` are the usual keys. QoS 0, not retained;
   * `availability` QoS 1, retained.
   */
  status(key: string, value: unknown, options: PublishOptions = {}): void {
    assertKey(key);
    if (key === "runstate") {
      throw new WorkerHostError(
        "reserved_topic",
        'status "runstate" is the host\'s word for this worker: use this.state',
      );
    }
    const defaults: PublishOptions = key === "availability" ? { qos: 1, retain: true } : {};
    void this.#publish(this.#context.topics.status(this.id, key), value, { ...defaults, ...options });
  }

  /** The prop's own word for what it is doing, such as `armed`. Setting it publishes it, retained. */
  get state(): string | undefined {
    return this.#state;
  }

  set state(word: string) {
    if (typeof word !== "string" || !ONE_WORD.test(word)) {
      throw new WorkerHostError("invalid_value", `state ${JSON.stringify(word)}: expected one word, such as "armed"`);
    }
    this.#state = word;
    void this.#publish(this.#context.topics.state(this.id), word, { qos: 1, retain: true });
  }

  /**
   * Sends a command to another prop. Gives whether the broker took it; it is never queued, and never sent again.
   *
   * @throws WorkerHostError `invalid_id`, `invalid_value`
   */
  command(target: string, action: string, args?: unknown, options: { qos?: 0 | 1 | 2 } = {}): Promise<boolean> {
    assertCommand(target, action);
    const { topics, wire, newId } = this.#context;
    const payload = formatCommand(action, args, newId());
    return wire
      .publish(topics.command(target), payload, { qos: 1, expiryS: COMMAND_EXPIRY_S, ...options })
      .then((result) => {
        if (result === "dropped") this.log.warn(`${target} was not told "${action}": the broker is away`);
        return result !== "dropped";
      });
  }

  /**
   * Sends the same command to many props. Gives whether the broker took them all.
   *
   * @throws WorkerHostError as `command`, before any is sent
   */
  broadcast(
    targets: Iterable<string>,
    action: string,
    args?: unknown,
    options: { qos?: 0 | 1 | 2 } = {},
  ): Promise<boolean> {
    // A text is iterable too, letter by letter.
    const ids = typeof targets === "string" ? [targets] : [...targets];
    for (const id of ids) assertTarget(id);
    const sent = ids.map((id) => this.command(id, action, args, options));
    return Promise.all(sent).then((taken) => taken.every(Boolean));
  }

  /**
   * Sends a command to another prop and waits for what its handler returns; `timeoutMs` is 30 s if not given.
   *
   * @throws CallError `timeout`, `refused`, `failed`, `nobody` (with MQTT 5), `not_sent`
   * @throws WorkerHostError `invalid_id`, `invalid_value`
   */
  call(target: string, action: string, args?: unknown, options: { timeoutMs?: number } = {}): Promise<unknown> {
    assertCommand(target, action);
    const { timeoutMs = CALL_TIMEOUT_MS } = options;
    return this.#context.calls.call({ target, action, args, timeoutMs });
  }

  /**
   * Calls `handler` with each value that a prop publishes as `telemetry/<key>`, parsed: a number, a boolean, JSON or a
   * text. `+` stands for any prop or level of the key, `#` for all the rest. The function that it gives ends it, and so
   * does the worker's stop.
   *
   * @throws WorkerHostError `invalid_topic`
   */
  watch(id: string, key: string, handler: (this: this, value: unknown, about: WatchedValue) => unknown) {
    const { topics } = this.#context;
    return this.subscribe(topics.telemetry(id, key), ({ topic, text, retain }) => {
      const from = topics.idOf(topic) ?? "";
      const about = { id: from, key: topic.slice(topics.telemetry(from, "").length), retain };
      return handler.call(this, parsePayload(text), about);
    });
  }

  /** Calls `handler` with a prop's state, now and whenever it changes; `+` stands for every prop. */
  watchState(id: string, handler: (this: this, state: string, id: string) => unknown) {
    const { topics } = this.#context;
    return this.subscribe(topics.state(id), ({ topic, text }) => handler.call(this, text, topics.idOf(topic) ?? ""));
  }

  /** Calls `handler` with whether a prop is online, now and whenever that changes; `+` stands for every prop. */
  watchAvailability(id: string, handler: (this: this, online: boolean, id: string) => unknown) {
    const { topics } = this.#context;
    return this.subscribe(topics.availability(id), ({ topic, text }) =>
      handler.call(this, text === "online", topics.idOf(topic) ?? ""),
    );
  }

  /**
   * Publishes to any topic, for devices that aren't ours. Gives whether the broker took it.
   *
   * @throws WorkerHostError `invalid_topic`, `invalid_value`, `reserved_topic` for a retained command.
   */
  publish(topic: string, payload: unknown, options: PublishOptions = {}): Promise<boolean> {
    assertTopicName(topic);
    if (options.retain && this.#context.topics.isCommand(topic)) {
      throw new WorkerHostError(
        "reserved_topic",
        `a command is never retained (${topic}): it would run again after a restart`,
      );
    }
    return this.#publish(topic, payload, options).then((result) => result !== "dropped");
  }

  /**
   * Calls `handler` with each message that matches `filter`, until the function that it gives is called, or the worker
   * stops. An error in the handler is logged and goes to `status/error`.
   *
   * @throws WorkerHostError `invalid_topic`
   */
  subscribe(filter: string, handler: (this: this, message: IncomingMessage) => unknown): Promise<() => void> {
    assertTopicFilter(filter);
    const { scope, wire } = this.#context;
    return wire.subscribe(filter, ({ topic, payload, retain }) => {
      const text = new TextDecoder().decode(payload);
      scope.spawn(() => handler.call(this, { topic, text, payload, retain }), `the subscription to ${filter}`);
    });
  }

  #publish(topic: string, value: unknown, options: PublishOptions): Promise<PublishResult> {
    return this.#context.wire.publish(topic, encodePayload(value), options);
  }

  get #scope(): Scope {
    const running = Scope.current();
    return running?.owner === this.#context.scope.owner ? running : this.#context.scope;
  }
}

function assertCommand(target: string, action: string): void {
  assertTarget(target);
  if (typeof action === "string" && ONE_WORD.test(action)) return;
  throw new WorkerHostError("invalid_value", `action ${JSON.stringify(action)}: expected one word, such as "start"`);
}
