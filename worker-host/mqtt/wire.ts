import { type Clock, delay } from "../base/clock.ts";

/** Where a broker is and how to be let in. */
export interface BrokerOptions {
  /** `mqtt://`, `mqtts://`, `ws://` or `wss://`, without what may be a secret. */
  url: string;
  /** What is asked for in it, such as `?token=…`. */
  query?: string;
  username?: string;
  password?: string;
  /** PEM texts. */
  ca?: string;
  cert?: string;
  key?: string;
  /** Which MQTT to try first: 5 or 4 (that is, 3.1.1). */
  protocolVersion: 5 | 4;
  /** The longest packet that it takes, where that is known before it says so. */
  maxPacketBytes?: number;
  /** Where it is, if the URL can't say so: an IPv6 address with a zone. */
  host?: string;
  /** What the PEM texts were read from: a renewed one holds from the next connect on. */
  files?: Partial<Record<"ca" | "cert" | "key", string>>;
}

export interface PublishOptions {
  qos?: 0 | 1 | 2;
  retain?: boolean;
  /** MQTT 5: the broker drops it when it could not be delivered for so long, in s. */
  expiryS?: number;
  /** MQTT 5: hands back what the sender of a request sent along. */
  correlationData?: Uint8Array;
}

/** How something goes out to what isn't this worker's own. */
export interface SafeOptions {
  /** It moves nothing: it goes out also after a stop, and while all-stop or a lock-out holds. */
  safe?: boolean;
}

/**
 * What became of a message: `sent` (acknowledged by the broker, or written out at QoS 0; or it is retained, and goes out
 * when the broker takes more), `unheard` (as `sent`, and a broker that speaks MQTT 5 said that nobody is subscribed) or
 * `dropped` (for now, where it is retained: the next connection brings it; for good, where it is larger than the broker
 * takes).
 */
export type PublishResult = "sent" | "unheard" | "dropped";

/** A message that arrived. */
export interface Message {
  topic: string;
  payload: Uint8Array;
  qos: 0 | 1 | 2;
  /** It was retained by the broker before we subscribed; with `retainAsPublished`, also one that was published so since. */
  retain: boolean;
  /** MQTT 5: where its sender wants the reply. */
  responseTopic?: string;
  /** MQTT 5: what its sender wants back with the reply. */
  correlationData?: Uint8Array;
}

export type MessageHandler = (message: Message) => void;

/** The part of a connection that a worker's helpers use. */
export interface Wire {
  publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<PublishResult>;
  subscribe(filter: string, handler: MessageHandler): Promise<() => void>;
}

/** Subscribes; the function that it gives ends that: at once, or when it is granted. */
export function listen(wire: Pick<Wire, "subscribe">, filter: string, handler: MessageHandler): () => void {
  let over = false;
  let unsubscribe: (() => void) | undefined;
  void wire.subscribe(filter, handler).then((end) => {
    if (over) end();
    else unsubscribe = end;
  });
  return () => {
    over = true;
    unsubscribe?.();
  };
}

/** How long a broker has to send what it retains. */
const COLLECT_MS = 1_000;

/** What a broker retains for a filter, by topic. It sends that once for each filter: there must be no other subscription of it. */
export async function collectRetained(
  wire: Pick<Wire, "subscribe">,
  filter: string,
  clock: Clock,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const retained = new Map<string, Uint8Array>();
  const unsubscribe = await wire.subscribe(filter, ({ topic, payload, retain }) => {
    if (retain && payload.length > 0) retained.set(topic, payload);
  });
  await delay(clock, COLLECT_MS);
  unsubscribe();
  return retained;
}
