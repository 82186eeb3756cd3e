import { matchesFilter, type Topics } from "../contract/topics.ts";
import { Connection, type ConnectionOptions, reassert } from "../mqtt/connection.ts";
import type { SubscribeOptions } from "../mqtt/subscriptions.ts";
import type { MessageHandler, PublishOptions, PublishResult, Wire } from "../mqtt/wire.ts";

export interface WorkerConnectionOptions
  extends Omit<ConnectionOptions, "clientId" | "will" | "onUp" | "onDown" | "onTooLarge"> {
  id: string;
  topics: Topics;
  /** Tells people of something. */
  warn: (text: string) => void;
  /** Tells people of an error. */
  fail: (text: string) => void;
  /** Told that it is lost (`false`), or whole. */
  onLink: (connected: boolean) => void;
}

const MOST_OWED = 1_000;

/** A worker's connection, and a second one for what it subscribes to that has its own commands, or availability, in it. */
export class WorkerConnection implements Wire {
  readonly #connection: Connection;
  readonly #owed = new Map<string, { payload: string | Uint8Array; options: PublishOptions | undefined }>();
  /** On one connection, overlapping subscriptions could bring a message twice. */
  #listener: { connection: Connection; connected: Promise<void> } | undefined;

  constructor(private readonly options: WorkerConnectionOptions) {
    const { id, topics } = options;
    this.#connection = this.#create(id, { will: { topic: topics.availability(id), payload: "offline" } });
  }

  /** Whether what is published now goes out, and what is subscribed to comes in. */
  get connected(): boolean {
    return this.#connection.connected && this.#listener?.connection.connected !== false;
  }

  /** Fulfils when first connected, or when stopped before that. */
  start(): Promise<void> {
    return this.#connection.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#connection.stop(), this.#listener?.connection.stop()]);
  }

  publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<PublishResult> {
    this.#owed.delete(topic);
    return this.#connection.publish(topic, payload, options);
  }

  /**
   * As `publish`, for what a stop says: while the broker is away, the last word of each topic is kept, and goes out once it is
   * back, unless something else was said there since.
   */
  async publishSurely(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<PublishResult> {
    const result = await this.publish(topic, payload, options);
    if (result === "dropped" && !this.#connection.connected && this.#owed.size < MOST_OWED)
      this.#owed.set(topic, { payload, options });
    return result;
  }

  #payOwed(): void {
    const owed = [...this.#owed];
    this.#owed.clear();
    for (const [topic, { payload, options }] of owed) void this.publishSurely(topic, payload, options);
  }

  async subscribe(filter: string, handler: MessageHandler): Promise<() => void> {
    const { id, topics } = this.options;
    const own = [topics.command(id), topics.broadcast, topics.availability(id)];
    if (!own.some((topic) => matchesFilter(filter, topic))) return this.#connection.subscribe(filter, handler);
    this.#listener ??= this.#listen();
    const unsubscribe = await this.#listener.connection.subscribe(filter, handler);
    await this.#listener.connected;
    return unsubscribe;
  }

  /** Subscribes to what this worker is told to do. */
  async subscribeOwn(topic: string, handler: MessageHandler, options: SubscribeOptions = {}): Promise<void> {
    await this.#connection.subscribe(topic, handler, { ...options, alone: true });
  }

  /** Lets nobody else's `offline` stand for this worker's, nor that somebody cleared what it retains. */
  async reassertAvailability(): Promise<void> {
    const { id, topics, clock } = this.options;
    const beside = [topics.state(id), topics.description(id)];
    await reassert({ availability: topics.availability(id), beside, connection: this.#connection, clock });
  }

  #listen(): { connection: Connection; connected: Promise<void> } {
    const connection = this.#create(`${this.options.id}-listener`);
    return { connection, connected: connection.start() };
  }

  #create(name: string, will: Pick<ConnectionOptions, "will"> = {}): Connection {
    const { id, topics, log, warn, fail, onLink } = this.options;
    const connection = new Connection({
      ...this.options,
      ...will,
      clientId: `${topics.prefix.replaceAll("/", "-")}-${name}`,
      onUp: () => {
        const dropped = connection.takeDropped();
        if (dropped > 0) warn(`${dropped} messages were dropped while the broker was away`);
        if (connection === this.#connection) this.#payOwed();
        if (this.connected) onLink(true);
      },
      // That the broker is away is told by the host, once for all.
      onDown: ({ refused, text }, told) => {
        if (told === "new") log[refused ? "warn" : "debug"](text);
        onLink(false);
      },
      // What is too large for the topic of errors can't be told there.
      onTooLarge: (topic, text) => (topic === topics.status(id, "error") ? log.error(text) : fail(text)),
      onOverflow: (count) => warn(`${count} messages were dropped: they came faster than the broker takes them`),
    });
    return connection;
  }
}
