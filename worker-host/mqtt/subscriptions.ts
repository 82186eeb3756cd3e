import type { MqttClient } from "mqtt";
import type { Logger } from "pino";
import type { Clock } from "../base/clock.ts";
import { describeError } from "../contract/errors.ts";
import { matchesFilter } from "../contract/topics.ts";
import type { PacketLimit } from "./packet-limit.ts";
import type { Message, MessageHandler } from "./wire.ts";

/** How long a broker has, after it granted a subscription, to send what it retains. */
const RETAINED_MS = 2_000;

/**
 * One of those who share a subscription. A broker sends what it retains again for each that comes, and doesn't say for
 * whom: who is not new has it already.
 */
class Listener {
  /** When the broker answered its subscription, in ms since 1970. */
  #answeredAt: number | undefined;
  /** The topics whose retained messages it had while it is new. */
  readonly #told = new Set<string>();
  #ended = false;

  /** @param retainAsPublished the retain flag of a message doesn't say that it was retained before */
  constructor(
    readonly handler: MessageHandler,
    private readonly clock: Clock,
    private readonly retainAsPublished = false,
  ) {}

  /** It is new: on each connection, what is retained may be something else. */
  begin(): void {
    this.#answeredAt = undefined;
    this.#told.clear();
  }

  /** The broker has answered its subscription, now or before. */
  answered(): void {
    this.#answeredAt ??= this.clock.monotonic();
  }

  end(): void {
    this.#ended = true;
  }

  /** What the broker retains may still be on its way to it. */
  get isNew(): boolean {
    return this.#answeredAt === undefined || this.clock.monotonic() - this.#answeredAt < RETAINED_MS;
  }

