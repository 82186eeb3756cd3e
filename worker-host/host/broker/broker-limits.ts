import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import type { Client, Subscription } from "aedes";
import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { unlessMissing } from "../../base/durable-file.ts";
import { printable } from "../../contract/payload.ts";
import {
  MAX_FILTER_CHARS,
  MOST_AT_THE_DOOR,
  MOST_CLIENTS,
  MOST_FILTERS,
  MOST_PASSWORDS_WAITING,
  PASSWORD_PAUSE_MS,
  REFUSALS_EVERY_MS,
} from "../limits.ts";

/** Takes what was refused: `key` is the kind of refusal and, where it matters, the address; `text` is for people. */
export type Refuse = (key: string, text: string) => void;

/** From then on, all other keys count as one: the memory of addresses is bounded. */
const MAX_KEYS = 100;
const OTHERS = "others";

interface Repeated {
  more: number;
  last: string;
  cancel: () => void;
}

/** Logs the first refusal of a key at once, and the number of its repetitions every 10 s. */
export class RefusalLog {
  readonly #repeated = new Map<string, Repeated>();

  constructor(
    private readonly log: Logger,
    private readonly clock: Clock,
  ) {}

  readonly refuse: Refuse = (wanted, text) => {
    const key = this.#repeated.has(wanted) || this.#repeated.size < MAX_KEYS ? wanted : OTHERS;
    const known = this.#repeated.get(key);
    if (known) {
      known.more++;
      known.last = text;
      return;
    }
    this.log.warn(text);
    this.#watch(key, text);
  };

  stop(): void {
    for (const { cancel } of this.#repeated.values()) cancel();
    this.#repeated.clear();
  }

  #watch(key: string, last: string): void {
    const cancel = this.clock.after(REFUSALS_EVERY_MS, () => this.#sum(key));
    this.#repeated.set(key, { more: 0, last, cancel });
  }

  #sum(key: string): void {
    const { more = 0, last = "" } = this.#repeated.get(key) ?? {};
    this.#repeated.delete(key);
    if (more === 0) return;
    this.log.warn(`${last} (${more} more such in the last ${REFUSALS_EVERY_MS / 1000} s)`);
    this.#watch(key, last);
  }
}

/** A client id for a line of the log. */
export function shown(id: string | null | undefined): string {
  return id ? `the client "${printable(id.slice(0, 60))}"` : "a client";
}

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

/** Counts the filters of each client, and bounds them. */
export class FilterLimit {
  readonly #filters = new WeakMap<Client, Set<string>>();

  /** Counts a filter to be subscribed to; gives why it is refused. */
  add(client: Client, { topic }: Subscription): string | undefined {
    if (topic.length > MAX_FILTER_CHARS)
      return `the filter has ${topic.length} characters, at most ${MAX_FILTER_CHARS} are taken`;
    if (topic.startsWith("$share/"))
      return "the embedded broker knows no shared subscriptions: use mosquitto for these";
    const filters = this.#filters.get(client) ?? new Set();
    this.#filters.set(client, filters);
    if (filters.size >= MOST_FILTERS && !filters.has(topic)) {
      return `it has ${MOST_FILTERS} filters, the most that a client may have; use "+" and "#"`;
    }
    filters.add(topic);
    return undefined;
  }

  remove(client: Client, topics: readonly string[]): void {
    const filters = this.#filters.get(client);
    for (const topic of topics) filters?.delete(topic);
  }
}

interface PacketBounds {
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

/** A usual limit, for systems that don't tell theirs. */
const USUAL_DESCRIPTORS = 1024;
const MIN_RESERVE = 64;
const MAX_RESERVE = 1024;

/** How many connections the broker may have open, of the descriptors that this process may have. */
export async function connectionsAllowed(): Promise<number> {
  const limits = await unlessMissing(readFile("/proc/self/limits", "utf8"));
  const [, soft] = /^Max open files\s+(\d+|unlimited)/m.exec(limits ?? "") ?? [];
  return connectionsFor(soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft ?? USUAL_DESCRIPTORS));
}

/** A third of the descriptors is kept for files, and for the processes of workers: each of these takes some five. */
function connectionsFor(descriptors: number): number {
  const reserve = Math.min(MAX_RESERVE, Math.max(MIN_RESERVE, Math.ceil(descriptors / 3)));
  return Math.min(MOST_CLIENTS, Math.max(1, descriptors - reserve));
}

/** Looks at a password, and gives whether it was right. */
export type Look = () => boolean;

/** Slows down guessing: after a wrong password, the next one from that address is looked at a second later, one by one. */
export class PasswordGuard {
  /** By address, who waits. */
  readonly #waiting = new Map<string, Look[]>();
  readonly #cancels = new Map<string, () => void>();

  constructor(private readonly clock: Clock) {}

  /** Looks at once, or when it is this one's turn. Gives `false`, and never looks, where too many wait. */
  take(address: string, look: Look): boolean {
    const waiting = this.#waiting.get(address);
    if (!waiting) {
      if (!look()) this.#pause(address, []);
      return true;
    }
    if (waiting.length >= MOST_PASSWORDS_WAITING) return false;
    waiting.push(look);
    return true;
  }

  stop(): void {
    for (const cancel of this.#cancels.values()) cancel();
    this.#cancels.clear();
    this.#waiting.clear();
  }

  #pause(address: string, waiting: Look[]): void {
    this.#waiting.set(address, waiting);
    this.#cancels.set(
      address,
      this.clock.after(PASSWORD_PAUSE_MS, () => this.#next(address, waiting)),
    );
  }

  #next(address: string, waiting: Look[]): void {
    this.#waiting.delete(address);
    this.#cancels.delete(address);
    for (let look = waiting.shift(); look; look = waiting.shift()) {
      if (look()) continue;
      this.#pause(address, waiting);
      return;
    }
  }
}
