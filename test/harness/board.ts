import mqtt from "mqtt";
import { parseCommand, type Reply } from "../../worker-host/contract/command.ts";
import { Topics } from "../../worker-host/contract/topics.ts";
import { atEnd } from "./ending.ts";

const TOPICS = new Topics("halloween");
const RETAINED = { qos: 1, retain: true } as const;

export interface FakeBoardOptions {
  /** What it says of itself; nothing for "". */
  description?: string;
  /** How it answers a ping: with a reply, with a message of its own, or not at all. */
  ping?: "reply" | "telemetry" | "never";
  /** Why it takes no other id. */
  refuses?: string;
  /** It obeys no `stop`, and confirms none. */
  deaf?: boolean;
  /** It doesn't come back under its other id. */
  lost?: boolean;
}

/** A board: connected with a will, describes itself, answers `ping`, and takes another id when it is told `rename`. */
export class FakeBoard {
  #client: mqtt.MqttClient | undefined;
  #dead = false;
  /** The actions that it was sent. */
  readonly actions: string[] = [];

  private constructor(
    readonly url: string,
    public id: string,
    private readonly options: FakeBoardOptions,
  ) {}

  /** Fulfils when it is online. */
  static async start(url: string, id: string, options: FakeBoardOptions = {}): Promise<FakeBoard> {
    const board = new FakeBoard(url, id, options);
    atEnd(() => board.die());
    await board.#boot();
    return board;
  }

  async #boot(): Promise<void> {
    const { id } = this;
    const will = { topic: TOPICS.availability(id), payload: Buffer.from("offline"), qos: 1 as const, retain: true };
    const client = await mqtt.connectAsync(this.url, { protocolVersion: 4, reconnectPeriod: 0, will });
    client.on("error", () => {});
    client.stream.on("error", () => {});
    client.on("message", (_topic, payload, { retain }) => {
      if (retain) return;
      this.#obey(client, payload).catch((error: unknown) => {
        if (!this.#dead) throw error;
      });
    });
    this.#client = client;
    await client.subscribeAsync([TOPICS.command(id), TOPICS.broadcast], { qos: 1 });
    const { description = JSON.stringify({ contract: 1, id, class: "fogger", board: "esp32", commands: {} }) } =
      this.options;
    if (description !== "") await this.publish(TOPICS.description(id), description);
    await this.publish(TOPICS.state(id), "idle");
    await this.publish(TOPICS.availability(id), "online");
  }

  /** Says something, retained. */
  async publish(topic: string, text: string): Promise<void> {
    await this.#client?.publishAsync(topic, text, RETAINED);
  }

  async #obey(client: mqtt.MqttClient, payload: Buffer): Promise<void> {
    const { command } = parseCommand(payload);
    if (!command) return;
    const { action, args, id, replyTo } = command;
    const reply = async (said: Omit<Reply, "from" | "ms">) => {
      const own = { ...(id ? { id } : {}), from: this.id };
      if (replyTo) await client.publishAsync(replyTo, JSON.stringify({ ...own, ...said, ms: 1 }), { qos: 1 });
    };
    this.actions.push(action);
    const { ping = "reply", refuses, lost, deaf } = this.options;
    if (action === "stop" && !deaf) await reply({ status: "ok" });
    else if (action === "ping" && ping !== "never") {
      await client.publishAsync(TOPICS.telemetry(this.id, "pong"), "ok");
      if (ping === "reply") await reply({ status: "ok" });
    } else if (action === "rename" && refuses !== undefined) {
      await reply({ status: "error", refused: true, error: refuses });
    } else if (action === "rename") {
      await reply({ status: "ok" });
      await this.leave();
      this.id = String(args);
      if (!lost) await this.#boot();
    }
  }

  /** Takes all that it retains off the broker, and disconnects in order. */
  async leave(): Promise<void> {
    const { id } = this;
    for (const topic of [TOPICS.availability(id), TOPICS.state(id), TOPICS.description(id)])
      await this.publish(topic, "");
    await this.#client?.endAsync();
  }

  /** Loses its power: the broker publishes its will. */
  async die(): Promise<void> {
    this.#dead = true;
    this.#client?.stream.destroy();
    await this.#client?.endAsync(true);
  }
}
