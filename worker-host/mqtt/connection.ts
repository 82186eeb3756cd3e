import type { MqttClient } from "mqtt";
import type { Logger } from "pino";
import { backoffMs, type Clock } from "../base/clock.ts";
import { type Counts, noCounts } from "../base/counts.ts";
import { LASTING_MS, MAX_SENDING_BYTES, MOST_SENDING, RECONNECT_MAX_MS, RECONNECT_MIN_MS } from "../contract/limits.ts";
import { decodeText } from "../contract/payload.ts";
import {
  asBuffer,
  type ClientError,
  type ClientOptions,
  type ConnectGate,
  type ConnectionProblem,
  createClient,
  explainDisconnect,
  explainError,
  identifiersOf,
  propertiesOf,
  refusesVersion,
  requestOf,
  takesIdentifiers,
} from "./mqtt-client.ts";
import { PacketLimit } from "./packet-limit.ts";
import { type SubscribeOptions, Subscriptions } from "./subscriptions.ts";
import type { MessageHandler, PublishOptions, PublishResult } from "./wire.ts";

/** Bounds what a connection has on its way: a broker that takes less than is said must not cost all memory. */
class Outgoing {
  #bytes = 0;
  #messages = 0;
  #whenRoom: (() => void) | undefined;

  /** Takes a message on its way, unless there are too many; what it gives is to be called when it has arrived. */
  enter(payload: string | Uint8Array): (() => void) | undefined {
    if (this.#bytes >= MAX_SENDING_BYTES || this.#messages >= MOST_SENDING) return undefined;
    const { length } = payload;
    this.#bytes += length;
    this.#messages++;
    return () => {
      this.#bytes -= length;
      this.#messages--;
      this.#check();
    };
  }

  /** Calls `callback` once, when half of the room is free, in the place of the one before. */
  whenRoom(callback: () => void): void {
    this.#whenRoom = callback;
  }

  #check(): void {
    if (this.#bytes > MAX_SENDING_BYTES / 2 || this.#messages > MOST_SENDING / 2) return;
    const callback = this.#whenRoom;
    this.#whenRoom = undefined;
    callback?.();
  }
}

export interface ConnectionOptions extends ClientOptions {
  log: Logger;
  gate: ConnectGate;
  onUp?: () => void;
  /** Called each time that the connection is lost, and where it can't be had for a reason that was not told. */
  onDown?: (problem: ConnectionProblem, told: Told) => void;
  /** Given what the broker is not sent, or not again, since it is too large: the topic or the filter, and what to say. */
  onTooLarge?: (topic: string, text: string) => void;
  /** Told how many messages were dropped because they came faster than the broker takes them, when it takes more. */
  onOverflow?: (dropped: number) => void;
  /** Where its messages are counted. */
  counts?: Counts;
}

/** Whether a problem was told since a connection last held. */
export type Told = "new" | "told before";

export interface SendOptions extends PublishOptions {
  /** Not published again by a reconnect though it is retained: it may be true no longer. */
  once?: boolean;
}

/** So many connections in a row that did not hold are no accident. */
const UNSTABLE = 2;

/** MQTT 5, 3.4.2.1 */
const NO_MATCHING_SUBSCRIBERS = 0x10;

/**
 * One MQTT connection, made again and again until it is stopped.
 *
 * Each connect gets a client and a session of its own, so that nothing sent before is sent again; what a reconnect
 * restores are the subscriptions and the last retained values. While the connection is away nothing is queued: retained
 * values, and topics to be cleared, are remembered, all else is dropped and counted.
 */
export class Connection {
  #client: MqttClient | undefined;
  #protocolVersion: 5 | 4;
  #up = false;
  #stopped = false;
  /** The problems that were told since a connection held. */
  readonly #told = new Set<string>();
  /** How many connections in a row came up and did not hold. */
  #cuts = 0;
  #failures = 0;
  readonly #limit: PacketLimit;
  /** Messages that were found too large, to be told of on the next connection. */
  readonly #culprits: { topic: string; text: string }[] = [];
  #dropped = 0;
  readonly #counts: Counts;
  #outgoing = new Outgoing();
  /** How many messages were dropped since there was no room for them. */
  #overflown = 0;
  /** The topics whose retained value is yet to go out. */
  readonly #late = new Set<string>();
  #loop: Promise<void> | undefined;
  #wake = () => {};
  readonly #subscriptions: Subscriptions;
  /** The packet ids of messages that a broker took, having nobody to give them to. */
  readonly #unheard = new Set<number | undefined>();
  /** The last values; an empty one until it has gone out. */
  readonly #retained = new Map<string, { payload: string | Uint8Array; qos: 0 | 1 | 2 }>();

