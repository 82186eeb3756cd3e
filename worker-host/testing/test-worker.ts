import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, msOf, type Span, systemClock } from "../base/clock.ts";
import { silentLog } from "../base/log.ts";
import { SeenIds } from "../commands/seen-ids.ts";
import { parseCommand } from "../contract/command.ts";
import type { WorkerDescription } from "../contract/description.ts";
import { encodePayload, parsePayload } from "../contract/payload.ts";
import { Topics } from "../contract/topics.ts";
import { createAedes } from "../host/broker/broker.ts";
import { Calls } from "../mqtt/calls.ts";
import { Connection } from "../mqtt/connection.ts";
import { ConnectGate } from "../mqtt/mqtt-client.ts";
import type { Message, PublishOptions } from "../mqtt/wire.ts";
import type { BaseWorker } from "../worker/base-worker.ts";
import type { ConfigSpec } from "../worker/channel.ts";
import type { WorkerContext } from "../worker/context.ts";
import { Latch } from "../worker/halt-guard.ts";
import { Life } from "../worker/life.ts";
import type { WorkerClass } from "../worker/load.ts";
import { TestClock } from "./test-clock.ts";

/** A message that a worker published. */
export interface TestMessage {
  topic: string;
  text: string;
}

/** Messages as they came; of each topic, those that a test has not asked for yet. */
class Inbox {
  readonly all: TestMessage[] = [];
  readonly #unread = new Map<string, string[]>();
  readonly #waiting = new Map<string, ((text: string) => void)[]>();

  constructor(
    private readonly clock: Clock,
    private readonly patienceMs: number,
  ) {}

  add(message: TestMessage): void {
    this.all.push(message);
    const waiting = this.#waiting.get(message.topic)?.shift();
    if (waiting) waiting(message.text);
    else this.#unread.set(message.topic, [...(this.#unread.get(message.topic) ?? []), message.text]);
  }

  /** The first on `topic` that was not asked for yet; waits for it. */
  next(topic: string): Promise<string> {
    const text = this.#unread.get(topic)?.shift();
    if (text !== undefined) return Promise.resolve(text);
    return new Promise((resolve, reject) => {
      const arrive = (arrived: string) => {
        cancel();
        resolve(arrived);
      };
      const cancel = this.clock.after(this.patienceMs, () => {
        const waiting = this.#waiting.get(topic) ?? [];
        waiting.splice(waiting.indexOf(arrive), 1);
        reject(new Error(`nothing came on ${topic} in ${this.patienceMs} ms${this.#seen()}`));
      });
      this.#waiting.set(topic, [...(this.#waiting.get(topic) ?? []), arrive]);
    });
  }

  #seen(): string {
    const last = this.all.slice(-10).map(({ topic, text }) => `\n  ${topic} ${text}`);
    const hint = "; where the worker waits, put time forward with advance(ms)";
    return last.length === 0 ? hint : `${hint}. The last that came:${last.join("")}`;
  }
}

export interface StartWorkerOptions {
  /** As it would stand in the config file; checked by `static config`. */
  config?: Record<string, unknown>;
  /** `prop` if not given. */
  id?: string;
  /** The folder of its source, for `this.dir`; a temporary one if not given. */
  dir?: string;
  /** The folder for `this.store` and `this.dataDir`; a temporary one, removed at its stop, if not given. */
  dataDir?: string;
  /** How long `telemetry()` and its like wait, in ms; 2000 if not given. */
  patienceMs?: number;
}

/** A command that a worker sent to another prop. */
export interface SentCommand {
  target: string;
  action: string;
  args: unknown;
}

// biome-ignore lint/suspicious/noExplicitAny: whatever its config is
type AnyWorker = BaseWorker<any>;

const PREFIX = "halloween";
const BROKER = { url: "mqtt://in-process", protocolVersion: 4 } as const;

/**
 * Runs a worker by itself, on a broker in this process that listens on no port.
 *
 * @throws Error where it fails to start, with what the host would say
 */
