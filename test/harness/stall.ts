import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A way to a port that can stand still, as WiFi does: what is sent meanwhile arrives later. */
export class Stall {
  readonly #sockets = new Set<Socket>();
  #still = false;

  private constructor(
    readonly port: number,
    private readonly server: ReturnType<typeof createServer>,
  ) {}

  static async before(target: number): Promise<Stall> {
    let stall: Stall | undefined;
    const server = createServer((near) => stall?.join(near, connect(target, "127.0.0.1")));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    stall = new Stall(typeof address === "object" && address ? address.port : 0, server);
    onTestFinished(() => stall?.close());
    return stall;
  }

  join(near: Socket, far: Socket): void {
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => to.destroy());
      from.pipe(to);
      from.on("close", () => this.#sockets.delete(from));
      if (this.#still) this.#hold(from);
    }
  }

  /** From now on nothing arrives. */
  stand(): void {
    this.#still = true;
    for (const socket of this.#sockets) this.#hold(socket);
  }

  /** What was held back arrives, and all else. */
  go(): void {
    this.#still = false;
    for (const socket of this.#sockets) socket.resume();
  }

  #hold(socket: Socket): void {
    socket.pause();
    // A pipe begins again by itself.
    socket.on("resume", () => this.#still && socket.pause());
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.server.close();
  }
}
