import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { atEnd } from "./ending.ts";

export interface RawClientOptions {
  id?: string;
  clean?: boolean;
  /** The size of its will's payload; no will if not given. */
  willBytes?: number;
}

/** In bytes. */
const MOST_KEPT = 65_536;

/** A client that does what no library of MQTT would: it sends half a packet, or stops reading. */
export class RawClient {
  #received = Buffer.alloc(0);
  #messageId = 0;

  /** Fulfils at the end of the connection. */
  readonly closed: Promise<void>;

  private constructor(readonly socket: Socket) {
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => {});
    socket.on("data", (data: Buffer) => {
      // Whoever is sent a flood of acknowledgements looks at the first of them at most.
      if (this.#received.length < MOST_KEPT) this.#received = Buffer.concat([this.#received, data]);
    });
  }

  /** Opens a connection, and sends nothing. */
  static async open(port: number): Promise<RawClient> {
    const socket = connect(port, "127.0.0.1");
    const client = new RawClient(socket);
    atEnd(() => {
      socket.destroy();
    });
    await once(socket, "connect");
    return client;
  }

  /** Opens a connection, and sends CONNECT. */
  static async connect(port: number, options: RawClientOptions = {}): Promise<RawClient> {
    const client = await RawClient.open(port);
    client.socket.write(connectPacket(options));
    await client.#receives(4);
    const code = client.#received[3];
    if (code !== 0) throw new Error(`the broker refused the connection with code ${code}`);
    return client;
  }

  /** Fulfils with the return codes of SUBACK. */
  async subscribe(filters: string[], qos: 0 | 1 = 0): Promise<number[]> {
    this.#received = Buffer.alloc(0);
    this.socket.write(subscribePacket([0, ++this.#messageId], filters, qos));
    const header = filters.length + 2 < 128 ? 2 : 3;
    await this.#receives(header + 2 + filters.length);
    return [...this.#received.subarray(header + 2, header + 2 + filters.length)];
  }

  /** From now on nothing of what the broker sends is read. */
  stopReading(): void {
    this.socket.pause();
  }

  /** What has come since it connected, or last subscribed; of a flood its first 64 kB. */
  get received(): Buffer {
    return this.#received;
  }

  async #receives(length: number): Promise<void> {
    while (this.#received.length < length) {
      await Promise.race([this.closed, once(this.socket, "data")]);
      if (this.socket.closed && this.#received.length < length) throw new Error("the broker closed the connection");
    }
  }
}

/** The CONNECT of MQTT 3.1.1. */
export function connectPacket({ id = "raw", clean = true, willBytes }: RawClientOptions = {}): Buffer {
  const flags = (clean ? 0x02 : 0) | (willBytes === undefined ? 0 : 0x04);
  const will = willBytes === undefined ? [] : [text("raw/will"), text("w".repeat(willBytes))];
  return packet(0x10, [text("MQTT"), Buffer.from([4, flags, 0, 60]), text(id), ...will]);
}

/** The SUBSCRIBE of MQTT 3.1.1. */
export function subscribePacket(id: [number, number], filters: string[], qos: 0 | 1 = 0): Buffer {
  return packet(0x82, [Buffer.from(id), ...filters.flatMap((filter) => [text(filter), Buffer.from([qos])])]);
}

export function packet(type: number, parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  let left = body.length;
  do {
    const digit = left % 128;
    left = Math.floor(left / 128);
    length.push(left > 0 ? digit + 128 : digit);
  } while (left > 0);
  return Buffer.concat([Buffer.from([type, ...length]), body]);
}

export function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
}
