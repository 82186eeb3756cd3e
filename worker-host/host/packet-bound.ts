import type { Socket } from "node:net";

/** Follows MQTT's packets through a stream of bytes, by their fixed headers (MQTT 3.1.1, 2.2). */
class PacketLengths {
  /** How much of the packet is still to come. */
  #left = 0;
  /** Of the length that is being read: what is known of it, and the worth of its next digit; 0 before the type. */
  #length = 0;
  #worth = 0;

  /** Gives the length of the longest packet that begins in `bytes`, as far as it is known. */
  longest(bytes: Uint8Array): number {
    let longest = 0;
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
      longest = Math.max(longest, this.#length);
      if (byte < 128) {
        this.#left = this.#length;
        this.#worth = 0;
      }
    }
    return longest;
  }
}

/** Ends a client's connection when it begins to send a packet of more than `maxBytes`: a broker would keep all of it. */
export function boundPackets(socket: Socket, maxBytes: number, onTooLong: (bytes: number) => void): void {
  const lengths = new PacketLengths();
  const read = socket.read.bind(socket);
  socket.read = (size?: number): Buffer | null => {
    const bytes = read(size) as Buffer | null;
    if (bytes === null) return null;
    const longest = lengths.longest(bytes);
    if (longest <= maxBytes) return bytes;
    onTooLong(longest);
    socket.destroy();
    return null;
  };
}
