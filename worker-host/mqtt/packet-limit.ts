import type { Clock } from "../base/clock.ts";
import type { PublishOptions } from "./wire.ts";

/** What goes out in a packet of its own, and how long its payload, or its filter, is. */
interface Large {
  kind: "message" | "subscription";
  /** Its topic, or its filter. */
  topic: string;
  bytes: number;
}

/** Brokers take smaller packets than this one always. */
const LARGE_BYTES = 1_024;
/** What is in a SUBSCRIBE beside the filters: type and length, packet id, and an identifier. */
const LONGEST_SUBSCRIBE_HEAD = 5 + 2 + 6;
/** A broker that cuts a connection because of a message does so within this time. */
const BLAMED_MS = 5_000;
/** How many topics are kept that a broker takes no large message on. */
const MOST_LEARNED = 1_000;

/**
 * The longest packet that a broker takes. MQTT 5 announces it, and of our own broker it is known. Of any other broker it is learned: the broker cuts the
 * connection at a packet that is too long, so the largest message that was under way at two cuts in a row is to blame.
 */
export class PacketLimit {
  /** In bytes, of a whole packet. */
  #announced: number | undefined;
  #suspect: Large | undefined;
  #accused: Large | undefined;
  /** The size of what its broker did not take, by kind and topic. */
  readonly #learned = new Map<string, number>();
  #cancel = () => {};

  constructor(private readonly clock: Clock) {}

  /** A connection has come up. */
  connected(announced: number | undefined): void {
    this.#announced = announced;
  }

  /** A connection has lasted: what was under way before was not to blame. */
  lasted(): void {
    this.#accused = undefined;
  }

  /** Why a message is too large for the broker, in words; `undefined` where it may be sent. */
  fault(topic: string, payload: string | Uint8Array, options: PublishOptions, version: 5 | 4): string | undefined {
    if (this.#announced !== undefined) {
      // A character has three bytes at most; what else is in a packet, beside the topic, is far shorter than 64 kB.
      if (3 * (payload.length + topic.length) + 256 + (options.correlationData?.length ?? 0) <= this.#announced) return;
      const packet = packetBytes(topic, payload, options, version);
      return this.#exceeded({ kind: "message", topic, bytes: bytesOf(payload) }, packet);
    }
    if (this.#learned.size === 0) return;
    return this.#known({ kind: "message", topic, bytes: bytesOf(payload) });
  }

  /** Why a filter is too large for a SUBSCRIBE, in words; `undefined` where it may be sent. */
  faultOfFilter(filter: string, version: 5 | 4, identifier: number | undefined): string | undefined {
    const large: Large = { kind: "subscription", topic: filter, bytes: bytesOf(filter) };
    if (this.#announced === undefined) return this.#known(large);
    return this.#exceeded(large, subscribeBytes([filter], version, identifier));
  }

  /** Divides what is subscribed to, so that each part fits into one SUBSCRIBE, unless its only filter is too large. */
  portions<Each>(all: readonly Each[], filterOf: (each: Each) => string): Each[][] {
    const room = (this.#announced ?? LARGE_BYTES) - LONGEST_SUBSCRIBE_HEAD;
    const portions: Each[][] = [];
    let left = 0;
    for (const each of all) {
      const bytes = filterBytes(filterOf(each));
      if (bytes > left) {
        portions.push([]);
        left = room;
      }
      portions.at(-1)?.push(each);
      left -= bytes;
    }
    return portions;
  }

  #exceeded(large: Large, packet: number): string | undefined {
    if (this.#announced === undefined || packet <= this.#announced) return undefined;
    return `${say(large)} was not sent: it makes a packet of ${packet} bytes, and the broker takes ${this.#announced} at most`;
  }

  #known(large: Large): string | undefined {
    const tooMuch = this.#learned.get(keyOf(large));
    if (tooMuch === undefined || large.bytes < tooMuch) return undefined;
    return `${say(large)} was not sent: the broker cut the connection at one of ${tooMuch} bytes, twice`;
  }

  /** A message, or a subscription to one filter, is on its way. */
  sent(kind: Large["kind"], topic: string, content: string | Uint8Array): void {
    if (content.length < LARGE_BYTES) return;
    const bytes = bytesOf(content);
    if (this.#suspect && this.#suspect.bytes > bytes) return;
    this.#cancel();
    this.#suspect = { kind, topic, bytes };
    this.#cancel = this.clock.after(BLAMED_MS, () => this.#acquit());
  }

  /** The broker has acknowledged it. */
  acknowledged(kind: Large["kind"], topic: string, content: string | Uint8Array): void {
    if (content.length >= LARGE_BYTES && this.#suspect?.topic === topic && this.#suspect.kind === kind) this.#acquit();
  }

  /** The connection is lost. Gives what is to blame, and what to say of it. */
  cut(): (Pick<Large, "kind" | "topic"> & { text: string }) | undefined {
    const suspect = this.#suspect;
    const accused = this.#accused;
    this.#acquit();
    // Where the limit is known, the broker had another reason.
    if (this.#announced !== undefined) return undefined;
    this.#accused = suspect;
    if (!suspect || !accused || keyOf(suspect) !== keyOf(accused)) return undefined;
    this.#accused = undefined;
    if (this.#learned.size < MOST_LEARNED) this.#learned.set(keyOf(suspect), Math.min(suspect.bytes, accused.bytes));
    const text = `${say(suspect)} is dropped: the broker cut the connection twice as it came, which is what a broker does that takes no packet of that size`;
    return { kind: suspect.kind, topic: suspect.topic, text };
  }

  #acquit(): void {
    this.#cancel();
    this.#suspect = undefined;
  }
}

function keyOf({ kind, topic }: Large): string {
  return `${kind} ${topic}`;
}

function say({ kind, topic, bytes }: Large): string {
  const shown = topic.length > 200 ? `${topic.slice(0, 200)}…` : topic;
  return `the ${kind} to ${shown} of ${bytes} bytes`;
}

function bytesOf(text: string | Uint8Array): number {
  return typeof text === "string" ? Buffer.byteLength(text) : text.length;
}

/** MQTT 5, 3.3, and MQTT 3.1.1, 3.3: how long the PUBLISH is. */
function packetBytes(
  topic: string,
  payload: string | Uint8Array,
  { qos = 0, expiryS, correlationData }: PublishOptions,
  version: 5 | 4,
): number {
  const properties = (expiryS === undefined ? 0 : 5) + (correlationData === undefined ? 0 : 3 + correlationData.length);
  const ofVersion = version === 5 ? lengthBytes(properties) + properties : 0;
  const rest = 2 + bytesOf(topic) + (qos > 0 ? 2 : 0) + ofVersion + bytesOf(payload);
  return 1 + lengthBytes(rest) + rest;
}

/** MQTT 5, 3.8, and MQTT 3.1.1, 3.8: how long the SUBSCRIBE is. */
function subscribeBytes(filters: readonly string[], version: 5 | 4, identifier: number | undefined): number {
  const properties = identifier === undefined ? 0 : 1 + lengthBytes(identifier);
  const ofVersion = version === 5 ? 1 + properties : 0;
  const rest = 2 + ofVersion + filters.reduce((sum, filter) => sum + filterBytes(filter), 0);
  return 1 + lengthBytes(rest) + rest;
}

function filterBytes(filter: string): number {
  return 2 + bytesOf(filter) + 1;
}

/** MQTT 5, 1.5.5: a number as a variable byte integer has seven bits in each byte. */
function lengthBytes(length: number): number {
  return length < 128 ? 1 : length < 16_384 ? 2 : length < 2_097_152 ? 3 : 4;
}
