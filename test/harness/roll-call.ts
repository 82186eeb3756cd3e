import { pino } from "pino";
import { systemClock } from "../../worker-host/base/clock.ts";
import { BROKER_UPTIME, Topics } from "../../worker-host/contract/topics.ts";
import { RollCall, type RollCallOptions } from "../../worker-host/host/bus/roll-call.ts";
import { Connection } from "../../worker-host/mqtt/connection.ts";
import { ConnectGate } from "../../worker-host/mqtt/mqtt-client.ts";
import { TestClock } from "../../worker-host/testing/test-clock.ts";
import { BROKER } from "./broker.ts";
import { TestClient } from "./client.ts";
import { atEnd } from "./ending.ts";
import { Happenings } from "./wait.ts";

const TOPICS = new Topics("halloween");

export interface RollCallRunOptions {
  /** What the broker says of its uptime at each connect; what it really says if not given. */
  uptime?: () => string | Promise<string>;
  workers?: ReadonlyMap<string, { over: boolean }>;
  /** Awaited before a message of the roll call goes out. */
  before?: (topic: string, payload: string) => Promise<void>;
}

/** A roll call on a connection of its own, whose clock the test puts forward. */
export class RollCallRun {
  readonly clock = new TestClock();
  /** `+ filter` where it was asked for, `= filter` where the broker granted it, `- filter` where it was given up. */
  filters = new Happenings<string>();
  readonly log = new Happenings<string>();
  /** What was said on the host's own topic. */
  readonly said: string[] = [];
  readonly ups = new Happenings<number>();
  readonly rollCall: RollCall;
  readonly #connection: Connection;
  /** Messages go out in the order in which they were published. */
  #held: Promise<void> = Promise.resolve();

  private constructor(
    url: string,
    private readonly options: RollCallRunOptions,
  ) {
    const log = pino({}, { write: (line: string) => this.log.add((JSON.parse(line) as { msg: string }).msg) });
    this.#connection = new Connection({
      broker: { url, protocolVersion: BROKER === "aedes" ? 4 : 5 },
      clientId: "roll-call",
      log,
      clock: systemClock,
      random: Math.random,
      gate: new ConnectGate(),
      onUp: () => {
        this.rollCall.up();
        this.ups.add(this.ups.all.length);
      },
      onDown: () => this.rollCall.down(),
    });
    this.rollCall = new RollCall({
      wire: this.#wire(),
      topics: TOPICS,
      log,
      clock: this.clock,
      random: Math.random,
      worker: (id) => options.workers?.get(id),
      say: (text) => this.said.push(text),
    });
  }

  /** Fulfils when it is connected, and knows as much of the broker's uptime as it will ever know. */
  static async start(url: string, options: RollCallRunOptions = {}): Promise<RollCallRun> {
    const run = new RollCallRun(url, options);
    atEnd(async () => {
      run.rollCall.down();
      await run.#connection.stop();
    });
    await run.#connection.start();
    await run.up(0);
    return run;
  }

  /** Fulfils when it has connected so many times again. */
  async up(reconnects: number): Promise<void> {
    await this.ups.find((count) => count === reconnects, `connect ${reconnects}`);
    // The embedded broker doesn't say how long it has been running, and is given 2 s.
    if (BROKER === "aedes" && !this.options.uptime) await this.clock.advance(2_000);
  }

  #wire(): RollCallOptions["wire"] {
    const connection = this.#connection;
    return {
      publish: (topic, payload, options) => {
        const send = () => connection.publish(topic, payload, options);
        const { before } = this.options;
        if (!before) return send();
        this.#held = this.#held.then(() => before(topic, String(payload)));
        return this.#held.then(send);
      },
      subscribe: async (filter, handler) => {
        this.filters.add(`+ ${filter}`);
        const { uptime } = this.options;
        if (filter === BROKER_UPTIME && uptime) {
          const said = Promise.resolve(uptime());
          void said.then((text) => handler({ topic: filter, payload: Buffer.from(text), qos: 0, retain: true }));
          return () => {};
        }
        const unsubscribe = await connection.subscribe(filter, handler);
        this.filters.add(`= ${filter}`);
        return () => {
          unsubscribe();
          this.filters.add(`- ${filter}`);
        };
      },
    };
  }

  /** Forgets what became of the filters until now. */
  anew(): void {
    this.filters = new Happenings();
  }

  /** Fulfils when these are suspected, and what the broker retains of them, which comes after the grant, is known. */
  async suspects(...ids: string[]): Promise<void> {
    for (const id of ids)
      await this.filters.find((happened) => happened === `= ${TOPICS.wholeOf(id)}`, `doubts of ${id}`);
    await this.barrier();
  }

  /** Fulfils when nobody listens to these any more. */
  async leaves(...ids: string[]): Promise<void> {
    for (const id of ids)
      await this.filters.find((happened) => happened === `- ${TOPICS.wholeOf(id)}`, `trust in ${id}`);
  }

  /** Whether that id was ever doubted. */
  doubted(id: string): boolean {
    return this.filters.all.includes(`+ ${TOPICS.wholeOf(id)}`);
  }

  /** Has the broker send once more what it retains for that id, as it does whenever anybody on the connection subscribes. */
  async sendAgain(id: string): Promise<void> {
    await this.#connection.subscribe(`${TOPICS.availability(id)}/#`, () => {});
    await this.barrier();
  }

  /** Fulfils when all that the broker had for it before now has arrived. */
  async barrier(): Promise<void> {
    const topic = `test/barrier/${Math.random()}`;
    await new Promise<void>((resolve) => {
      void this.#connection.subscribe(topic, () => resolve()).then(() => this.#connection.publish(topic, "x"));
    });
  }
}

/** A board: connected, with a will, and subscribed to its commands. It publishes nothing by itself. */
export function startBoard(url: string, id: string): Promise<TestClient> {
  const will = { topic: TOPICS.availability(id), payload: Buffer.from("offline"), qos: 1 as const, retain: true };
  return TestClient.connect(url, [TOPICS.command(id)], { will });
}

/** Leaves `online` behind for ids that nobody has, as a broker does that restores what was true before a power cut. */
export async function leaveOnline(url: string, ...ids: string[]): Promise<void> {
  const client = await TestClient.connect(url, []);
  await Promise.all(ids.map((id) => client.publish(TOPICS.availability(id), "online", { retain: true })));
  await client.close();
}
