import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import type { Counts } from "../../base/counts.ts";
import { RateLimiter } from "../../base/log.ts";
import { deferred } from "../../base/promises.ts";
import { ALL_STOP, isEmergencyStop, parseCommand } from "../../contract/command.ts";
import { type HostDescription, parseRunstate, type RunstatePayload } from "../../contract/description.ts";
import { decodeText, defined } from "../../contract/payload.ts";
import { faultOfId, type Topics } from "../../contract/topics.ts";
import { Connection, reassert } from "../../mqtt/connection.ts";
import type { ConnectGate } from "../../mqtt/mqtt-client.ts";
import {
  type BrokerOptions,
  collectRetained,
  type Message,
  type MessageHandler,
  type PublishOptions,
} from "../../mqtt/wire.ts";
import { DESCRIBE_EVERY_MS, UPTIME_EVERY_MS } from "../limits.ts";
import type { WorkerRecord } from "../runners/records.ts";
import { RollCall } from "./roll-call.ts";

export interface HostConnectionOptions {
  broker: BrokerOptions;
  /** Instead of a socket to the broker's address. */
  openStream?: () => Duplex;
  topics: Topics;
  version: string;
  log: Logger;
  clock: Clock;
  random: () => number;
  gate: ConnectGate;
  /** Where its messages are counted. */
  counts: Counts;
  /** Called at every connect, once all is restored. */
  onUp: () => void;
  /** What runs here, and what the host can be told, as it is now. */
  describe: () => Pick<HostDescription, "workers" | "boards" | "show" | "commands">;
  /** A worker of this host. */
  worker: (id: string) => WorkerRecord | undefined;
}

const RETAINED = { qos: 1, retain: true } as const;

/** The host's own connection: what it says of itself and of its workers' lives. */
export class HostConnection {
  readonly #connection: Connection;
  readonly #rollCall: RollCall;
  readonly #startedAt: number;
  readonly #upSince: number;
  readonly #warnings: RateLimiter;
  readonly #errors: RateLimiter;
  readonly #gone = new Set<string>();
  readonly #connected = deferred();
  #describing = false;
  #stopUptime = () => {};
  #away = false;
  /** We are taking a retained command off the topic of all props: one empty message is to come. */
  #clearing = false;

