import { createHash, timingSafeEqual } from "node:crypto";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { Aedes } from "aedes";
import mqemitter from "mqemitter";
import type { Logger } from "pino";
import { WorkerHostError } from "../contract/errors.ts";
import type { BrokerOptions } from "../worker/wire.ts";
import { boundPackets } from "./packet-bound.ts";

export interface Credentials {
  username: string;
  password: string;
}

export interface EmbeddedBrokerOptions {
  /** 0 picks a free one. */
  port: number;
  /** Listens on all addresses instead of 127.0.0.1. */
  lan: boolean;
  /** What every client has to show; nothing if not given. */
  credentials?: Credentials;
  log: Logger;
}

/** A client that sends more in one packet is disconnected. */
const MAX_PACKET_BYTES = 1024 * 1024;

/** The broker that comes with worker-host: MQTT 3.1.1, retained messages in memory. */
export class EmbeddedBroker {
  readonly #sockets = new Set<Socket>();

  private constructor(
    private readonly aedes: Aedes,
    private readonly server: Server,
    private readonly credentials: Credentials | undefined,
  ) {
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  /** @throws WorkerHostError `port_in_use`, `port_refused` */
  static async start({ port, lan, credentials, log }: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
    const aedes = await createAedes({ ...(credentials ? { credentials } : {}), log });
    // Nagle's algorithm would hold messages back for up to 44 ms.
    const server = createServer({ noDelay: true }, (socket) => {
      boundPackets(socket, MAX_PACKET_BYTES, (bytes) => {
        log.warn(`a client at ${socket.remoteAddress} was disconnected: it sent ${bytes} bytes in one packet`);
      });
      aedes.handle(socket);
    });
    const broker = new EmbeddedBroker(aedes, server, credentials);
    await broker.#listen(port, lan);
    return broker;
  }

  #listen(port: number, lan: boolean): Promise<void> {
    // Without a host, Node listens on all addresses, IPv6 included.
    const address = lan ? { port } : { port, host: "127.0.0.1" };
    return new Promise((resolve, reject) => {
      this.server.once("error", (error: NodeJS.ErrnoException) => reject(explain(error, port)));
      this.server.listen(address, resolve);
    });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** How workers on this machine reach it. */
  get options(): BrokerOptions {
    return { url: `mqtt://127.0.0.1:${this.port}`, ...this.credentials, protocolVersion: 4 };
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    await new Promise<void>((resolve) => this.aedes.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** A broker that listens nowhere yet. */
export async function createAedes({
  credentials,
  log,
}: Pick<EmbeddedBrokerOptions, "credentials" | "log">): Promise<Aedes> {
  const aedes = await Aedes.createBroker({
    mq: numberedEmitter(),
    authenticate: (_client, username, password, done) => {
      done(null, !credentials || (same(username, credentials.username) && same(password, credentials.password)));
    },
  });
  for (const event of ["clientError", "connectionError"] as const) {
    aedes.on(event, (client, error) => log.debug({ client: client.id }, `broker: ${error.message}`));
  }
  return aedes;
}

/**
 * Numbers messages in the order in which they are handed out. aedes numbers them as they come in, and takes one with a
 * lower number than the last for a duplicate of it; but a retained one, or one at QoS 1, is handed out later than a
 * plain one that came after it, and so was lost (github.com/moscajs/aedes issues 955 and 994).
 */
function numberedEmitter(): ReturnType<typeof mqemitter> {
  const emitter = mqemitter({ concurrency: 100, matchEmptyLevels: true });
  const emit = emitter.emit.bind(emitter);
  let count = 0;
  emitter.emit = (message, callback) => {
    message.brokerCounter = ++count;
    return emit(message, callback);
  };
  return emitter;
}

function explain(error: NodeJS.ErrnoException, port: number): Error {
  if (error.code === "EACCES") {
    const text = `port ${port} may not be opened by this user: take one above 1023, such as --broker-port 1883`;
    return new WorkerHostError("port_refused", text, { cause: error });
  }
  if (error.code !== "EADDRINUSE") return error;
  return new WorkerHostError(
    "port_in_use",
    `port ${port} is in use, perhaps by a broker. To use that one: MQTT_HOST=127.0.0.1 MQTT_PORT=${port} npm start. To run the embedded one beside it: npm start -- --broker-port ${port === 65_535 ? port - 1 : port + 1}`,
    { cause: error },
  );
}

/** Compares in a time that says nothing of where two texts differ. */
function same(given: string | Uint8Array | undefined, expected: string): boolean {
  const digest = (value: string | Uint8Array) => createHash("sha256").update(value).digest();
  return given !== undefined && given !== null && timingSafeEqual(digest(given), digest(expected));
}
