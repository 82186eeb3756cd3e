import type { AddressInfo, Socket } from "node:net";
import { type FastifyInstance, fastify } from "fastify";
import type { Clock } from "../../base/clock.ts";
import { WorkerHostError } from "../../contract/errors.ts";
import { HTTP_MS, MOST_HTTP_CONNECTIONS } from "../limits.ts";

/** What a path answers. */
export interface Answer {
  code: 200 | 503;
  type: string;
  body: string;
}

export interface HttpOptions {
  /** 0 picks a free one. */
  port: number;
  host: string;
  clock: Clock;
  paths: ReadonlyMap<string, () => Promise<Answer>>;
}

const IDLE_MS = 5_000;
const CHECK_EVERY_MS = 1_000;
/** So many connections may be open on which no request has come yet. */
const MAX_SILENT = 50;
const MAX_HEADER_BYTES = 8 * 1024;

/** Answers GET at a few paths, reads no body, and closes each connection after its answer. */
export class HealthHttp {
  readonly #app: FastifyInstance;

  constructor(private readonly options: HttpOptions) {
    this.#app = fastify({
      logger: false,
      exposeHeadRoutes: false,
      forceCloseConnections: true,
      connectionTimeout: IDLE_MS,
      requestTimeout: IDLE_MS,
      maxRequestsPerSocket: 1,
      bodyLimit: 1,
      http: { headersTimeout: IDLE_MS, connectionsCheckingInterval: CHECK_EVERY_MS, maxHeaderSize: MAX_HEADER_BYTES },
    });
  }

  /**
   * Gives the URL at which it listens.
   *
   * @throws WorkerHostError `port_in_use`, `port_refused`
   */
  async start(): Promise<string> {
    const { port, host, paths, clock } = this.options;
    const app = this.#app;
    app.server.maxConnections = MOST_HTTP_CONNECTIONS;
    const silent = new Set<Socket>();
    app.server.on("request", ({ socket }) => silent.delete(socket));
    app.server.on("connection", (socket: Socket) => {
      // Of those that have not asked for anything yet, the oldest makes room.
      const [oldest] = silent;
      if (silent.size >= MAX_SILENT) oldest?.destroy();
      silent.add(socket);
      socket.once("close", () => silent.delete(socket));
      socket.once(
        "close",
        clock.after(HTTP_MS, () => socket.destroy()),
      );
    });
    // Before a body would be read.
    app.addHook("onRequest", async (request, reply) => {
      if (request.method === "GET") return;
      const known = paths.has(request.url.split("?")[0] ?? "");
      await reply
        .code(known ? 405 : 404)
        .headers({ connection: "close", ...(known ? { allow: "GET" } : {}) })
        .send(known ? { error: "only GET" } : this.#notFound());
    });
    app.setNotFoundHandler((_request, reply) => reply.code(404).send(this.#notFound()));
    for (const [path, answer] of paths) {
      app.get(path, async (_request, reply) => {
        const { code, type, body } = await answer();
        return reply.code(code).headers({ "content-type": type, "cache-control": "no-store" }).send(body);
      });
    }
    try {
      await app.listen({ port, host });
    } catch (error) {
      throw explainListen(error as NodeJS.ErrnoException, this.options);
    }
    const { address, family, port: given } = app.server.address() as AddressInfo;
    return `http://${family === "IPv6" ? `[${address}]` : address}:${given}`;
  }

  async stop(): Promise<void> {
    await this.#app.close();
  }

  #notFound(): { error: string } {
    return { error: `there are ${[...this.options.paths.keys()].join(", ")}` };
  }
}

function explainListen(error: NodeJS.ErrnoException, { port, host }: HttpOptions): Error {
  const where = `the health port ${port} at ${host}`;
  const setting = "set WORKER_HEALTH_PORT to another one, or leave it out";
  if (error.code === "EADDRINUSE")
    return new WorkerHostError("port_in_use", `${where} is in use: ${setting}`, { cause: error });
  if (error.code === "EACCES") {
    const text = `${where} may not be opened by this user: ${setting}`;
    return new WorkerHostError("port_refused", text, { cause: error });
  }
  if (error.code === "EADDRNOTAVAIL" || error.code === "ENOTFOUND" || error.code === "EAI_AGAIN") {
    const text = `${where} can't be opened (${error.code}): set WORKER_HEALTH_HOST to an address of this machine, such as 127.0.0.1 or 0.0.0.0`;
    return new WorkerHostError("port_refused", text, { cause: error });
  }
  return error;
}