export async function startWorker<W extends AnyWorker>(
  Worker: new (context: WorkerContext) => W,
  options: StartWorkerOptions = {},
): Promise<TestWorker<W>> {
  const aedes = await createAedes({
    letIn: (_client, _credentials, settle) => settle(undefined),
    log: silentLog(),
    refuse: () => {},
    addressOf: () => "this process",
  });
  const temporary = await mkdtemp(join(tmpdir(), "worker-host-testing-"));
  // A socket of the file system, since streams joined in memory stall under Node 26.
  const server = createServer(aedes.handle);
  await new Promise<void>((resolve) => server.listen(join(temporary, "broker"), resolve));
  const close = async () => {
    await new Promise<void>((resolve) => aedes.close(resolve));
    await new Promise((resolve) => server.close(resolve));
  };
  const worker = new TestWorker(Worker, { server, close }, temporary, options);
  await worker.start();
  return worker;
}

/** A worker under test, seen from outside: by what it publishes. */
export class TestWorker<W extends AnyWorker> {
  readonly #topics = new Topics(PREFIX);
  readonly #clock = new TestClock();
  readonly #latch = new Latch();
  readonly #life: Life;
  readonly #observer: Connection;
  readonly #inbox: Inbox;
  readonly #calls: Calls;
  /** What it sent to other props so far. */
  readonly commands: SentCommand[] = [];
  #instance: W | undefined;
  #failure: string | undefined;

  constructor(
    Worker: new (context: WorkerContext) => W,
    private readonly broker: { server: Server; close: () => Promise<void> },
    private readonly temporary: string,
    options: StartWorkerOptions,
  ) {
    const { id = "prop", dir = temporary, dataDir = join(temporary, "data"), patienceMs = 2000 } = options;
    const { server } = broker;
    const common = {
      broker: BROKER,
      log: silentLog(),
      random: Math.random,
      gate: new ConnectGate(),
      openStream: () => connect(server.address() as string),
    };
    this.#inbox = new Inbox(systemClock, patienceMs);
    this.#observer = new Connection({ ...common, clock: systemClock, clientId: "test" });
    const wire = this.#observer;
    this.#calls = new Calls({ id: "cli", topics: this.#topics, wire, clock: this.#clock, newId: randomUUID });
    this.#life = new Life(
      {
        id,
        classId: id,
        bundle: "",
        file: Worker.name,
        dir,
        dataDir,
        config: this.#configOf(options.config ?? {}),
        about: {},
      },
      {
        ...common,
        clock: this.#clock,
        topics: this.#topics,
        latch: this.#latch,
        seen: new SeenIds(),
        newId: randomUUID,
        load: () => Promise.resolve(this.#capture(Worker)),
        onState: ({ state, detail }) => {
          if (state === "failed") this.#failure = detail ?? "it failed";
        },
        onGroup: () => {},
        unknownAreThere: true,
      },
    );
  }

  /** Brings it up; `startWorker` does that. */
  async start(): Promise<void> {
    await this.#observer.start();
    await this.#observer.subscribe("#", (message) => this.#receive(message));
    await this.#life.start({ recover: false });
    await this.#clock.advance(0);
    const failure = this.#failure;
    if (failure === undefined) return;
    await this.stop();
    throw new Error(`the worker failed: ${failure}`);
  }