  constructor(private readonly options: HostConnectionOptions) {
    const { broker, openStream, topics, clock, random, gate, log, counts } = options;
    this.#startedAt = clock.now();
    this.#upSince = clock.monotonic();
    this.#warnings = new RateLimiter(clock, (text) => {
      log.warn(text);
      this.say(topics.hostName, "warn", text);
    });
    this.#errors = new RateLimiter(clock, (text) => {
      log.error(text);
      this.say(topics.hostName, "error", text);
    });
    this.#connection = new Connection({
      broker,
      ...defined({ openStream }),
      clientId: `${topics.prefix.replaceAll("/", "-")}-${topics.hostName}`,
      will: { topic: topics.availability(topics.hostName), payload: "offline" },
      log,
      clock,
      random,
      gate,
      counts,
      onUp: () => {
        if (this.#away) log.info(`connected to ${broker.url} again`);
        this.#away = false;
        options.onUp();
        this.#rollCall.up();
      },
      onDown: ({ refused, text }, told) => {
        this.#away = true;
        this.#rollCall.down();
        if (told === "new") log[refused ? "error" : "warn"](`${text}; trying again until it works`);
      },
      // What is too large for the topic of errors can't be told there.
      onTooLarge: (topic, text) =>
        topic === topics.status(topics.hostName, "error") ? log.error(text) : this.#errors.say(text),
    });
    this.#rollCall = new RollCall({
      ...options,
      wire: this.#connection,
      say: (text) => this.say(topics.hostName, "warn", text),
    });
  }

  /** The MQTT that the broker was found to speak. */
  get protocolVersion(): 5 | 4 {
    return this.#connection.protocolVersion;
  }

  get connected(): boolean {
    return this.#connection.connected;
  }

  /** Connects, with the MQTT that the broker is known to speak. Fulfils once connected. */
  async start(protocolVersion: 5 | 4): Promise<void> {
    const { topics, clock } = this.options;
    const { hostName } = topics;
    const connection = this.#connection;
    await connection.subscribe(topics.broadcast, (message) => this.#sawBroadcast(message));
    const beside = [topics.description(hostName)];
    await reassert({ availability: topics.availability(hostName), beside, connection, clock });
    this.#publish(topics.runstate(hostName), this.#runstate("running", this.#startedAt));
    this.#publish(topics.availability(hostName), "online");
    await connection.start(protocolVersion);
    this.#connected.resolve();
    this.#beat();
  }

  /** Hands on what the host is told to do. */
  async takeCommands(handler: MessageHandler): Promise<void> {
    const { topics } = this.options;
    const own = [topics.command(topics.hostName), topics.adminCommand];
    await Promise.all(own.map((topic) => this.#connection.subscribe(topic, handler, { retainAsPublished: true })));
  }

  /** Gives what ends it. */
  subscribe(topic: string, handler: MessageHandler): Promise<() => void> {
    return this.#connection.subscribe(topic, handler);
  }

  publish(topic: string, payload: string, options: PublishOptions): void {
    void this.#connection.publish(topic, payload, options);
  }

  /** Takes a retained message off the broker; gives whether that has arrived. */
  async takeOff(topic: string): Promise<boolean> {
    return (await this.#connection.publish(topic, "", RETAINED)) !== "dropped";
  }

  /** Clears what props have left on the broker that were removed while the host was down; all workers are known now. */
  async clearRemoved(): Promise<void> {
    await this.#connection.subscribe(this.options.topics.runstates, (message) => this.#sawRunstate(message));
  }

  async stop(): Promise<void> {
    const { topics, clock } = this.options;
    const { hostName } = topics;
    this.#stopUptime();
    this.#rollCall.down();
    this.#publish(topics.runstate(hostName), this.#runstate("stopped", clock.now()));
    this.#publish(topics.availability(hostName), "offline");
    await this.#connection.stop();
  }

  /** Leaves without a word: another host speaks under this name. */
  async leave(): Promise<void> {
    this.#stopUptime();
    await this.#connection.stop();
  }

  /** Publishes a worker's runstate, and why it failed. */
  tell({ planned: { id }, state, since, detail, idTaken }: WorkerRecord): void {
    const { topics } = this.options;
    this.describe();
    if (idTaken || faultOfId(id, topics.hostName) !== undefined) {
      // It has no topics of its own, or somebody else's.
      if (detail) this.say(topics.hostName, "error", detail);
      return;
    }
    if (state !== "skipped") this.#publish(topics.runstate(id), this.#runstate(state, since, detail));
    if (state === "failed" && detail) this.say(id, "error", detail);
  }

  /** Says something for people on an id's status topics, once the host is connected. */
  say(id: string, key: "warn" | "error", text: string): void {
    void this.#connected.promise.then(() => this.#connection.publish(this.options.topics.status(id, key), text));
  }

  /** Publishes the description, with all that changes within 200 ms. */
  describe(): void {
    if (this.#describing) return;
    this.#describing = true;
    this.options.clock.after(DESCRIBE_EVERY_MS, () => {
      this.#describing = false;
      this.describeNow();
    });
  }

  describeNow(): void {
    const { topics, version, describe } = this.options;
    const description: HostDescription = { contract: 1, name: topics.hostName, version, ...describe() };
    this.#publish(topics.description(topics.hostName), JSON.stringify(description));
  }

  #publish(topic: string, payload: string): void {
    void this.#connection.publish(topic, payload, RETAINED);
  }

  #runstate(state: RunstatePayload["state"], since: number, detail?: string): string {
    const payload: RunstatePayload = {
      state,
      since: new Date(since).toISOString(),
      ...(detail ? { detail } : {}),
      host: this.options.topics.hostName,
    };
    return JSON.stringify(payload);
  }

  #beat(): void {
    const { topics, clock } = this.options;
    const seconds = Math.floor((clock.monotonic() - this.#upSince) / 1000);
    void this.#connection.publish(topics.uptime, String(seconds));
    this.#stopUptime = clock.after(UPTIME_EVERY_MS, () => this.#beat());
  }

  /** A retained runstate of ours for a prop that is no longer there was left behind: all that it retained goes. */
  #sawRunstate({ topic, payload, retain }: Message): void {
    const { topics, log } = this.options;
    const id = topics.idOf(topic);
    if (!retain || id === undefined || id === topics.hostName || this.#gone.has(id)) return;
    if (parseRunstate(payload)?.host !== topics.hostName || this.options.worker(id)) return;
    log.info(`${id} is gone: clearing what it left on the broker`);
    void this.clear(id);
  }

  /** Takes what a worker that is gone has left on the broker off it. */
  async clear(id: string): Promise<void> {
    const { topics, clock } = this.options;
    this.describe();
    if (faultOfId(id, topics.hostName) !== undefined) return;
    this.#gone.add(id);
    const retained = await collectRetained(this.#connection, topics.subtree(id), clock);
    this.#gone.delete(id);
    if (this.options.worker(id)) return;
    const runstate = parseRunstate(retained.get(topics.runstate(id)) ?? new Uint8Array());
    if (runstate && runstate.host !== topics.hostName) return;
    // A board that took over the id holds the rest.
    const alive = decodeText(retained.get(topics.availability(id)) ?? new Uint8Array()) === "online";
    for (const topic of alive ? [topics.runstate(id)] : retained.keys()) this.#publish(topic, "");
  }

  /** Says for all workers what is wrong with a command to all props. */
  #sawBroadcast({ topic, payload, retain }: Message): void {
    if (retain && payload.length > 0) {
      this.warn(`retained command on ${topic} refused and cleared; publish commands without the retain flag`);
      this.#clearing = true;
      this.#publish(topic, "");
    } else if (payload.length === 0 && this.#clearing) {
      this.#clearing = false;
    } else {
      const { command, refusal, forgiven } = parseCommand(payload);
      if (refusal !== undefined) this.warn(`${topic}: ${refusal}`);
      if (forgiven !== undefined) this.warn(`${topic}: ${command.action} obeyed, though ${forgiven}`);
      if (!command || (command.action !== ALL_STOP && !isEmergencyStop(command))) return;
      const { hostName } = this.options.topics;
      const own = this.options.topics.command(hostName);
      this.warn(`${ALL_STOP} on ${topic} stopped all props once, and holds none of them: send it to ${own}`);
    }
  }

  /** Warns people, in the log and on the host's own topic. */
  warn(text: string): void {
    this.#warnings.say(text);
  }
}
