import type { AedesPublishPacket, Client } from "aedes";
import { type Refuse, shown } from "./refusal-log.ts";

/** While a client has more than this unsent, it doesn't get messages at QoS 0. */
const DROP_FROM_BYTES = 256 * 1024;
/** A client that has more than this unsent is disconnected. Four messages of the largest size fit. */
const MAX_UNSENT_BYTES = 4 * 1024 * 1024;

/** A client that doesn't take all that waits for it in this time is disconnected. */
export const DRAIN_TIMEOUT_MS = 2000;

class TooMuchUnsent extends Error {}

/** Bounds what the broker keeps for a client that reads more slowly than others publish. */
export class SlowClients {
  /** Messages dropped since the client last had taken all that waited for it. */
  readonly #dropped = new Map<Client, number>();
  readonly #told = new WeakSet<Client>();

  constructor(
    private readonly refuse: Refuse,
    private readonly addressOf: (client: Client) => string,
  ) {}

  /** Whether `packet` is to go to `client`. It is asked for each message and subscriber. */
  takes(client: Client, { qos, retain }: Pick<AedesPublishPacket, "qos" | "retain">): boolean {
    const { conn } = client;
    if (!conn.writableNeedDrain) return true;
    const unsent = conn.writableLength;
    // The retained messages that follow a subscription wait for the client by themselves.
    if (qos === 0 && !retain) {
      if (unsent < DROP_FROM_BYTES && !this.#dropped.has(client)) return true;
      this.#drop(client);
      return false;
    }
    if (unsent < MAX_UNSENT_BYTES) return true;
    conn.destroy(new TooMuchUnsent());
    return false;
  }

  /** Says why a client was disconnected, if it was for its pace. */
  failed(client: Client, error: Error): void {
    const why = reason(error);
    if (why === undefined || this.#told.has(client)) return;
    this.#told.add(client);
    const dropped = this.#forget(client);
    const lost = dropped > 0 ? `; ${messages(dropped)} at QoS 0 to it were dropped before` : "";
    this.#tell(client, `was disconnected: ${why}${lost}`);
  }

  #drop(client: Client): void {
    const dropped = this.#dropped.get(client);
    this.#dropped.set(client, (dropped ?? 0) + 1);
    if (dropped !== undefined) return;
    // aedes emits it at the end of a connection too; then `failed` has told, or the client went by itself.
    client.conn.once("drain", () => {
      const count = this.#forget(client);
      if (count > 0 && !client.closed) this.#tell(client, `reads too slowly: ${messages(count)} at QoS 0 were dropped`);
    });
  }

  #forget(client: Client): number {
    const dropped = this.#dropped.get(client) ?? 0;
    this.#dropped.delete(client);
    return dropped;
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
