import mqtt, { type IClientPublishOptions, type MqttClient } from "mqtt";

/**
 * The wire contract as somebody outside knows it, from docs/protocol.md. On purpose none of it comes from worker-host:
 * what both took from one place, both would have wrong.
 */
/** What an observer has to see. Not the commands: if it were subscribed to them, each would find somebody. */
export const WATCHED: readonly string[] = ["halloween/+/status/#", "halloween/cli/reply/#"];
export const commandTopic = (id: string) => `halloween/${id}/cmd`;
export const replyTopic = (id: string) => `halloween/cli/reply/${id}`;
export const ALL_STOP = "halloween/worker_host/status/all_stop";
export const REPLY = /^halloween\/cli\/reply\/(.+)$/;
export const AVAILABILITY = /^halloween\/([^/]+)\/status\/availability$/;
export const COMPLAINT = /^halloween\/[^/]+\/status\/(warn|error)$/;

/** What came of a message: `unheard` means that nobody was subscribed, `unsure` that no acknowledgement came. */
export type Outcome = "heard" | "unheard" | "unsure" | "not sent";

/** What MQTT 5 says of a message beside its payload. */
export type Properties = NonNullable<IClientPublishOptions["properties"]>;

export interface Heard {
  topic: string;
  text: string;
  retain: boolean;
}

export interface LinkOptions {
  url: string;
  /** What it subscribes to at each connect. */
  filters: readonly string[];
  onUp?: () => void;
  onDown?: () => void;
  onMessage?: (message: Heard) => void;
}

const AGAIN_MS = 100;
/** MQTT 5, 3.4.2.1 */
const NO_MATCHING_SUBSCRIBERS = 0x10;

/** A connection to the broker, made again and again. Nothing is queued, and nothing is sent twice. */
export class Link {
  #client: MqttClient | undefined;
  #up = false;
  #stopped = false;
  #again: NodeJS.Timeout | undefined;
  readonly #unheard = new Set<number | undefined>();

  constructor(private readonly options: LinkOptions) {}

  get up(): boolean {
    return this.#up;
  }

  start(): void {
    const { url, filters, onUp, onDown, onMessage } = this.options;
    const client = mqtt.connect(url, {
      protocolVersion: 5,
      reconnectPeriod: 0,
      connectTimeout: 3_000,
      keepalive: 10,
      clean: true,
      queueQoSZero: false,
    });
    this.#client = client;
    client.on("connect", () => {
      this.#up = true;
      onUp?.();
      // Where it fails, the connection has gone with it.
      for (const filter of filters) client.subscribe(filter, { qos: 1 });
    });
    client.on("message", (topic, payload, { retain }) => onMessage?.({ topic, text: payload.toString(), retain }));
    client.on("packetreceive", (packet) => {
      if (packet.cmd === "puback" && packet.reasonCode === NO_MATCHING_SUBSCRIBERS) this.#unheard.add(packet.messageId);
    });
    // Its close says the rest.
    client.on("error", () => {});
    client.once("close", () => {
      const wasUp = this.#up;
      this.#up = false;
      this.#unheard.clear();
      client.end(true);
      if (wasUp) onDown?.();
      if (!this.#stopped) this.#again = setTimeout(() => this.start(), AGAIN_MS);
    });
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#again);
    this.#client?.end(true);
  }

  publish(topic: string, payload: object, properties: Properties = {}): Promise<Outcome> {
    const client = this.#client;
    if (!client || !this.#up) return Promise.resolve("not sent");
    return new Promise((resolve) => {
      client.publish(topic, JSON.stringify(payload), { qos: 1, properties }, (error, packet) => {
        if (error) resolve("unsure");
        else resolve(packet && this.#unheard.delete(packet.messageId) ? "unheard" : "heard");
      });
    });
  }
}
