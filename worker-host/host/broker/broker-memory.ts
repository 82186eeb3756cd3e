import { Readable } from "node:stream";
import type { RetainedMessage, RetainedMessages } from "./retained-messages.ts";

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
