import type { Socket } from "node:net";
import type { AedesPublishPacket, Client } from "aedes";
import { DRAIN_TIMEOUT_MS, DROP_FROM_BYTES, MAX_AHEAD_BYTES, MAX_UNSENT_BYTES } from "../limits.ts";
import { type Refuse, shown } from "./broker-limits.ts";

class TooMuchUnsent extends Error {}

/** What waits for one client since it last had taken everything. */
interface Backlog {
  /** Messages at QoS 0 that it didn't get. */
  dropped: number;
  /** By the publisher's client id, what it sent at QoS 1 and 2. */
  bytes: Map<string, number>;
  /** Publishers that are read from again once the client has caught up. */
  waiting: (() => void)[];
}

type Forwarded = Pick<AedesPublishPacket, "qos" | "retain" | "topic" | "payload"> & { clientId?: string };

/** Bounds what the broker keeps for a client that reads more slowly than others publish. */
export class SlowClients {
  readonly #backlogs = new Map<Client, Backlog>();
  /** By the publisher's client id, the backlog that it waits for. */
  readonly #ahead = new Map<string, Backlog>();
  readonly #told = new WeakSet<Client>();

  constructor(
    private readonly refuse: Refuse,
    private readonly addressOf: (client: Client) => string,
  ) {}

  /** Whether `packet` is to go to `client`. It is asked for each message and subscriber. */
  takes(client: Client, packet: Forwarded): boolean {
    const { conn } = client;
    if (!conn.writableNeedDrain) return true;
    // The retained messages that follow a subscription wait for the client by themselves.
    if (packet.retain) return true;
    const backlog = this.#backlogs.get(client) ?? this.#begin(client);
    const unsent = conn.writableLength;
    if (packet.qos === 0) {
      if (unsent < DROP_FROM_BYTES && backlog.dropped === 0) return true;
      backlog.dropped++;
      return false;
    }
    // The host's own connection, of a Unix socket without an address, catches up as soon as anything runs in this process.
    if (unsent < MAX_UNSENT_BYTES || (conn as Socket).remoteAddress === undefined) {
      this.#count(backlog, packet);
      return true;
    }
    conn.destroy(new TooMuchUnsent());
    return false;
  }

  /** Calls `done` when the next messages of `publisher` may be read: at once, unless it is far ahead of a subscriber. */
  published(publisher: Client | null, done: () => void): void {
    const backlog = publisher ? this.#ahead.get(publisher.id) : undefined;
    if (backlog) backlog.waiting.push(done);
    else done();
  }

  /** Says why a client was disconnected, if it was for its pace. */
  failed(client: Client, error: Error): void {
    const why = reason(error);
    if (why === undefined || this.#told.has(client)) return;
    this.#told.add(client);
    const dropped = this.#backlogs.get(client)?.dropped ?? 0;
    const lost = dropped > 0 ? `; ${messages(dropped)} at QoS 0 to it were dropped before` : "";
    this.#tell(client, `was disconnected: ${why}${lost}`);
  }

  #begin(client: Client): Backlog {
    const backlog: Backlog = { dropped: 0, bytes: new Map(), waiting: [] };
    this.#backlogs.set(client, backlog);
    const { conn } = client;
    const end = () => {
      conn.off("drain", end).off("close", end);
      this.#end(client, backlog);
    };
    conn.once("drain", end).once("close", end);
    return backlog;
  }

  #end(client: Client, backlog: Backlog): void {
    this.#backlogs.delete(client);
    for (const [publisher, other] of this.#ahead) if (other === backlog) this.#ahead.delete(publisher);
    for (const done of backlog.waiting) done();
    // After the end of the connection, `failed` has told why, or the client went by itself.
    if (backlog.dropped === 0 || client.closed || client.conn.destroyed) return;
    this.#tell(client, `reads too slowly: ${messages(backlog.dropped)} at QoS 0 were dropped`);
  }

  #count(backlog: Backlog, { clientId, topic, payload }: Forwarded): void {
    if (clientId === undefined) return;
    const bytes = (backlog.bytes.get(clientId) ?? 0) + topic.length + payload.length;
    backlog.bytes.set(clientId, bytes);
    if (bytes > MAX_AHEAD_BYTES) this.#ahead.set(clientId, backlog);
  }

  #tell(client: Client, text: string): void {
    const address = this.addressOf(client);
    this.refuse(`slow ${address}`, `${shown(client.id)} at ${address} ${text}`);
  }
}

function messages(count: number): string {
  return count === 1 ? "1 message" : `${count} messages`;
}

function reason(error: Error): string | undefined {
  if (error instanceof TooMuchUnsent) return `it left more than ${MAX_UNSENT_BYTES / 1024 / 1024} MiB unread`;
  // aedes, `drainTimeout`
  if (error.message === "drain timeout") return `it left what was sent to it unread for ${DRAIN_TIMEOUT_MS / 1000} s`;
  return undefined;
}
