import { readFileSync } from "node:fs";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import mqtt, {
  type IClientOptions,
  type IClientPublishOptions,
  type IConnackPacket,
  type IPublishPacket,
  type MqttClient,
} from "mqtt";
import type { Clock } from "../base/clock.ts";
import { CONNECT_TIMEOUT_MS, KEEPALIVE_S } from "../contract/limits.ts";
import type { BrokerOptions, Message, PublishOptions } from "./wire.ts";

/** How many connects may be in flight at once: a broker's accept backlog is short. */
const LIMIT = 50;

/** Lets connects begin in the order in which they came, `LIMIT` at a time. */
export class ConnectGate {
  #free = LIMIT;
  #open = true;
  readonly #waiting = new Set<(admitted: boolean) => void>();

  /** From now on nobody enters. */
  close(): void {
    this.#open = false;
  }

  open(): void {
    this.#open = true;
    this.#admit();
  }

  /**
   * Fulfils when there is room; the function that it gives makes room again, once. Who has to wait is handed one that
   * ends the waiting, without room.
   */
  async enter(onWait: (giveUp: () => void) => void): Promise<() => void> {
    if (this.#open && this.#free > 0) this.#free--;
    else if (!(await this.#wait(onWait))) return () => {};
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#free++;
      this.#admit();
    };
  }

  #wait(onWait: (giveUp: () => void) => void): Promise<boolean> {
    return new Promise((resolve) => {
      this.#waiting.add(resolve);
      onWait(() => {
        this.#waiting.delete(resolve);
        resolve(false);
      });
    });
  }

  #admit(): void {
    for (const next of this.#waiting) {
      if (!this.#open || this.#free <= 0) return;
      this.#waiting.delete(next);
      this.#free--;
      next(true);
    }
  }
}

/** MQTT 3.1.1, 3.2.2.3, and MQTT 5, 2.4: why a broker takes no connection, or ends one. */
const REASONS: ReadonlyMap<unknown, string> = new Map([
  [1, "it does not speak this version of MQTT"],
  [2, "it takes no client id such as ours"],
  [3, "it is not available at the moment"],
  [4, "wrong or missing credentials"],
  [5, "not authorized"],
  [128, "it does not say why"],
  [129, "it takes a packet of ours for malformed"],
  [130, "it takes a packet of ours for a breach of the protocol"],
  [131, "a reason of its own"],
  [132, "it does not speak this version of MQTT"],
  [133, "it takes no client id such as ours"],
  [134, "wrong or missing credentials"],
  [135, "not authorized"],
  [136, "it is not available at the moment"],
  [137, "it is too busy at the moment"],
  [138, "this client is banned"],
  [139, "it is shutting down"],
  [140, "it knows no such way to authenticate"],
  [141, "nothing came from here for too long"],
  [142, "another client took over the session: it has the same client id"],
  [143, "it takes no subscription such as ours"],
  [144, "it takes no topic such as ours"],
  [147, "more came at once than it takes"],
  [148, "it takes no topic alias such as ours"],
  [149, "a packet was too large for it"],
  [150, "messages came faster than it takes them"],
  [151, "a quota was exceeded"],
  [152, "an administrator ended it"],
  [153, "a payload was not in the format that it was said to be in"],
  [154, "it retains no messages"],
  [155, "it does not support the QoS"],
  [156, "another server is to be used"],
  [157, "the server has moved"],
  [158, "it has no shared subscriptions"],
  [159, "connections came faster than it takes them"],
  [160, "the connection had its longest time"],
  [161, "it has no subscription identifiers"],
  [162, "it has no subscriptions with wildcards"],
]);

/** The broker ends all its connections. */
const SHUTTING_DOWN = 139;

/** Why there is no connection, for people. */
export interface ConnectionProblem {
  /** The broker is there, and won't have us. */
  refused: boolean;
  text: string;
}

/** An error that mqtt.js tells of: `code` is the broker's reason code, or the system's name of the error. */
export type ClientError = Error & { code?: unknown };

export interface ClientOptions {
  broker: BrokerOptions;
  /** The start of the client ids; each connect adds a random end, since a shared id steals the connection. */
  clientId: string;
  /** Published by the broker, retained at QoS 1, when this connection is lost. */
  will?: { topic: string; payload: string };
  /** A number from 0 to 1, as `Math.random`. */
  random: () => number;
  clock: Clock;
  /** Instead of a socket to the broker's address. */
  openStream?: () => Duplex;
}

/** MQTT 3.1.1, 3.2.2.3 and MQTT 5, 3.2.2.2 */
const UNSUPPORTED_PROTOCOL: ReadonlySet<unknown> = new Set([1, 132]);
const BAD_CREDENTIALS: ReadonlySet<unknown> = new Set([4, 5, 134, 135]);

/** A client for one connect and no more: it neither reconnects nor queues. */
export function createClient(
  { broker, clientId, will, random, clock, openStream }: ClientOptions,
  protocolVersion: 5 | 4,
): MqttClient {
  const options: IClientOptions = {
    clientId: `${clientId}-${random().toString(36).slice(2, 12)}`,
    protocolVersion,
    keepalive: KEEPALIVE_S,
    connectTimeout: CONNECT_TIMEOUT_MS,
    clean: true,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    // Its own goes through a package that looks up whether anybody wants it, dozens of times for each message.
    log: () => {},
    // It would fill a table of 65,536 buffers at the first packet: 50 ms and some MB for each process.
    writeCache: false,
  };
  for (const name of ["username", "password", "host"] as const) {
    const value = broker[name];
    if (value !== undefined) options[name] = value;
  }
  for (const name of ["ca", "cert", "key"] as const) {
    const value = pemOf(broker, name);
    if (value !== undefined) options[name] = value;
  }
  if (will) options.will = { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: true };
  const open = openStream ?? plainSocket(broker);
  const client = open ? new mqtt.MqttClient(open, options) : mqtt.connect(broker.url + (broker.query ?? ""), options);
  client.handleMessage = takeTurns(client, clock);
  // Nagle's algorithm would hold an answer back until the PUBACK written before it is acknowledged: 44 ms.
  if ("setNoDelay" in client.stream && typeof client.stream.setNoDelay === "function") client.stream.setNoDelay(true);
  return client;
}

/** What its file says now; where that can't be read, what it said at the start. */
function pemOf({ files, ...texts }: BrokerOptions, name: "ca" | "cert" | "key"): string | undefined {
  const path = files?.[name];
  if (path === undefined) return texts[name];
  try {
    return readFileSync(path, "utf8");
  } catch {
    // It is being renewed.
    return texts[name];
  }
}

/** Opens a socket without TLS, where the URL asks for that. `mqtt.connect` would first load what WebSockets need: 30 ms. */
function plainSocket({ url, host: zoned }: BrokerOptions): (() => Duplex) | undefined {
  const { protocol, hostname, port } = new URL(url);
  if (protocol !== "mqtt:") return undefined;
  const host = zoned ?? hostname.replace(/^\[|\]$/g, "");
  return () => connect({ host, port: Number(port || 1883) });
}

/** How many messages one connection handles, at most, in a turn of the event loop. */
const TURN_MESSAGES = 32;
/** How long they may take together, in ms. */
const TURN_MS = 1;

/**
 * Called by mqtt.js after each message; the next is handled when `next` is called, and the broker is not read from
 * before that: a flood of messages on one connection takes its turns with all others. What is said in a turn of the
 * event loop in which a message was handled goes out in one write.
 */
function takeTurns({ stream }: MqttClient, clock: Clock): MqttClient["handleMessage"] {
  let turn: { began: number; messages: number; next?: () => void } | undefined;
  const begin = () => {
    stream.cork();
    setImmediate(() => {
      const next = turn?.next;
      turn = undefined;
      stream.uncork();
      next?.();
    });
    return { began: clock.monotonic(), messages: 0 };
  };
  return (_packet, next) => {
    turn ??= begin();
    if (++turn.messages < TURN_MESSAGES && clock.monotonic() - turn.began < TURN_MS) next();
    else turn.next = next;
  };
}

/** Whether the broker doesn't speak the MQTT that it was asked for. */
export function refusesVersion({ code }: ClientError): boolean {
  return UNSUPPORTED_PROTOCOL.has(code);
}

const UNKNOWN_AUTHORITY =
  "its certificate is signed by an authority that is not known here: name that one's certificate with MQTT_CA";
/** What is wrong with the broker's certificate, and what to do, by OpenSSL's and Node's codes. */
const BAD_CERTIFICATES: ReadonlyMap<unknown, string> = new Map([
  ["SELF_SIGNED_CERT_IN_CHAIN", UNKNOWN_AUTHORITY],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", UNKNOWN_AUTHORITY],
  ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", UNKNOWN_AUTHORITY],
  ["CERT_SIGNATURE_FAILURE", "its certificate is signed by another authority than the one in MQTT_CA"],
  ["CERT_HAS_EXPIRED", 'its certificate has expired: renew it with "npx worker-host access tls"'],
  ["CERT_NOT_YET_VALID", "its certificate is not valid yet: look at the clocks of both machines"],
  [
    "ERR_TLS_CERT_ALTNAME_INVALID",
    'its certificate is for other names: use one of those, or "npx worker-host access tls <name>"',
  ],
]);

export function explainError(error: ClientError, broker: BrokerOptions): ConnectionProblem {
  const { url } = broker;
  const certificate = BAD_CERTIFICATES.get(error.code);
  if (certificate !== undefined) return { refused: false, text: `${url}: ${certificate} (${error.message})` };
  if (typeof error.code !== "number") return { refused: false, text: `${url}: ${error.message || String(error.code)}` };
  return { refused: true, text: explainCode(error.code, broker) ?? `${url} refuses the connection: ${error.message}` };
}

/** @param code that of an MQTT 5 DISCONNECT */
export function explainDisconnect(code: number | undefined, broker: BrokerOptions): ConnectionProblem {
  const why = `${broker.url} ended the connection: ${REASONS.get(code) ?? `reason code ${code ?? 0}`}`;
  return {
    refused: code !== SHUTTING_DOWN,
    text: BAD_CREDENTIALS.has(code) ? (explainCode(code, broker) ?? why) : why,
  };
}

function explainCode(code: unknown, { url, username }: BrokerOptions): string | undefined {
  if (BAD_CREDENTIALS.has(code)) {
    const who = username === undefined ? "a client without a user name" : `user "${username}"`;
    return `${url} refuses ${who}: wrong or missing credentials; set MQTT_USERNAME and MQTT_PASSWORD to ones that it knows`;
  }
  const words = REASONS.get(code);
  return words === undefined ? undefined : `${url} refuses the connection: ${words} (reason code ${code})`;
}

/** What MQTT 5 says of a message beside its payload. */
export function propertiesOf({ expiryS, correlationData }: PublishOptions): Pick<IClientPublishOptions, "properties"> {
  if (expiryS === undefined && correlationData === undefined) return {};
  const properties: IClientPublishOptions["properties"] = {};
  if (expiryS !== undefined) properties.messageExpiryInterval = expiryS;
  if (correlationData !== undefined) properties.correlationData = Buffer.from(correlationData);
  return { properties };
}

/** What MQTT 5 says of where a reply is wanted. */
export function requestOf({ properties }: IPublishPacket): Pick<Message, "responseTopic" | "correlationData"> {
  if (!properties?.responseTopic) return {};
  const { responseTopic, correlationData } = properties;
  return { responseTopic, ...(correlationData ? { correlationData } : {}) };
}

/** MQTT 5, 3.3.2.3.8: because of which subscriptions a broker sends this message, where it says so. */
export function identifiersOf({ properties }: IPublishPacket): readonly number[] | undefined {
  const identifiers = properties?.subscriptionIdentifier;
  return typeof identifiers === "number" ? [identifiers] : identifiers;
}

/** MQTT 5, 3.2.2.3.12: whether a broker takes identifiers of subscriptions; it does unless it says otherwise. */
export function takesIdentifiers({ properties }: IConnackPacket, protocolVersion: 5 | 4): boolean {
  return protocolVersion === 5 && properties?.subscriptionIdentifiersAvailable !== false;
}

/** A payload as mqtt.js takes it. */
export function asBuffer(payload: string | Uint8Array): string | Buffer {
  if (typeof payload === "string") return payload;
  return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
}
