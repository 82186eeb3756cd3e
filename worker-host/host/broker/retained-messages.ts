import { matchesFilter } from "../../contract/topics.ts";
import type { Refuse } from "./refusal-log.ts";

/** What aedes wants back of a retained message. */
export interface RetainedMessage {
  cmd: "publish";
  topic: string;
  payload: Buffer;
  qos: 0 | 1 | 2;
  retain: true;
}

export interface RetainedLimits {
  messages: number;
  bytes: number;
}

export const RETAINED_LIMITS: RetainedLimits = { messages: 50_000, bytes: 64 * 1024 * 1024 };

/** A payload of up to this size always replaces the one on its topic: a state doesn't go stale for want of room. */
const SMALL_BYTES = 1024;
/** After so many comparisons, a search lets other work run. */
const SEARCH_STEPS = 2000;

/** The retained messages, in memory, within limits. */
export class RetainedMessages {
  readonly #messages = new Map<string, RetainedMessage>();
  #bytes = 0;

  constructor(
    private readonly limits: RetainedLimits,
    private readonly refuse: Refuse,
  ) {}

  /** Keeps a message in place of the last one on its topic; an empty payload removes that. */
  store({ topic, payload, qos }: Pick<RetainedMessage, "topic" | "payload" | "qos">): void {
    const known = this.#messages.get(topic);
    if (known) this.#remove(known);
    if (payload.length === 0) return;
    if (this.#hasRoom(topic, payload, known))
      this.#add({ cmd: "publish", topic, payload: copy(payload), qos, retain: true });
    else this.#tell(topic);
  }

  /** Each message that one of the `filters` matches, once. */
  async *matching(filters: readonly string[]): AsyncGenerator<RetainedMessage> {
    const wild = filters.filter((filter) => /[+#]/.test(filter));
    for (const filter of new Set(filters)) {
      const message = this.#messages.get(filter);
      if (message && !wild.some((other) => matchesFilter(other, filter))) yield message;
    }
    let steps = 0;
    for (const message of wild.length > 0 ? this.#messages.values() : []) {
      if (wild.some((filter) => matchesFilter(filter, message.topic))) yield message;
      steps += wild.length;
      if (steps < SEARCH_STEPS) continue;
      steps = 0;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #hasRoom(topic: string, payload: Buffer, known: RetainedMessage | undefined): boolean {
    if (known && payload.length <= SMALL_BYTES) return true;
    const { messages, bytes } = this.limits;
    return this.#messages.size < messages && this.#bytes + topic.length + payload.length <= bytes;
  }

  #add(message: RetainedMessage): void {
    this.#messages.set(message.topic, message);
    this.#bytes += message.topic.length + message.payload.length;
  }

  #remove({ topic, payload }: RetainedMessage): void {
    this.#messages.delete(topic);
    this.#bytes -= topic.length + payload.length;
  }

  #tell(topic: string): void {
    const { messages, bytes } = this.limits;
    this.refuse(
      "retained",
      `a retained message on ${JSON.stringify(topic.slice(0, 100))} was passed on but not kept: the embedded broker has ` +
        `${this.#messages.size} of at most ${messages} retained messages, and ${this.#bytes} of ${bytes} bytes. ` +
        "Find what publishes so many, or use mosquitto",
    );
  }
}

/** A payload from a socket is a view into all that was read with it; the copy lets that go. */
function copy(payload: Buffer): Buffer {
  const alone = Buffer.alloc(payload.length);
  payload.copy(alone);
  return alone;
}
