import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { Aedes } from "aedes";
import type { Logger } from "pino";
import { WorkerHostError } from "../contract/errors.ts";
import type { BrokerOptions } from "../worker/connection.ts";

export interface Credentials {
  username: string;
  password: string;
}

export interface EmbeddedBrokerOptions {
  port: number;
  /** Listens on all addresses, and demands these of every client; on 127.0.0.1 only where there are none. */
  credentials?: Credentials;
  log: Logger;
}

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

  /** @throws WorkerHostError `port_in_use` */
  static async start({ port, credentials, log }: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
    const aedes = await Aedes.createBroker({
      authenticate: (_client, username, password, done) => {
        done(null, !credentials || (same(username, credentials.username) && same(password, credentials.password)));
      },
    });
    for (const event of ["clientError", "connectionError"] as const) {
      aedes.on(event, (client, error) => log.debug({ client: client.id }, `broker: ${error.message}`));
    }
    // Nagle's algorithm would hold messages back for up to 44 ms.
    const server = createServer({ noDelay: true }, aedes.handle);
    const broker = new EmbeddedBroker(aedes, server, credentials);
    await broker.#listen(port);
    return broker;
  }

  #listen(port: number): Promise<void> {
    // Without a host, Node listens on all addresses, IPv6 included.
    const address = this.credentials ? { port } : { port, host: "127.0.0.1" };
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

function explain(error: NodeJS.ErrnoException, port: number): Error {
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

const CREDENTIALS_FILE = "broker-credentials.json";

/** The credentials that an earlier start with `--lan` made and kept, if one did. */
export function readCredentials(dataDir: string): Credentials | undefined {
  try {
    const { username, password } = JSON.parse(
      readFileSync(join(dataDir, CREDENTIALS_FILE), "utf8"),
    ) as Partial<Credentials>;
    if (typeof username === "string" && typeof password === "string") return { username, password };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new WorkerHostError(
      "invalid_settings",
      `${join(dataDir, CREDENTIALS_FILE)}: ${(error as Error).message}; mend it, or delete it to have new ones made`,
      { cause: error },
    );
  }
  throw new WorkerHostError(
    "invalid_settings",
    `${join(dataDir, CREDENTIALS_FILE)}: expected {"username": …, "password": …}; mend it, or delete it to have new ones made`,
  );
}

/** The credentials to demand with `--lan`: those given, else those kept, else new ones, which are then kept. */
export function lanCredentials(dataDir: string, given: Partial<Credentials>): Credentials {
  const { username, password } = given;
  if (username !== undefined && password !== undefined) return { username, password };
  const kept = readCredentials(dataDir);
  const credentials: Credentials = {
    username: username ?? kept?.username ?? "haunt",
    password: password ?? kept?.password ?? randomBytes(12).toString("base64url"),
  };
  mkdirSync(dataDir, { recursive: true });
  writeFileSync(join(dataDir, CREDENTIALS_FILE), `${JSON.stringify(credentials, null, 2)}\n`, { mode: 0o600 });
  return credentials;
}
