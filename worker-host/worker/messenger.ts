import type { Logger } from "pino";
import type { Clock } from "../base/clock.ts";
import { RateLimiter } from "../base/log.ts";
import type { Scope } from "../base/scope.ts";
import { unlessEnded } from "../base/timers.ts";
import { assertAction } from "../commands/command-spec.ts";
import { formatCommand, STOP } from "../contract/command.ts";
import { describeError, WorkerHostError } from "../contract/errors.ts";
import { COMMAND_EXPIRY_S } from "../contract/limits.ts";
import { defined, encodePayload, parsePayload } from "../contract/payload.ts";
import { assertKey, assertTarget, assertTopicFilter, assertTopicName } from "../contract/topics.ts";
import { whyAbsent } from "../mqtt/peers.ts";
import type { PublishOptions, PublishResult, SafeOptions } from "../mqtt/wire.ts";
import type { WorkerContext } from "./context.ts";

interface StatusReporterOptions {
  clock: Clock;
  log: Logger;
  /** Publishes something for people on the worker's status topics. */
  publish: (key: "warn" | "error", text: string) => void;
}

/** What is said of a worker for people: to the log, and on its status topics, no more than they can read. */
export class StatusReporter {
  readonly #warnings: RateLimiter;
  readonly #errors: RateLimiter;

  constructor({ clock, log, publish }: StatusReporterOptions) {
    this.#warnings = new RateLimiter(clock, (text) => {
      log.warn(text);
      publish("warn", text);
    });
    this.#errors = new RateLimiter(clock, (text, error) => {
      log.error(error === undefined ? {} : { err: error }, text);
      publish("error", text);
    });
  }

  warn(text: string): void {
    this.#warnings.say(text);
  }

  /** @param where what was running: `ticker`, `do_fire` */
  report(error: unknown, where: string): void {
    this.fail(`${where}: ${describeError(error)}`, error);
  }

  fail(text: string, error: unknown): void {
    this.#errors.say(text, error);
  }
}

/** A message of a subscription. */
export interface IncomingMessage {
  topic: string;
  /** Its payload as UTF-8 text. */
  text: string;
  payload: Uint8Array;
  /** It was retained by the broker before this subscription was made. */
  retain: boolean;
  /** When it came, in ms since 1970, by this machine's clock; when it was said, where it is not retained. */
  at: number;
}

/** What `watch` saw. */
export interface WatchedValue {
  /** Of the prop that said it. */
  id: string;
  key: string;
  /** It was retained by the broker before the watch began. */
  retain: boolean;
  /** When it came, in ms since 1970. */
  at: number;
}

/** The haunt that a worker is in. */
export interface Haunt {
  /** What all topics start with. */
  prefix: string;
  /** The id of this worker's host, such as `worker_host`. */
  host: string;
}

/** How a command goes out. */
interface CommandOptions extends SafeOptions {
  qos?: 0 | 1 | 2;
}

/** What a worker says and hears: the part of `BaseWorker` that is about messages. */
export class Messenger {
  /** The prop folder's name, the builtin file's, or the instance's. */
  readonly id: string;
  readonly #context: WorkerContext;
  #state: string | undefined;

  constructor(context: WorkerContext) {
    this.#context = context;
    this.id = context.id;
  }

  /** What all topics of this haunt start with, and the id of its host. */
  get haunt(): Haunt {
    const { prefix, hostName } = this.#context.topics;
    return { prefix, host: hostName };
  }

  /** Whether the broker is there: what is published while it is not is dropped, unless it is retained. */
  get connected(): boolean {
    return this.#context.wire.connected;
  }

