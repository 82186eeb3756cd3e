import type { Clock } from "../base/clock.ts";
import type { PublishOptions } from "./wire.ts";

/** A message that is being published, and how long it is. */
interface Large {
  topic: string;
  bytes: number;
}

/** Brokers take smaller messages than this one always. */
const LARGE_BYTES = 1_024;
/** A broker that cuts a connection because of a message does so within this time. */
const BLAMED_MS = 5_000;
/** How many topics are kept that a broker takes no large message on. */
const MOST_LEARNED = 1_000;

/**
 * The longest packet that a broker takes. MQTT 5 announces it. Of any other broker it is learned: the broker cuts the
 * connection at a packet that is too long, so the largest message that was under way at two cuts in a row is to blame.
 */
export class PacketLimit {
  /** In bytes, of a whole packet. */
  #announced: number | undefined;
  #suspect: Large | undefined;
  #accused: Large | undefined;
  /** The size of a message that its broker did not take, by topic. */
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
      if (packet <= this.#announced) return;
      return `${sayMessage({ topic, bytes: bytesOf(payload) })} was not sent: it makes a packet of ${packet} bytes, and the broker takes ${this.#announced} at most`;
    }
    if (this.#learned.size === 0) return;
    const tooMuch = this.#learned.get(topic);
    const bytes = tooMuch === undefined ? 0 : bytesOf(payload);
    if (tooMuch === undefined || bytes < tooMuch) return;
    return `${sayMessage({ topic, bytes })} was not sent: the broker cut the connection at one of ${tooMuch} bytes, twice`;
  }

  /** A message is on its way. */
  sent(topic: string, payload: string | Uint8Array): void {
    if (payload.length < LARGE_BYTES) return;
    const bytes = bytesOf(payload);
    if (this.#suspect && this.#suspect.bytes > bytes) return;
    this.#cancel();
    this.#suspect = { topic, bytes };
    this.#cancel = this.clock.after(BLAMED_MS, () => this.#acquit());
  }

  /** The broker has acknowledged a message. */
  acknowledged(topic: string, payload: string | Uint8Array): void {
    if (payload.length >= LARGE_BYTES && this.#suspect?.topic === topic) this.#acquit();
  }

  /** The connection is lost. Gives the topic of the message that is to blame, and what to say of it. */
  cut(): { topic: string; text: string } | undefined {
    const suspect = this.#suspect;
    const accused = this.#accused;
    this.#acquit();
    this.#accused = suspect;
    if (!suspect || suspect.topic !== accused?.topic) return undefined;
    this.#accused = undefined;
    if (this.#learned.size < MOST_LEARNED) this.#learned.set(suspect.topic, Math.min(suspect.bytes, accused.bytes));
    const text = `${sayMessage(suspect)} is dropped: the broker cut the connection twice as it came, which is what a broker does that takes no packet of that size`;
    return { topic: suspect.topic, text };
  }

  #acquit(): void {
    this.#cancel();
    this.#suspect = undefined;
  }
}

function sayMessage({ topic, bytes }: Large): string {
  return `the message to ${topic} of ${bytes} bytes`;
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

/** MQTT 5, 1.5.5: a number as a variable byte integer has seven bits in each byte. */
function lengthBytes(length: number): number {
  return length < 128 ? 1 : length < 16_384 ? 2 : length < 2_097_152 ? 3 : 4;
}
