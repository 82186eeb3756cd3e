import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { Aedes, type Client } from "aedes";
import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { WorkerHostError } from "../../contract/errors.ts";
import type { BrokerOptions } from "../../mqtt/wire.ts";
import {
  CLIENT_CONNECT_MS,
  DRAIN_TIMEOUT_MS,
  MAX_CONNECT_BYTES,
  MAX_PACKET_BYTES,
  MAX_RETAINED_BYTES,
  MOST_RETAINED,
} from "../limits.ts";
import {
  boundPackets,
  ConnectionLimit,
  FilterLimit,
  PasswordGuard,
  RefusalLog,
  type Refuse,
  shown,
} from "./broker-limits.ts";
import { BrokerMemory, createEmitter, PublishOrder, RetainedMessages } from "./broker-memory.ts";
import { SlowClients } from "./slow-clients.ts";

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
  /** How many connections may be open at once. */
  maxConnections: number;
  log: Logger;
  clock: Clock;
}

/**
 * A client that sends more in one packet is disconnected. The first is CONNECT, with client id, will, user name and
 * password: little, and as yet from an unknown client.
 */
const PACKET_BOUNDS = { firstBytes: MAX_CONNECT_BYTES, bytes: MAX_PACKET_BYTES };

/** MQTT 3.1.1, 3.2.2.3 */
const UNAVAILABLE = 3;
const NOT_AUTHORIZED = 5;

/** The user name of the host and its workers, with a password that is new at each start. */
const OWN_USER = "worker_host";

/** After so long a silence, the system asks the peer whether it is still there, and closes the connection if not. */
const KEEP_ALIVE_MS = 60_000;

const HAS_INNER = process.platform === "linux";

/** The broker that comes with worker-host: MQTT 3.1.1, retained messages in memory. */
export class EmbeddedBroker {
  /** Of a socket that no file stands for (unix(7), abstract). */
  readonly #innerName = `\0worker-host-${randomBytes(8).toString("hex")}`;

  private constructor(
    private readonly aedes: Aedes,
    /** For everybody, and for this process. */
    private readonly servers: Readonly<Record<"outer" | "inner", Server>>,
    private readonly connections: ConnectionLimit,
    private readonly refusals: RefusalLog,
    private readonly guard: PasswordGuard,
    private readonly credentials: Credentials | undefined,
    private readonly own: Credentials,
  ) {}

  /** @throws WorkerHostError `port_in_use`, `port_refused` */
  static async start(options: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
    const { port, lan, credentials, maxConnections, log, clock } = options;
    const refusals = new RefusalLog(log, clock);
    const { refuse } = refusals;
    const connections = new ConnectionLimit(maxConnections, refuse);
    const addressOf = ({ conn }: Client) => connections.address(conn as Socket);
    const own = { username: OWN_USER, password: randomBytes(24).toString("base64url") };
    const guard = new PasswordGuard(clock);
    const letIn: LetIn = (client, shownCredentials, settle) => {
      const [socket, address] = [client.conn as Socket, addressOf(client)];
      const isOwn = areSame(shownCredentials, own);
      const isValid = isOwn || !credentials || areSame(shownCredentials, credentials);
      const enter = () => settle(connections.enter(socket, isOwn) ? undefined : UNAVAILABLE);
      // What is on this machine must not wait for somebody there who guesses.
      if (isValid && (isOwn || !credentials || connections.isOwn(socket))) {
        enter();
        return;
      }
      const refused = (why: string) => {
        refuse(`password ${address}`, `${shown(client.id)} at ${address} was refused: ${why}`);
        settle(NOT_AUTHORIZED);
      };
      const look = () => {
        if (client.closed) return true;
        if (isValid) enter();
        else refused("wrong user name or password");
        return isValid;
      };
      if (!guard.take(address, look)) refused("too many of that address wait after a wrong password");
    };
    const aedes = await createAedes({ letIn, log, refuse, addressOf });
    // Nagle's algorithm would hold messages back for up to 44 ms.
    const take = (socket: Socket) => {
      if (!connections.admit(socket)) return;
      boundPackets(socket, PACKET_BOUNDS, (bytes) => {
        const address = connections.address(socket);
        refuse(`packet ${address}`, `a client at ${address} was disconnected: it sent ${bytes} bytes in one packet`);
      });
      aedes.handle(socket);
    };
    const tcp = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    const takeOwn = (socket: Socket) => {
      if (!connections.admit(socket)) return;
      socket.setMaxListeners(0);
      // As aedes' own, without the time limit: where this process stood still, the host could not read.
      const waitForDrain = (done: () => void) => socket.once("drain", done);
      Object.assign(aedes.handle(socket), { waitForDrain });
    };
    const servers = { outer: createServer(tcp, take), inner: createServer(takeOwn) };
    const broker = new EmbeddedBroker(aedes, servers, connections, refusals, guard, credentials, own);
    await broker.#listen(port, lan);
    return broker;
  }