  /**
   * Publishes a measured value, or that something happened, on `telemetry/<key>`. QoS 0, and not retained unless
   * `static telemetry` or `options` say so.
   */
  telemetry(key: string, value: unknown, options: PublishOptions = {}): void {
    assertKey(key);
    const { topics, description } = this.#context;
    void this.#publish(topics.telemetry(this.id, key), value, { retain: description.retains(key), ...options });
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
    if (typeof word !== "string" || !/^\S+$/.test(word)) {
      throw new WorkerHostError("invalid_value", `state ${JSON.stringify(word)}: expected one word, such as "armed"`);
    }
    if (!this.#context.sends.takesState(this.currentScope)) return;
    this.#state = word;
    void this.#publish(this.#context.topics.state(this.id), word, { qos: 1, retain: true });
  }

  /**
   * Sends a command to another prop. Gives whether the broker took it; it is never queued, and never sent again. Where
   * the prop isn't online, `status/warn` says so: `whenOnline` waits for it. While all-stop or a lock-out holds, only `stop`, what goes to a
   * host, and what the target's description marks `safe` is sent; else it gives `false`.
   *
   * @throws WorkerHostError `invalid_id`, `invalid_value`
   * @throws AbortError where what it is called in was stopped, unless it is `stop`, or `safe`
   */
  command(target: string, action: string, args?: unknown, options: CommandOptions = {}): Promise<boolean> {
    assertCommand(target, action);
    const { sends } = this.#context;
    const { safe, ...how } = options;
    const scope = this.currentScope;
    const free = sends.isFree(target, action, safe);
    const refusal = sends.commandRefusal(scope, target, action, free);
    if (refusal) return refusal;
    const send = () => {
      const topic = sends.topicOf(scope, target, action);
      if (typeof topic === "string") return this.#command(topic, target, action, args, how);
      return topic.then((found) => found !== undefined && this.#command(found, target, action, args, how));
    };
    if (free || sends.held(scope) === undefined) return send();
    return sends.heldCommand(scope, target, action).then((why) => {
      if (why === undefined) return send();
      sends.tell(`"${action}" was not sent to ${target}: ${why}`);
      return false;
    });
  }

  #command(
    topic: string,
    target: string,
    action: string,
    args: unknown,
    options: { qos?: 0 | 1 | 2 },
  ): Promise<boolean> {
    const { wire, newId, log, peers, warn } = this.#context;
    const payload = formatCommand(action, args, newId());
    const how = { qos: 1, expiryS: COMMAND_EXPIRY_S, ...options } as const;
    const { stopping } = this.currentScope;
    const sent = stopping ? wire.publishSurely(topic, payload, how) : wire.publish(topic, payload, how);
    // At its own end, or in a stop, a worker stops what is there: all may go at once.
    if (action !== STOP || !stopping) void peers.warnIfAbsent(target, action, sent, warn);
    return sent.then((result) => {
      if (result === "dropped") log.warn(`${target} was not told "${action}": the broker is away, or did not take it`);
      return result !== "dropped";
    });
  }

  /**
   * Sends the same command to many props. Gives whether the broker took them all.
   *
   * @throws WorkerHostError as `command`, before any is sent
   */
  broadcast(targets: Iterable<string>, action: string, args?: unknown, options: CommandOptions = {}): Promise<boolean> {
    // A text is iterable too, letter by letter.
    const ids = typeof targets === "string" ? [targets] : [...targets];
    for (const id of ids) assertTarget(id);
    const sent = ids.map((id) => this.command(id, action, args, options));
    return Promise.all(sent).then((taken) => taken.every(Boolean));
  }

  /**
   * Has the host stop all props, until somebody sends it `all_clear`: past the broker, also while that is away. Gives whether
   * it is on its way.
   */
  allStop(reason?: string): Promise<boolean> {
    const { topics, onWantsAllStop } = this.#context;
    const { hostName } = topics;
    if (onWantsAllStop) {
      onWantsAllStop(reason);
      return Promise.resolve(true);
    }
    return this.command(hostName, "all_stop", { by: this.id, ...defined({ reason }) });
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
    return this.subscribe(topics.telemetry(id, key), ({ topic, text, retain, at }) => {
      const from = topics.idOf(topic) ?? "";
      const about = { id: from, key: topic.slice(topics.telemetry(from, "").length), retain, at };
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
   * Fulfils when a prop, or all of these, are online, for what `start()` has to tell them: all workers start side by side.
   *
   * @throws WorkerHostError `invalid_id`
   * @throws AbortError when the worker stops, or the command that it is called in is aborted
   */
  async whenOnline(...ids: string[]): Promise<void> {
    for (const id of ids) assertTarget(id);
    const { peers } = this.#context;
    const online = Promise.all(ids.map((id) => peers.online(id)));
    await unlessEnded(this.currentScope, () => online);
  }

  /**
   * Throws where a prop, or one of these, isn't online: for a command that can do nothing without its board. Whoever sent it
   * is told so, where a `command` to the board only warns.
   *
   * @throws WorkerHostError `invalid_id`; Error, in words
   * @throws AbortError when the worker stops, or the command that it is called in is aborted
   */
  async requireOnline(...ids: string[]): Promise<void> {
    for (const id of ids) assertTarget(id);
    const { peers } = this.#context;
    const presences = () => Promise.all(ids.map(async (id) => [id, await peers.presence(id)] as const));
    const shown = await unlessEnded(this.currentScope, presences);
    const absent = shown.flatMap(([id, how]) => (how === "online" ? [] : `${id} is not there: ${whyAbsent(how)}`));
    if (absent.length > 0) throw new Error(absent.join("; "));
  }

  /**
   * Publishes to any topic, for devices that aren't ours. Gives whether the broker took it: one that is larger than the
   * broker takes is not sent, which `status/error` tells of, and while all-stop or a lock-out holds, nor is what isn't this
   * worker's own, nor `safe`.
   *
   * @throws WorkerHostError `invalid_topic`, `invalid_value`, `reserved_topic` for a retained command.
   * @throws AbortError where what it is called in was stopped, for what isn't this worker's own, nor `safe`
   */
  publish(
    topic: string,
    payload: unknown,
    { safe = false, ...options }: PublishOptions & SafeOptions = {},
  ): Promise<boolean> {
    assertTopicName(topic);
    if (options.retain && this.#context.topics.isCommand(topic)) {
      throw new WorkerHostError(
        "reserved_topic",
        `a command is never retained (${topic}): it would run again after a restart`,
      );
    }
    const { sends, topics } = this.#context;
    const scope = this.currentScope;
    const free = safe || (topics.idOf(topic) === this.id && topics.isOwnWord(topic));
    const refusal = sends.refusal(scope, `the publish to ${topic}`, free);
    if (refusal) return refusal;
    const why = free ? undefined : sends.held(scope);
    if (why === undefined) return this.#publish(topic, payload, options, scope).then((result) => result !== "dropped");
    sends.tell(`nothing was published to ${topic}: ${why}`);
    return Promise.resolve(false);
  }

  /**
   * Calls `handler` with each message that matches `filter`, until the function that it gives is called, or the worker
   * stops. An error in the handler is logged and goes to `status/error`.
   *
   * @throws WorkerHostError `invalid_topic`
   */
  subscribe(filter: string, handler: (this: this, message: IncomingMessage) => unknown): Promise<() => void> {
    assertTopicFilter(filter);
    const { scope, wire, clock } = this.#context;
    return wire.subscribe(filter, ({ topic, payload, retain }) => {
      const text = new TextDecoder().decode(payload);
      const at = clock.now();
      const call = () => handler.call(this, { topic, text, payload, retain, at });
      scope.spawn(call, `the subscription to ${filter}`, "run");
    });
  }

  /** The scope that the caller runs in: a command's, a task's, else the worker's. */
  protected get currentScope(): Scope {
    return this.#context.scope.ofCaller;
  }

  #publish(topic: string, value: unknown, options: PublishOptions, scope?: Scope): Promise<PublishResult> {
    const { wire } = this.#context;
    const payload = encodePayload(value);
    return scope?.stopping ? wire.publishSurely(topic, payload, options) : wire.publish(topic, payload, options);
  }
}

export function assertCommand(target: string, action: string): void {
  assertTarget(target);
  assertAction(action);
}