  constructor(private readonly options: ConnectionOptions) {
    this.#protocolVersion = options.broker.protocolVersion;
    this.#limit = new PacketLimit(options.clock);
    this.#counts = options.counts ?? noCounts();
    this.#subscriptions = new Subscriptions({
      ...options,
      client: () => (this.#up ? this.#client : undefined),
      version: () => this.#protocolVersion,
      limit: this.#limit,
    });
  }

  /** Whether what is published now goes out. */
  get connected(): boolean {
    return this.#up;
  }

  /** The MQTT that the broker was last found to speak. */
  get protocolVersion(): 5 | 4 {
    return this.#protocolVersion;
  }

  /** How many messages were dropped since this was last asked. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  /** Begins to connect, with the MQTT that the broker is known to speak; fulfils when first connected, or stopped. */
  start(protocolVersion = this.#protocolVersion): Promise<void> {
    this.#protocolVersion = protocolVersion;
    return new Promise((resolve) => {
      this.#loop = this.#run(resolve).finally(resolve);
    });
  }

  /** Disconnects in order, after what was published has gone out: the will doesn't fire. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    const client = this.#client;
    const force = !this.#up;
    this.#up = false;
    if (client) await new Promise<void>((resolve) => client.end(force, {}, () => resolve()));
    await this.#loop;
  }

  /** Never rejects: what becomes of the message is in the result. */
  publish(topic: string, payload: string | Uint8Array, options: SendOptions = {}): Promise<PublishResult> {
    const { qos = 0, retain = false, once = false } = options;
    if (this.#refuses(topic, payload, options)) return Promise.resolve("dropped");
    if (retain && !once) this.#remember(topic, payload, qos);
    const client = this.#client;
    if (!client || !this.#up) {
      if (!retain) this.#drop();
      return Promise.resolve("dropped");
    }
    return this.#send(client, topic, payload, options);
  }

  /** Tells of a message that is too large for the broker. */
  #refuses(topic: string, payload: string | Uint8Array, options: SendOptions): boolean {
    const fault = this.#limit.fault(topic, payload, options, this.#protocolVersion);
    if (fault === undefined) return false;
    this.#counts.dropped++;
    this.options.onTooLarge?.(topic, fault);
    return true;
  }