  /** The worker itself. */
  get worker(): W {
    if (!this.#instance) throw new Error("the worker was not constructed");
    return this.#instance;
  }

  /** All that it published so far. */
  get messages(): readonly TestMessage[] {
    return this.#inbox.all;
  }

  /** What it says of itself now. */
  get description(): WorkerDescription | undefined {
    const topic = this.#topics.description(this.#life.id);
    const text = this.#inbox.all.findLast((message) => message.topic === topic)?.text;
    return text === undefined ? undefined : (JSON.parse(text) as WorkerDescription);
  }

  /** Sends it a command, as text or as an object, as `mosquitto_pub` does; fulfils when it has had time to answer. */
  async send(command: string | { action: string; args?: unknown }): Promise<void> {
    await this.publish(this.#topics.command(this.#life.id), command);
  }

  /**
   * Sends it a command and waits for its result.
   *
   * @throws CallError
   */
  call(action: string, args?: unknown, options: { timeoutMs?: Span } = {}): Promise<unknown> {
    return this.#calls.call({ target: this.#life.id, action, args, ...options });
  }

  /** Publishes anything, such as what another prop says; fulfils when it has had time to answer. */
  async publish(topic: string, payload: unknown, options: PublishOptions = {}): Promise<void> {
    await this.#observer.publish(topic, encodePayload(payload), { qos: 1, ...options });
    await this.#clock.advance(0);
  }

  /** Its next value of a telemetry key, parsed: the first that was not asked for yet. */
  async telemetry(key: string): Promise<unknown> {
    return parsePayload(await this.#inbox.next(this.#topics.telemetry(this.#life.id, key)));
  }

  /** Its next text on a status key, such as `warn`. */
  status(key: string): Promise<string> {
    return this.#inbox.next(this.#topics.status(this.#life.id, key));
  }

  /** The next text on any topic: the first that was not asked for yet. */
  seen(topic: string): Promise<string> {
    return this.#inbox.next(topic);
  }

  /** Its next state. */
  state(): Promise<string> {
    return this.#inbox.next(this.#topics.state(this.#life.id));
  }

  /** Puts its time forward by so many ms, or `"2s"`: what it sleeps in, holds and repeats happens now, in its order. */
  async advance(span: Span): Promise<void> {
    await this.#clock.advance(msOf("advance(%)", span, Number.MAX_VALUE));
  }

  /** Sets its clock on the wall forward by `ms`, or back, as a time server does: no time passes. */
  setClockForward(ms: number): void {
    this.#clock.setForward(ms);
  }

  /**
   * Gives it a new config, as an edit of its file does.
   *
   * @throws WorkerHostError where the config is not valid; Error where the worker has no `onConfig`
   */
  async configure(config: Record<string, unknown>): Promise<void> {
    const configured = await this.#life.configure(this.#configOf(config), {});
    if (configured === "restart") throw new Error("it has no onConfig: a host would start it anew");
    await this.#clock.advance(0);
  }

  /** Engages all-stop, as a host does, or clears it. */
  async allStop(engaged = true): Promise<void> {
    this.#latch.set(engaged);
    await this.#clock.advance(0);
  }

  /** Locks it out, as a host does; without a reason, releases it. */
  async lockOut(reason?: string): Promise<void> {
    this.#life.lockOut(reason);
    await this.#clock.advance(0);
  }

  /** Stops it as a host does, and removes what it left. */
  async stop(): Promise<void> {
    await this.#life.stop("end");
    await this.#clock.advance(0);
    await this.#observer.stop();
    await this.broker.close();
    await rm(this.temporary, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #configOf(values: Record<string, unknown>): ConfigSpec {
    return { values, file: "config", lines: {} };
  }

  #capture(Worker: new (context: WorkerContext) => W): WorkerClass {
    const keep = (instance: W) => {
      this.#instance = instance;
    };
    const Class = Worker as unknown as WorkerClass;
    return class extends Class {
      constructor(context: WorkerContext) {
        super(context);
        keep(this as unknown as W);
      }
    };
  }

  #receive({ topic, payload, retain }: Message): void {
    const target = this.#topics.idOf(topic) ?? "";
    if (this.#topics.isCommand(topic)) {
      const { command } = parseCommand(payload);
      if (command && target !== this.#life.id)
        this.commands.push({ target, action: command.action, args: command.args });
    } else if (!retain) {
      this.#inbox.add({ topic, text: new TextDecoder().decode(payload) });
    }
  }
}
