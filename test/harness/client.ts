import mqtt, { type IClientOptions, type IClientPublishOptions } from "mqtt";
import { onTestFinished } from "vitest";
import { Happenings } from "./wait.ts";

export interface Seen {
  topic: string;
  text: string;
  retain: boolean;
}

/** A client that sees all under its filters, as `mosquitto_sub` does, and publishes, as `mosquitto_pub` does. */
export class TestClient {
  readonly seen = new Happenings<Seen>();

  private constructor(
    private readonly client: mqtt.MqttClient,
    readonly url: string,
  ) {
    client.on("message", (topic, payload, { retain }) => this.seen.add({ topic, text: payload.toString(), retain }));
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
    onTestFinished(() => test.close());
    if (filters.length > 0) await client.subscribeAsync(filters, { qos: 1 });
    return test;
  }

  async publish(topic: string, payload: string | Buffer, options: IClientPublishOptions = {}): Promise<void> {
    await this.client.publishAsync(topic, payload, { qos: 1, ...options });
  }

  async subscribe(filter: string): Promise<void> {
    await this.client.subscribeAsync(filter, { qos: 1 });
  }

  /** Sends a command to a prop of the usual prefix. */
  async command(id: string, payload: string | object): Promise<void> {
    await this.publish(`halloween/${id}/cmd`, typeof payload === "string" ? payload : JSON.stringify(payload));
  }

  /** The text of the first message on `topic`, past or to come, that is (or matches) `text`. */
  async expect(topic: string, text?: string | RegExp): Promise<string> {
    return (await this.seen.find(matcher(topic, text), `${topic} ${text ?? ""}`)).text;
  }

  /** As `expect`, of those to come only. */
  async expectNext(topic: string, text?: string | RegExp): Promise<string> {
    return (await this.seen.next(matcher(topic, text), `${topic} ${text ?? ""}`)).text;
  }

  /** Fulfils when `texts` have come on `topic`, one after the other, of those to come only. */
  async expectSeries(topic: string, ...texts: string[]): Promise<void> {
    const left = [...texts];
    const isLast = (message: Seen) => {
      if (message.topic === topic && message.text === left[0]) left.shift();
      return left.length === 0;
    };
    await this.seen.next(isLast, `${topic} ${texts.join(", then ")}`);
  }

  /** Fulfils when the last message on `topic` is (or matches) `text`. */
  async expectLast(topic: string, text: string | RegExp): Promise<void> {
    const matches = matcher(topic, text);
    const last = this.seen.all.findLast((message) => message.topic === topic);
    if (last === undefined || !matches(last)) await this.seen.next(matches, `${topic} ${text} at last`);
  }

  /** Sends a command now and every 250 ms, until `topic` says `text`; gives what it said. */
  async commandUntil(id: string, payload: string | object, topic: string, text?: string | RegExp): Promise<string> {
    const said = this.expectNext(topic, text);
    const send = () => void this.command(id, payload);
    send();
    const again = setInterval(send, 250);
    return await said.finally(() => clearInterval(again));
  }

  /** The texts seen on `topic` so far. */
  texts(topic: string): string[] {
    return this.seen.all.filter((message) => message.topic === topic).map(({ text }) => text);
  }

  /** Fulfils when all that the broker had for us before now has arrived. */
  async barrier(): Promise<void> {
    const topic = `test/barrier/${Math.random()}`;
    await this.subscribe(topic);
    const echo = this.seen.find((message) => message.topic === topic, "the barrier");
    await this.publish(topic, "x");
    await echo;
  }

  async close(): Promise<void> {
    await this.client.endAsync(true);
  }
}

function matcher(topic: string, text: string | RegExp | undefined): (message: Seen) => boolean {
  return (message) =>
    message.topic === topic &&
    (text === undefined || (typeof text === "string" ? message.text === text : text.test(message.text)));
}