  #drop(): void {
    this.#dropped++;
    this.#counts.dropped++;
  }

  #remember(topic: string, payload: string | Uint8Array, qos: 0 | 1 | 2): void {
    // Taken out first, so that a reconnect asserts the values in the order in which they were last set.
    this.#retained.delete(topic);
    this.#retained.set(topic, { payload, qos });
  }

  #send(client: MqttClient, topic: string, payload: string | Uint8Array, options: SendOptions): Promise<PublishResult> {
    const { qos = 0, retain = false, once = false } = options;
    const clearing = retain && !once && payload.length === 0 ? this.#retained.get(topic) : undefined;
    const arrived = this.#outgoing.enter(payload);
    if (!arrived) return Promise.resolve(this.#overflow(client, topic, options));
    this.#limit.sent("message", topic, payload);
    const properties = this.#protocolVersion === 5 ? propertiesOf(options) : {};
    return new Promise((resolve) => {
      client.publish(topic, asBuffer(payload), { qos, retain, ...properties }, (error, packet) => {
        arrived();
        if (error) {
          this.options.log.warn(`the message to ${topic} was not acknowledged: ${error.message}`);
          this.#drop();
          resolve("dropped");
        } else {
          this.#counts.sent++;
          if (qos > 0) this.#limit.acknowledged("message", topic, payload);
          if (this.#retained.get(topic) === clearing) this.#retained.delete(topic);
          resolve(packet && this.#unheard.delete(packet.messageId) ? "unheard" : "sent");
        }
      });
    });
  }

  /** What can't go out now is dropped; of a retained topic, the last value goes out later. */
  #overflow(client: MqttClient, topic: string, { retain = false, once = false }: SendOptions): PublishResult {
    if (this.#overflown === 0 && this.#late.size === 0) this.#outgoing.whenRoom(() => this.#catchUp(client));
    const later = retain && !once;
    if (later) this.#late.add(topic);
    else this.#overflown++;
    if (!later) this.#counts.dropped++;
    return later ? "sent" : "dropped";
  }

  #catchUp(client: MqttClient): void {
    if (this.#client !== client) return;
    if (this.#overflown > 0) this.options.onOverflow?.(this.#overflown);
    this.#overflown = 0;
    const topics = [...this.#late];
    this.#late.clear();
    for (const topic of topics) {
      const value = this.#retained.get(topic);
      if (value) void this.#send(client, topic, value.payload, { qos: value.qos, retain: true });
    }
  }

  /** What was last published to `topic` with the retain flag; `undefined` where that cleared it. */
  retained(topic: string): string | Uint8Array | undefined {
    const payload = this.#retained.get(topic)?.payload;
    return payload?.length ? payload : undefined;
  }

  /**
   * Calls `handler` for each message that matches `filter`, at QoS 1 at most, now and after every reconnect, until the
   * function that it gives is called. Fulfils when the broker has granted it, or at once while there is no connection.
   */
  subscribe(filter: string, handler: MessageHandler, options: SubscribeOptions = {}): Promise<() => void> {
    return this.#subscriptions.add(filter, handler, options);
  }

  async #run(onFirstUp: () => void): Promise<void> {
    while (!this.#stopped) {
      const triedVersion = this.#protocolVersion;
      await this.#connectOnce(onFirstUp);
      if (this.#stopped) return;
      if (triedVersion !== this.#protocolVersion) continue;
      const ceiling = backoffMs(this.#failures, RECONNECT_MIN_MS, RECONNECT_MAX_MS);
      this.#failures++;
      await this.#pause(ceiling * (0.5 + this.options.random() / 2));
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.options.clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  /** One client's whole life. */
  async #connectOnce(onFirstUp: () => void): Promise<void> {
    const leave = await this.options.gate.enter((giveUp) => {
      this.#wake = giveUp;
    });
    if (this.#stopped) {
      leave();
      return;
    }
    const triedVersion = this.#protocolVersion;
    return new Promise((resolve) => {
      const client = createClient(this.options, triedVersion);
      this.#client = client;
      this.#outgoing = new Outgoing();
      this.#late.clear();
      this.#dropped += this.#overflown;
      this.#overflown = 0;
      let problem: ConnectionProblem | undefined;
      let wasUp = false;
      let stopWaiting = () => {};
      client.on("message", (topic, payload, packet) => {
        this.#counts.received++;
        const { qos, retain } = packet;
        this.#subscriptions.receive({ topic, payload, qos, retain, ...requestOf(packet) }, identifiersOf(packet));
      });
      client.on("packetreceive", (packet) => {
        if (packet.cmd === "puback" && packet.reasonCode === NO_MATCHING_SUBSCRIBERS)
          this.#unheard.add(packet.messageId);
      });
      client.on("error", (error: ClientError) => {
        if (refusesVersion(error) && triedVersion === 5) this.#protocolVersion = 4;
        else problem = explainError(error, this.options.broker);
      });
      client.on("connect", (connack) => {
        leave();
        wasUp = true;
        this.#up = true;
        this.#limit.connected(connack.properties?.maximumPacketSize ?? this.options.broker.maxPacketBytes);
        stopWaiting = this.options.clock.after(LASTING_MS, () => this.#lasted());
        this.#restore(client, takesIdentifiers(connack, triedVersion)).then(onFirstUp, (error: unknown) =>
          this.options.log.error({ err: error }, "connecting failed"),
        );
      });
      client.on("disconnect", ({ reasonCode }) => {
        problem = explainDisconnect(reasonCode, this.options.broker);
      });
      client.once("close", () => {
        leave();
        stopWaiting();
        this.#up = false;
        this.#client = undefined;
        this.#unheard.clear();
        // Tells what was in flight that it is lost; the client is never used again.
        client.end(true);
        if (!this.#stopped && triedVersion === this.#protocolVersion)
          this.#down(problem ?? { refused: false, text: "the connection was closed" }, wasUp);
        resolve();
      });
    });
  }

  async #restore(client: MqttClient, identified: boolean): Promise<void> {
    const before = [...this.#retained];
    await this.#subscriptions.restore(client, identified);
    if (this.#client !== client || !client.connected) return;
    for (const [topic, value] of before) {
      // What was set since has gone out already.
      if (this.#retained.get(topic) !== value) continue;
      if (this.#refuses(topic, value.payload, { qos: value.qos })) this.#retained.delete(topic);
      else void this.#send(client, topic, value.payload, { qos: value.qos, retain: true });
    }
    this.options.onUp?.();
    for (const { topic, text } of this.#culprits.splice(0)) this.options.onTooLarge?.(topic, text);
  }

  /** A connection has held. */
  #lasted(): void {
    this.#failures = 0;
    this.#cuts = 0;
    this.#told.clear();
    this.#limit.lasted();
  }

  #down(problem: ConnectionProblem, wasUp: boolean): void {
    if (wasUp) this.#lost();
    const unstable = wasUp && this.#cuts >= UNSTABLE && !problem.refused;
    const again = `the broker cuts it again and again, less than ${LASTING_MS / 1000} s after it was made`;
    const told = unstable ? { refused: true, text: `${problem.text}; ${again}` } : problem;
    // How each of the connections ended varies, and is no news.
    const reason = unstable ? again : told.text;
    const isNew = !this.#told.has(reason);
    this.#told.add(reason);
    if (wasUp || isNew) this.options.onDown?.(told, isNew ? "new" : "told before");
  }

  #lost(): void {
    this.#cuts++;
    const culprit = this.#limit.cut();
    // Of a subscription tells who restores it.
    if (culprit?.kind !== "message") return;
    this.#retained.delete(culprit.topic);
    this.#culprits.push(culprit);
  }
}

interface ReassertOptions {
  /** The topic of the connection's availability. */
  availability: string;
  /** What else it retains that is cleared by who clears its availability. */
  beside: readonly string[];
  connection: Connection;
  clock: Clock;
}

/** How long somebody who clears topics has to come to the last of them. */
const CLEARING_MS = 1_000;

/**
 * Says on the topic of a connection's availability what it said last, when somebody says `offline` there in its name: a
 * broker finds out late that a connection is dead, and then publishes the will of one that has long been replaced. A
 * board that had the same id clears the topic, and others, when it takes another id: then all are said again.
 */
export async function reassert({ availability, beside, connection, clock }: ReassertOptions): Promise<void> {
  // A broker may hand out the same message twice, where subscriptions overlap.
  let saying = false;
  let clearing = false;
  const sayBeside = () => {
    clearing = false;
    for (const topic of beside) {
      const said = connection.retained(topic);
      if (said !== undefined) void connection.publish(topic, said, { qos: 1, retain: true });
    }
  };
  await connection.subscribe(availability, ({ payload, retain }) => {
    const said = connection.retained(availability);
    const heard = decodeText(payload);
    if (heard === said) saying = false;
    if (retain || saying || said === undefined || said === "offline") return;
    if (heard !== "offline" && heard !== "") return;
    saying = true;
    void connection.publish(availability, said, { qos: 1, retain: true }).then((result) => {
      if (result === "dropped") saying = false;
    });
    if (heard !== "" || clearing) return;
    clearing = true;
    clock.after(CLEARING_MS, sayBeside);
  });
}
