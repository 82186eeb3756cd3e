import mqtt, { type IClientOptions, type IClientPublishOptions } from "mqtt";
import { ADMIN_VERBS } from "../../worker-host/contract/access.ts";
import { parseCommand } from "../../worker-host/contract/command.ts";
import { atEnd } from "./ending.ts";
import { Mailbox } from "./mailbox.ts";

export interface Seen {
  topic: string;
  text: string;
  retain: boolean;
}

/** A client that sees all under its filters, as `mosquitto_sub` does, and publishes, as `mosquitto_pub` does. */
export class TestClient {
  /** All messages so far, in their order. */
  readonly seen: { readonly all: Seen[] } = { all: [] };
  readonly #mailboxes = new Map<string, Mailbox>();

  private constructor(
    private readonly client: mqtt.MqttClient,
    readonly url: string,
  ) {
    client.on("message", (topic, payload, { retain }) => {
      const text = payload.toString();
      this.seen.all.push({ topic, text, retain });
      this.#mailbox(topic).add(text);
    });
  }

  static async connect(
    url: string,
    filters: string[] = ["halloween/#"],
    options: IClientOptions = {},
  ): Promise<TestClient> {
    const client = await mqtt.connectAsync(url, { protocolVersion: 4, reconnectPeriod: 0, ...options });
    client.stream.on("error", () => {});
    client.on("error", () => {});
    const test = new TestClient(client, url);
    atEnd(() => test.close());
    if (filters.length > 0) await client.subscribeAsync(filters, { qos: 1 });
    return test;
  }

  async publish(topic: string, payload: string | Buffer, options: IClientPublishOptions = {}): Promise<void> {
    await this.client.publishAsync(topic, payload, { qos: 1, ...options });
  }

  async subscribe(filter: string): Promise<void> {
    await this.client.subscribeAsync(filter, { qos: 1 });
  }

  /** Sends a command to a prop of the usual prefix, or to a host, where that takes it. */
  async command(id: string, payload: string | object): Promise<void> {
    const text = typeof payload === "string" ? payload : JSON.stringify(payload);
    const { action = "" } = parseCommand(Buffer.from(text)).command ?? {};
    await this.publish(`halloween/${id}/${ADMIN_VERBS.has(action) ? "admin/" : ""}cmd`, text);
  }

  /**
   * The first message on `topic`, of those not handed out yet, that is (or matches) `text`; waits for it. Messages
   * before it on that topic are passed over and count as handed out. Waits on one topic are served one by one.
   */
  expect(topic: string, text?: string | RegExp, ms?: number): Promise<string> {
    const mailbox = this.#mailbox(topic);
    const before = mailbox.handedOut;
    const matches = (found: string) =>
      text === undefined || (typeof text === "string" ? found === text : text.test(found));
    return mailbox.take(matches, () => `${topic} ${text ?? ""}; ${this.#lastSeen(topic, before)}`, ms);
  }

  /** For people: what came on a topic, and on all. */
  #lastSeen(topic: string, before: number): string {
    const texts = this.texts(topic);
    return [
      `of ${texts.length} on that topic ${before} were handed out before; the last of them:`,
      ...texts.slice(-20).map((text) => `  ${shorten(text)}`),
      "the last on all topics:",
      ...this.seen.all.slice(-20).map(({ topic: at, text }) => `  ${at} ${shorten(text)}`),
    ].join("\n");
  }

  #mailbox(topic: string): Mailbox {
    const known = this.#mailboxes.get(topic);
    if (known) return known;
    const fresh = new Mailbox();
    this.#mailboxes.set(topic, fresh);
    return fresh;
  }

  /** The texts seen on `topic` so far, handed out or not. */
  texts(topic: string): string[] {
    return this.seen.all.filter((message) => message.topic === topic).map(({ text }) => text);
  }

  /** Fulfils when all that the broker had for us before now has arrived. */
  async barrier(): Promise<void> {
    const topic = `test/barrier/${Math.random()}`;
    await this.subscribe(topic);
    await this.publish(topic, "x");
    await this.expect(topic);
  }

  async close(): Promise<void> {
    await this.client.endAsync(true);
  }
}

function shorten(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}… (${text.length} characters)` : text;
}
