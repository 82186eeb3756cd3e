import { Readable } from "node:stream";
import mqemitter from "mqemitter";
import { matchesFilter } from "../../contract/topics.ts";
import { SMALL_RETAINED_BYTES } from "../limits.ts";
import type { Refuse } from "./broker-limits.ts";

interface Session {
  id: string;
}

interface Numbered {
  messageId: number;
}

/**
 * What aedes keeps, as its "persistence" (github.com/moscajs/aedes-persistence). All sessions end with their connection,
 * so there is no queue for a client that is away: of sessions it keeps the numbers of messages at QoS 2 that are under
 * way, whose number per client aedes limits.
 */
export class BrokerMemory {
  readonly #received = new Map<string, Set<number>>();

  constructor(private readonly retained: RetainedMessages) {}

  // aedes wants an async function here.
  async setup(): Promise<void> {}

  async storeRetained(message: RetainedMessage): Promise<void> {
    this.retained.store(message);
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.retained.matching(filters));
  }

  async incomingStorePacket({ id }: Session, { messageId }: Numbered): Promise<void> {
    const known = this.#received.get(id);
    if (known) known.add(messageId);
    else this.#received.set(id, new Set([messageId]));
  }

  /** @throws Error where no message of this number is under way */
  async incomingGetPacket({ id }: Session, { messageId }: Numbered): Promise<Numbered> {
    if (!this.#received.get(id)?.has(messageId)) throw new Error("no such packet");
    return { messageId };
  }

  /** @throws Error where no message of this number is under way */
  async incomingDelPacket({ id }: Session, { messageId }: Numbered): Promise<void> {
    if (!this.#received.get(id)?.delete(messageId)) throw new Error("no such packet");
  }

  async cleanIncoming({ id }: Session): Promise<void> {
    this.#received.delete(id);
  }

  // No session outlives its connection: no message waits for a client, and no subscription is restored.

  async cleanSubscriptions(): Promise<void> {}

  async subscriptionsByTopic(): Promise<[]> {
    return [];
  }

  async outgoingEnqueueCombi(): Promise<void> {}

  async outgoingClearMessageId(): Promise<void> {}

  outgoingStream(): Readable {
    return Readable.from([]);
  }

  // aedes publishes a will from the connection that it came with; only a cluster needs it elsewhere.

  async putWill(): Promise<void> {}

  async delWill(): Promise<void> {}

  streamWill(): Readable {
    return Readable.from([]);
  }
}

/**
 * Hands each message to its subscribers, and waits for none of them: a subscriber that doesn't read holds up neither the
 * other subscribers nor the publisher. `SlowClients` bounds what is
 * kept for it, and slows down a publisher that floods it.
 *
 * It numbers messages in the order in which they are handed out. aedes numbers them as they come in, and takes one with a
 * lower number than the last for a duplicate of it; but a retained one, or one at QoS 1, is handed out later than a
 * plain one that came after it, and so was lost (github.com/moscajs/aedes issues 955 and 994).
 */
export function createEmitter(order: PublishOrder): ReturnType<typeof mqemitter> {
  // mqemitter counts a message as under way until its slowest subscriber has taken it; 0 sets no limit to these.
  const emitter = mqemitter({ concurrency: 0, matchEmptyLevels: true });
  const emit = emitter.emit.bind(emitter);
  let count = 0;
  emitter.emit = (message, callback) => {
    message.brokerCounter = ++count;
    emit(message);
    if (typeof message.clientId === "string") order.left(message.clientId);
    // aedes writes to the subscribers in a setImmediate of its own, and so before it reads on from the publisher.
    if (callback) setImmediate(callback);
    return emitter;
  };
  // aedes forgets a filter in the callback, some turns later: a SUBSCRIBE that came in one read with the UNSUBSCRIBE before
  // it was granted as one that is there already, and then it was gone.
  const remove = emitter.removeListener.bind(emitter);
  emitter.removeListener = (topic, notify, callback) => {
    remove(topic, notify);
    callback?.();
    return emitter;
  };
  return emitter;
}

/** What a client has published and is not handed out yet. */
interface Line {
  /** Of those that are under way, all alike. */
  kind: string;
  underWay: number;
  waiting: { kind: string; go: () => void }[];
  /** Those that waited are being let go. */
  moving: boolean;
}

/**
 * Keeps what one client publishes in its order, over QoS and retained messages, as mosquitto does. aedes hands out a plain
 * message at once, and one that is retained, or at QoS 1 or 2, some turns later: so a message waits here until those of
 * another kind that came before it are handed out.
 */
export class PublishOrder {
  readonly #lines = new Map<string, Line>();

  /** Calls `go` when it is a message's turn: at once, where nothing of another kind is under way. */
  enter(id: string, { qos, retain }: { qos: number; retain: boolean }, go: () => void): void {
    const kind = `${qos} ${retain}`;
    const line = this.#lines.get(id) ?? { kind, underWay: 0, waiting: [], moving: false };
    this.#lines.set(id, line);
    line.waiting.push({ kind, go });
    this.#move(id, line);
  }

  /** A message of that client was handed out. */
  left(id: string): void {
    const line = this.#lines.get(id);
    if (!line) return;
    line.underWay = Math.max(0, line.underWay - 1);
    this.#move(id, line);
  }

  /** The client is gone: what it sent before goes out, whatever became of the rest. */
  release(id: string): void {
    const line = this.#lines.get(id);
    this.#lines.delete(id);
    for (const { go } of line?.waiting.splice(0) ?? []) go();
  }

  #move(id: string, line: Line): void {
    if (line.moving) return;
    line.moving = true;
    for (let next = line.waiting[0]; next && (line.underWay === 0 || line.kind === next.kind); next = line.waiting[0]) {
      line.waiting.shift();
      line.kind = next.kind;
      line.underWay++;
      next.go();
    }
    line.moving = false;
    if (line.underWay === 0 && line.waiting.length === 0 && this.#lines.get(id) === line) this.#lines.delete(id);
  }
}

/** What aedes wants back of a retained message. */
interface RetainedMessage {
  cmd: "publish";
  topic: string;
  payload: Buffer;
  qos: 0 | 1 | 2;
  retain: true;
}

interface RetainedLimits {
  messages: number;
  bytes: number;
}

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
    if (known && payload.length <= SMALL_RETAINED_BYTES) return true;
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
