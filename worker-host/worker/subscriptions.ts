import type { MqttClient } from "mqtt";
import type { Logger } from "pino";
import { describeError } from "../contract/errors.ts";
import { matchesFilter } from "../contract/topics.ts";
import type { Message, MessageHandler } from "./wire.ts";

export interface SubscribeOptions {
  /** MQTT 5, 3.8.3.1: `message.retain` tells of every message that was published with the retain flag, live ones too. */
  retainAsPublished?: boolean;
}

interface Subscription extends SubscribeOptions {
  /** It has no wildcard. */
  exact: boolean;
  handlers: Set<MessageHandler>;
}

/** What a connection is subscribed to, at QoS 1 at most, over its reconnects. */
export class Subscriptions {
  readonly #known = new Map<string, Subscription>();
  readonly #ungranted = new Map<string, Subscription>();
  #granting: Promise<void> | undefined;

  /** @param client the one that is connected */
  constructor(
    private readonly log: Logger,
    private readonly client: () => MqttClient | undefined,
  ) {}

  /** Fulfils when the broker has granted it, or at once while there is no connection; gives what ends it. */
  async add(filter: string, handler: MessageHandler, options: SubscribeOptions): Promise<() => void> {
    const known = this.#known.get(filter);
    const subscription = known ?? { ...options, exact: !/[+#]/.test(filter), handlers: new Set() };
    subscription.handlers.add(handler);
    this.#known.set(filter, subscription);
    if (!known) await this.#grantSoon(filter, subscription);
    return () => {
      subscription.handlers.delete(handler);
      if (subscription.handlers.size > 0 || this.#known.get(filter) !== subscription) return;
      this.#known.delete(filter);
      this.client()?.unsubscribe(filter);
    };
  }

  /** Asks for all of them on a new connection. */
  restore(client: MqttClient): Promise<void> {
    return this.#grant(client, this.#known);
  }

  receive(message: Message): void {
    for (const [filter, { exact, handlers }] of this.#known) {
      if (exact ? filter !== message.topic : !matchesFilter(filter, message.topic)) continue;
      for (const handler of handlers) this.#hand(message, handler);
    }
  }

  /** mqtt.js would take nothing any more after an error in here. */
  #hand(message: Message, handler: MessageHandler): void {
    try {
      handler(message);
    } catch (error) {
      this.log.error({ err: error }, `a message on ${message.topic} could not be taken`);
    }
  }

  /** One SUBSCRIBE for all that is asked for in one go; while there is no connection, the next one brings it. */
  #grantSoon(filter: string, subscription: Subscription): Promise<void> {
    if (!this.client()) return Promise.resolve();
    this.#ungranted.set(filter, subscription);
    this.#granting ??= Promise.resolve().then(() => {
      const wanted = new Map(this.#ungranted);
      this.#ungranted.clear();
      this.#granting = undefined;
      const client = this.client();
      return client ? this.#grant(client, wanted) : undefined;
    });
    return this.#granting;
  }

  async #grant(client: MqttClient, subscriptions: ReadonlyMap<string, Subscription>): Promise<void> {
    if (subscriptions.size === 0) return;
    const wanted = Object.fromEntries(
      [...subscriptions].map(([filter, { retainAsPublished: rap = false }]) => [filter, { qos: 1 as const, rap }]),
    );
    try {
      await client.subscribeAsync(wanted);
    } catch (error) {
      this.log.warn(`can't subscribe to ${[...subscriptions.keys()].join(", ")}: ${describeError(error)}`);
    }
  }
}
