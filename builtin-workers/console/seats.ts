import type { WebSocket } from "ws";
import { now } from "./verbs.ts";

const MOST_SEATS = 50;
/** A client that was silent for so long leaves its seat to another: a page pings twice a second. */
const SILENT_MS = 2_000;
/** How often a client is pinged. */
export const PING_MS = 10_000;
/** A client that has answered so many pings in a row by nothing is gone, or doesn't read. */
const MOST_UNANSWERED = 3;

interface Seat {
  /** When anything came from it. */
  heardAt: number;
  /** How many pings went to it since it last answered one. */
  unanswered: number;
}

/** The open sockets, of which there are so many at most. */
export class Seats {
  readonly #seats = new Map<WebSocket, Seat>();

  /** Whether there is a seat for one more: where all are taken, the one that was silent for longest gives its own up. */
  makeRoom(): boolean {
    if (this.#seats.size < MOST_SEATS) return true;
    const [silent] = [...this.#seats].sort(([, one], [, other]) => one.heardAt - other.heardAt);
    if (!silent || now() - silent[1].heardAt < SILENT_MS) return false;
    silent[0].terminate();
    this.#seats.delete(silent[0]);
    return true;
  }

  take(socket: WebSocket): void {
    const seat: Seat = { heardAt: now(), unanswered: 0 };
    this.#seats.set(socket, seat);
    const heard = () => {
      seat.heardAt = now();
    };
    socket.on("message", heard).on("ping", heard);
    socket.on("pong", () => {
      heard();
      seat.unanswered = 0;
    });
    socket.once("close", () => this.#seats.delete(socket));
  }

  /** Pings all, and closes what is gone; to be called every `PING_MS`. */
  sweep(): void {
    for (const [socket, seat] of this.#seats) {
      if (++seat.unanswered > MOST_UNANSWERED) socket.terminate();
      else socket.ping();
    }
  }

  /** What waits to be read by all clients together, in bytes. */
  get waitingBytes(): number {
    return [...this.#seats.keys()].reduce((sum, { bufferedAmount }) => sum + bufferedAmount, 0);
  }
}
