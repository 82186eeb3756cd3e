import type { MqttClient } from "mqtt";
import type { Logger } from "pino";
import { describeError } from "../contract/errors.ts";
import { matchesFilter } from "../contract/topics.ts";
import type { Clock } from "./clock.ts";
import { Listener } from "./listener.ts";
import type { Message, MessageHandler } from "./wire.ts";

export interface SubscribeOptions {
  /** MQTT 5, 3.8.3.1: `message.retain` tells of every message that was published with the retain flag, live ones too. */
  retainAsPublished?: boolean;
}

interface Subscription extends SubscribeOptions {
  /** It has no wildcard. */
  exact: boolean;
  listeners: Set<Listener>;
}

export interface SubscriptionsOptions {
  log: Logger;
  clock: Clock;
  /** The one that is connected. */
  client: () => MqttClient | undefined;
}

/** What a connection is subscribed to, at QoS 1 at most, over its reconnects. */
export class Subscriptions {
  readonly #known = new Map<string, Subscription>();
  readonly #ungranted = new Map<string, Subscription>();
  #granting: Promise<void> | undefined;

  constructor(private readonly options: SubscriptionsOptions) {}

  /** Fulfils when the broker has granted it, or at once while there is no connection; gives what ends it. */
  async add(filter: string, handler: MessageHandler, options: SubscribeOptions): Promise<() => void> {
    const known = this.#known.get(filter);
    const subscription = known ?? { ...options, exact: !/[+#]/.test(filter), listeners: new Set() };
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
      this.options.client()?.unsubscribe(filter);
    };
  }

  /** Asks for all of them on a new connection. */
  restore(client: MqttClient): Promise<void> {
    for (const { listeners } of this.#known.values()) for (const listener of listeners) listener.begin();
    return this.#grant(client, this.#known);
  }

  receive(message: Message): void {
    const listeners: Listener[] = [];
    for (const [filter, { exact, listeners: all }] of this.#known) {
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
    if (subscriptions.size === 0) return;
    const asking = [...subscriptions.values()].flatMap(({ listeners }) => [...listeners]);
    const wanted = Object.fromEntries(
      [...subscriptions].map(([filter, { retainAsPublished: rap = false }]) => [filter, { qos: 1 as const, rap }]),
    );
    try {
      await client.subscribeAsync(wanted);
    } catch (error) {
      this.options.log.warn(`can't subscribe to ${[...subscriptions.keys()].join(", ")}: ${describeError(error)}`);
    }
    for (const listener of asking) listener.answered();
  }
}
