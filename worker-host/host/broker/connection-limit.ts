import type { Socket } from "node:net";
import type { Refuse } from "./refusal-log.ts";

/**
 * Bounds the number of open connections, so that descriptors are left for the host's files and processes.
 *
 * When all places are taken, the connection that has waited longest without a valid CONNECT makes room for a new one:
 * silent connections don't keep clients out. An address of another machine gets half of the places at most.
 */
export class ConnectionLimit {
  readonly #addresses = new Map<Socket, string>();
  /** Not authenticated yet, the oldest first. */
  readonly #pending = new Set<Socket>();
  readonly #counts = new Map<string, number>();

  constructor(
    private readonly max: number,
    private readonly refuse: Refuse,
  ) {}

  /** Takes a new connection, or destroys it and gives `false`. */
  admit(socket: Socket): boolean {
    const address = addressOf(socket);
    if (!isOwn(address) && (this.#counts.get(address) ?? 0) >= Math.ceil(this.max / 2)) {
      return this.#turnAway(socket, `address ${address}`, `${address} has ${Math.ceil(this.max / 2)} connections open`);
    }
    if (this.#addresses.size >= this.max && !this.#makeRoom()) {
      return this.#turnAway(socket, "full", this.#full());
    }
    this.#addresses.set(socket, address);
    this.#counts.set(address, (this.#counts.get(address) ?? 0) + 1);
    this.#pending.add(socket);
    socket.once("close", () => this.#release(socket));
    return true;
  }

  /** From now on it makes room for no other. */
  authenticated(socket: Socket): void {
    this.#pending.delete(socket);
  }

  /** The address of a connection for people. */
  address(socket: Socket): string {
    return this.#addresses.get(socket) ?? addressOf(socket);
  }

  destroyAll(): void {
    for (const socket of this.#addresses.keys()) socket.destroy();
  }

  #makeRoom(): boolean {
    const [oldest] = this.#pending;
    if (!oldest) return false;
    const address = this.address(oldest);
    this.refuse("pending", `${this.#full()}: one from ${address} that had sent no CONNECT was closed to make room`);
    this.#release(oldest);
    oldest.destroy();
    return true;
  }

  #full(): string {
    return `${this.max} connections are open, the most for this limit of open files (ulimit -n)`;
  }

  #turnAway(socket: Socket, key: string, why: string): false {
    this.refuse(key, `a connection from ${addressOf(socket)} was refused: ${why}`);
    socket.destroy();
    return false;
  }

  #release(socket: Socket): void {
    const address = this.#addresses.get(socket);
    if (address === undefined) return;
    this.#addresses.delete(socket);
    this.#pending.delete(socket);
    const left = (this.#counts.get(address) ?? 1) - 1;
    if (left > 0) this.#counts.set(address, left);
    else this.#counts.delete(address);
  }
}

/** On a socket that listens for IPv6 too, an IPv4 address comes as `::ffff:192.168.1.7`. */
function addressOf({ remoteAddress = "an unknown address" }: Socket): string {
  return remoteAddress.startsWith("::ffff:") ? remoteAddress.slice(7) : remoteAddress;
}

function isOwn(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}