  /**
   * Whether it is to have that message: what is retained it has once.
   *
   * @param forNew it came because of those who are new
   */
  wants({ topic, retain }: Message, forNew: boolean): boolean {
    if (this.#ended || this.retainAsPublished) return !this.#ended;
    const { isNew } = this;
    if (!isNew) this.#told.clear();
    if (!retain) return true;
    if ((forNew && !isNew) || this.#told.has(topic)) return false;
    if (isNew) this.#told.add(topic);
    return true;
  }
}

export interface SubscribeOptions {
  /** MQTT 5, 3.8.3.1: `message.retain` tells of every message that was published with the retain flag, live ones too. */
  retainAsPublished?: boolean;
  /** No other filter of this connection matches its topic: its messages need no identifier, which takes time to read. */
  alone?: boolean;
}

interface Subscription extends SubscribeOptions {
  /** It has no wildcard. */
  exact: boolean;
  /** MQTT 5, 3.8.2.1.2: comes with each message that is sent because of it. */
  identifier: number | undefined;
  listeners: Set<Listener>;
  /** Why the broker was not asked for it the last time. */
  fault?: string;
}

interface SubscriptionsOptions {
  log: Logger;
  clock: Clock;
  /** The one that is connected. */
  client: () => MqttClient | undefined;
  version: () => 5 | 4;
  limit: PacketLimit;
  /** Given a filter that is too large for the broker, and what to say. */
  onTooLarge?: (filter: string, text: string) => void;
}

/** Of those that have no wildcard: a topic matches one of them at most. */
const EXACT = 1;

/** What a connection is subscribed to, at QoS 1 at most, over its reconnects. */
export class Subscriptions {
  readonly #known = new Map<string, Subscription>();
  readonly #ungranted = new Map<string, Subscription>();
  #granting: Promise<void> | undefined;
  #lastIdentifier = EXACT;
  /** The broker says to which subscription a message goes. */
  #identified = false;

  constructor(private readonly options: SubscriptionsOptions) {}

  /** Fulfils when the broker has granted it, or at once while there is no connection; gives what ends it. */
  async add(filter: string, handler: MessageHandler, options: SubscribeOptions): Promise<() => void> {
    const subscription = this.#known.get(filter) ?? this.#create(filter, options);
    const listener = new Listener(handler, this.options.clock, subscription.retainAsPublished);
    subscription.listeners.add(listener);
    this.#known.set(filter, subscription);
    // Though it is known: a broker sends what it retains with each SUBSCRIBE.
    await this.#grantSoon(filter, subscription);
    return () => {
      listener.end();
      subscription.listeners.delete(listener);
      if (subscription.listeners.size > 0 || this.#known.get(filter) !== subscription) return;
      this.#known.delete(filter);
      if (subscription.fault === undefined) this.options.client()?.unsubscribe(filter);
    };
  }

  #create(filter: string, options: SubscribeOptions): Subscription {
    // A filter of a group matches the topics of what stands behind that.
    const exact = !/[+#]|^\$share\//.test(filter);
    const identifier = options.alone ? undefined : exact ? EXACT : ++this.#lastIdentifier;
    return { ...options, exact, identifier, listeners: new Set() };
  }

  /**
   * Asks for all of them on a new connection.
   *
   * @param identified the broker takes identifiers of subscriptions
   */
  restore(client: MqttClient, identified: boolean): Promise<void> {
    this.#identified = identified;
    for (const { listeners } of this.#known.values()) for (const listener of listeners) listener.begin();
    return this.#grant(client, this.#known);
  }

  /** @param identifiers those of the subscriptions because of which it was sent; all that match if not given */
  receive(message: Message, identifiers?: readonly number[]): void {
    const listeners: Listener[] = [];
    for (const [filter, { exact, identifier, listeners: all }] of this.#known) {
      if (identifiers && (identifier === undefined || !identifiers.includes(identifier))) continue;
      if (exact ? filter === message.topic : matchesFilter(filter, message.topic)) listeners.push(...all);
    }
    // What is retained is for those who have just come; if it comes later than that, for all.
    const forNew = message.retain && listeners.some((listener) => listener.isNew);
    for (const listener of listeners) {
      if (listener.wants(message, forNew)) this.#hand(message, listener.handler);
    }
  }

  /** mqtt.js would take nothing any more after an error in here. */
  #hand(message: Message, handler: MessageHandler): void {
    try {
      handler(message);
    } catch (error) {
      this.options.log.error({ err: error }, `a message on ${message.topic} could not be taken`);
    }
  }

  /** One SUBSCRIBE for all that is asked for in one go; while there is no connection, the next one brings it. */
  #grantSoon(filter: string, subscription: Subscription): Promise<void> {
    const { client } = this.options;
    if (!client()) return Promise.resolve();
    this.#ungranted.set(filter, subscription);
    this.#granting ??= Promise.resolve().then(() => {
      const wanted = new Map(this.#ungranted);
      this.#ungranted.clear();
      this.#granting = undefined;
      const connected = client();
      return connected ? this.#grant(connected, wanted) : undefined;
    });
    return this.#granting;
  }

  async #grant(client: MqttClient, subscriptions: ReadonlyMap<string, Subscription>): Promise<void> {
    // An identifier is one of a whole SUBSCRIBE.
    const groups = new Map<number | undefined, [filter: string, Subscription][]>();
    for (const each of subscriptions) {
      const identifier = this.#identified ? each[1].identifier : undefined;
      if (this.#refuses(...each, identifier)) continue;
      const group = groups.get(identifier) ?? [];
      group.push(each);
      groups.set(identifier, group);
    }
    const asked = [...groups].flatMap(([identifier, group]) =>
      this.options.limit.portions(group, ([filter]) => filter).map((part) => this.#ask(client, part, identifier)),
    );
    await Promise.all(asked);
  }

  /** Tells of a filter that is too large for the broker, once. */
  #refuses(filter: string, subscription: Subscription, identifier: number | undefined): boolean {
    const { limit, version, onTooLarge } = this.options;
    const fault = limit.faultOfFilter(filter, version(), identifier);
    if (fault === undefined) {
      delete subscription.fault;
      return false;
    }
    for (const listener of subscription.listeners) listener.answered();
    if (subscription.fault !== fault) onTooLarge?.(filter, fault);
    subscription.fault = fault;
    return true;
  }

  async #ask(client: MqttClient, subscriptions: [filter: string, Subscription][], identifier?: number): Promise<void> {
    const asking = subscriptions.flatMap(([, { listeners }]) => [...listeners]);
    const wanted = Object.fromEntries(
      subscriptions.map(([filter, { retainAsPublished: rap = false }]) => [filter, { qos: 1 as const, rap }]),
    );
    const properties = identifier === undefined ? {} : { properties: { subscriptionIdentifier: identifier } };
    const { limit } = this.options;
    const [[only] = [""], ...others] = subscriptions;
    if (others.length === 0) limit.sent("subscription", only, only);
    try {
      await client.subscribeAsync(wanted, { qos: 1, ...properties });
      limit.acknowledged("subscription", only, only);
    } catch (error) {
      this.options.log.warn(
        `can't subscribe to ${subscriptions.map(([filter]) => filter).join(", ")}: ${describeError(error)}`,
      );
    }
    for (const listener of asking) listener.answered();
  }
}