  #listen(port: number, lan: boolean): Promise<void> {
    // Without a host, Node listens on all addresses, IPv6 included.
    const address = lan ? { port } : { port, host: "127.0.0.1" };
    const { outer, inner } = this.servers;
    return new Promise((resolve, reject) => {
      outer.once("error", (error: NodeJS.ErrnoException) => reject(explainListen(error, port)));
      inner.once("error", reject);
      outer.listen(address, () => (HAS_INNER ? inner.listen(this.#innerName, resolve) : resolve()));
    });
  }

  get port(): number {
    return (this.servers.outer.address() as AddressInfo).port;
  }

  /** How clients on this machine reach it. */
  get options(): BrokerOptions {
    const url = `mqtt://127.0.0.1:${this.port}`;
    return { url, ...this.credentials, protocolVersion: 4, maxPacketBytes: PACKET_BOUNDS.bytes };
  }

  /** How the host and its workers reach it: there is always a place for them. */
  get ownOptions(): BrokerOptions {
    return { ...this.options, ...this.own };
  }

  /**
   * Opens a connection for the host's own commands, where the system has such sockets. A flood may put some MB into the
   * buffers of a TCP socket, all of which would come before an all-stop; those of a Unix socket are small.
   */
  get open(): (() => Socket) | undefined {
    return HAS_INNER ? () => connect(this.#innerName) : undefined;
  }

  async stop(): Promise<void> {
    const closed = Promise.all(
      Object.values(this.servers).map((server) => new Promise((resolve) => server.close(resolve))),
    );
    await new Promise<void>((resolve) => this.aedes.close(resolve));
    this.guard.stop();
    this.connections.destroyAll();
    await closed;
    this.refusals.stop();
  }
}

interface ShownCredentials {
  username: string | undefined;
  password: Uint8Array | undefined;
}

/** Settles whether a client may come in: with `undefined`, or the code of MQTT 3.1.1 that says why it may not. */
type LetIn = (
  client: Client,
  credentials: ShownCredentials,
  settle: (code: typeof UNAVAILABLE | typeof NOT_AUTHORIZED | undefined) => void,
) => void;

interface AedesOptions extends Pick<EmbeddedBrokerOptions, "log"> {
  letIn: LetIn;
  refuse: Refuse;
  addressOf: (client: Client) => string;
}

/** A broker that listens nowhere yet. */
export async function createAedes({ letIn, log, refuse, addressOf }: AedesOptions): Promise<Aedes> {
  const slow = new SlowClients(refuse, addressOf);
  const filters = new FilterLimit();
  const order = new PublishOrder();
  const aedes = await Aedes.createBroker({
    mq: createEmitter(order),
    persistence: new BrokerMemory(new RetainedMessages({ messages: MOST_RETAINED, bytes: MAX_RETAINED_BYTES }, refuse)),
    connectTimeout: CLIENT_CONNECT_MS,
    drainTimeout: DRAIN_TIMEOUT_MS,
    preConnect: (client, packet, done) => {
      // A queue for a client that is away would move props late, and grow without bound.
      if (packet.clean === false) {
        const address = addressOf(client);
        const asks = `${shown(packet.clientId)} at ${address} asks for a lasting session`;
        refuse(`session ${address}`, `${asks}: the embedded broker keeps none, and starts a clean one`);
      }
      packet.clean = true;
      done(null, true);
    },
    authenticate: (client, username, password, done) => {
      letIn(client, { username: username ?? undefined, password: password ?? undefined }, (returnCode) => {
        if (returnCode === undefined) done(null, true);
        else done(Object.assign(new Error("a client was refused"), { returnCode }), false);
      });
    },
    authorizeSubscribe: (client, subscription, done) => {
      const fault = filters.add(client, subscription);
      if (fault === undefined) return done(null, subscription);
      const address = addressOf(client);
      refuse(`filter ${address}`, `a subscription of ${shown(client.id)} at ${address} was refused: ${fault}`);
      done(null, null);
    },
    authorizePublish: (client, packet, done) => {
      const reserved = packet.topic.startsWith("$SYS/") ? new Error("$SYS/ topic is reserved") : null;
      // A will comes from a client that is gone; of a duplicate at QoS 2 nothing is handed out.
      if (reserved || !client || client.closed || (packet.qos === 2 && packet.dup)) done(reserved);
      else order.enter(client.id, packet, () => done(null));
    },
    authorizeForward: (client, packet) => (slow.takes(client, packet) ? packet : null),
    published: (_packet, client, done) => slow.published(client, () => done(null)),
  });
  aedes.on("clientDisconnect", ({ id }) => order.release(id));
  aedes.on("unsubscribe", (topics, client) => filters.remove(client, topics));
  for (const event of ["clientError", "connectionError"] as const) {
    aedes.on(event, (client, error) => {
      log.debug({ client: client.id }, `broker: ${error.message}`);
      slow.failed(client, error);
    });
  }
  aedes.on("connectionError", (client, error) => {
    if (error.message !== "connect did not arrive in time") return;
    const address = addressOf(client);
    const text = `a client at ${address} was disconnected: it sent no CONNECT within ${CLIENT_CONNECT_MS / 1000} s`;
    refuse(`silent ${address}`, text);
  });
  return aedes;
}

function explainListen(error: NodeJS.ErrnoException, port: number): Error {
  if (error.code === "EACCES") {
    const text = `port ${port} may not be opened by this user: take one above 1023, such as --broker-port 1883`;
    return new WorkerHostError("port_refused", text, { cause: error });
  }
  if (error.code !== "EADDRINUSE") return error;
  return new WorkerHostError(
    "port_in_use",
    `port ${port} is in use, perhaps by a broker. To use that one: npx worker-host --mqtt-host 127.0.0.1 --mqtt-port ${port}. To run the embedded one beside it: npx worker-host --broker-port ${port === 65_535 ? port - 1 : port + 1}`,
    { cause: error },
  );
}

/** Compares in a time that says nothing of where two texts differ. */
function areSame({ username, password }: ShownCredentials, expected: Credentials): boolean {
  const digest = (value: string | Uint8Array) => createHash("sha256").update(value).digest();
  const isSame = (value: string | Uint8Array | undefined, other: string) =>
    value !== undefined && timingSafeEqual(digest(value), digest(other));
  return isSame(username, expected.username) && isSame(password, expected.password);
}
