import type { Socket } from "node:net";
import type { Refuse } from "./refusal-log.ts";

/** How many connections may be open beside those that have a place: each until it has sent its CONNECT. */
const MOST_AT_THE_DOOR = 16;

/**
 * Bounds the number of open connections, so that descriptors are left for the host's files and processes.
 *
 * A connection has a place once its CONNECT is valid. Before, it makes room for a newer one where there is no room: silent
 * connections don't keep clients out. Where all places are taken, a stranger is refused; for a connection of the host or
 * of one of its workers, the newest stranger makes room. An address of another machine gets half of the places at most.
 */
export class ConnectionLimit {
  readonly #addresses = new Map<Socket, string>();
  /** Without a place yet, the oldest first. */
  readonly #pending = new Set<Socket>();
  /** With a place, and neither the host's nor a worker's, the newest last. */
  readonly #strangers = new Set<Socket>();
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
    if (this.#addresses.size >= this.max + MOST_AT_THE_DOOR && !this.#makeRoom()) {
      return this.#turnAway(socket, "full", this.#full());
    }
    this.#addresses.set(socket, address);
    this.#counts.set(address, (this.#counts.get(address) ?? 0) + 1);
    this.#pending.add(socket);
    socket.once("close", () => this.#release(socket));
    return true;
  }

  /**
   * Gives a connection its place; `false` where there is none for it.
   *
   * @param own it is the host's, or a worker's
   */
  enter(socket: Socket, own: boolean): boolean {
    if (this.#addresses.size - this.#pending.size >= this.max && !(own && this.#sendAway())) {
      this.refuse("full", `a connection from ${this.address(socket)} was refused: ${this.#full()}`);
      return false;
    }
    this.#pending.delete(socket);
    if (!own) this.#strangers.add(socket);
    return true;
  }

  /** The address of a connection for people. */
  address(socket: Socket): string {
    return this.#addresses.get(socket) ?? addressOf(socket);
  }

  /** Whether a connection comes from this machine. */
  isOwn(socket: Socket): boolean {
    return isOwn(this.address(socket));
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

  #sendAway(): boolean {
    const newest = [...this.#strangers].at(-1);
    if (!newest) return false;
    this.refuse(
      "own",
      `${this.#full()}: the newest, from ${this.address(newest)}, was closed to make room for a worker`,
    );
    this.#release(newest);
    newest.destroy();
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
    this.#strangers.delete(socket);
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
