import type { Socket } from "node:net";

export interface PacketBounds {
  /** Of the first packet, which is CONNECT. */
  firstBytes: number;
  /** Of each later one. */
  bytes: number;
}

/** Follows MQTT's packets through a stream of bytes, by their fixed headers (MQTT 3.1.1, 2.2). */
class PacketLengths {
  /** How much of the packet is still to come. */
  #left = 0;
  /** Of the length that is being read: what is known of it, and the worth of its next digit; 0 before the type. */
  #length = 0;
  #worth = 0;
  #bound: number;

  constructor(private readonly bounds: PacketBounds) {
    this.#bound = bounds.firstBytes;
  }

  /** Gives the length, as far as it is known, of a packet that begins in `bytes` and exceeds its bound. */
  tooLong(bytes: Uint8Array): number | undefined {
    for (let at = 0; at < bytes.length; ) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, bytes.length - at);
        this.#left -= skipped;
        at += skipped;
        continue;
      }
      const byte = bytes[at++] ?? 0;
      if (this.#worth === 0) {
        this.#worth = 1;
        this.#length = 0;
        continue;
      }
      this.#length += (byte & 127) * this.#worth;
      this.#worth *= 128;
      if (byte < 128) {
        if (this.#length > this.#bound) return this.#length;
        this.#left = this.#length;
        this.#worth = 0;
        this.#bound = this.bounds.bytes;
      }
    }
    return this.#worth > 0 && this.#length > this.#bound ? this.#length : undefined;
  }
}

/** Ends a client's connection when it begins to send a packet that exceeds its bound: a broker would keep all of it. */
export function boundPackets(socket: Socket, bounds: PacketBounds, onTooLong: (bytes: number) => void): void {
  const lengths = new PacketLengths(bounds);
  const read = socket.read.bind(socket);
  socket.read = (size?: number): Buffer | null => {
    const bytes = read(size) as Buffer | null;
    if (bytes === null) return null;
    const tooLong = lengths.tooLong(bytes);
    if (tooLong === undefined) return bytes;
    onTooLong(tooLong);
    socket.destroy();
    return null;
  };
}
