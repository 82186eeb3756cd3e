import type { Logger } from "pino";
import type { WorkerHostError } from "../contract/errors.ts";
import type { Topics } from "../contract/topics.ts";
import type { Clock } from "../worker/clock.ts";
import type { ConnectGate } from "../worker/connect-gate.ts";
import type { BrokerOptions } from "../worker/wire.ts";
import { Claim } from "./claim.ts";
import { Neighbours } from "./neighbours.ts";
import type { Planned } from "./plan.ts";
import type { Presence } from "./presence.ts";
import { isOver, type WorkerRecord } from "./records.ts";
import type { Supervisor } from "./supervisor.ts";

export interface StandingOptions {
  settings: { claimMs: number; standby: boolean };
  broker: BrokerOptions;
  /** The broker is this host's own. */
  sole: boolean;
  topics: Topics;
  log: Logger;
  clock: Clock;
  random: () => number;
  newId: () => string;
  /** What the host's own connection enters by. */
  gate: ConnectGate;
  presence: Presence;
  supervisor: Supervisor;
  /** Called where another host took the name over, when the workers are ended. */
  onOusted: (error: WorkerHostError) => void;
}

/** Where a host stands among the others on its broker: whether its name is its own, and which worker is another's. */
export class Standing {
  readonly #claim: Claim;
  readonly #neighbours: Neighbours;
  readonly #givenUp: Promise<void>;
  #giveUp = () => {};

  constructor(private readonly options: StandingOptions) {
    const { settings, gate, presence, supervisor, onOusted } = options;
    this.#givenUp = new Promise((resolve) => {
      this.#giveUp = resolve;
    });
    this.#claim = new Claim({
      ...options,
      ...settings,
      onActive: (active) => {
        if (active) gate.open();
        else gate.close();
        supervisor.gate(active);
      },
      onOusted: (error) => {
        supervisor.kill();
        void presence.leave().then(() => onOusted(error));
      },
    });
    this.#neighbours = new Neighbours({
      ...options,
      ...settings,
      wire: this.#claim.connection,
      onGiveWay: (id, name) => {
        const record = this.#running(id);
        if (record) void supervisor.giveWay(record, explain(record.planned, name));
      },
      onStay: (id) => {
        const record = this.#running(id);
        if (record) presence.tell(record);
      },
    });
  }

  /** Whether workers may connect. */
  get active(): boolean {
    return this.#claim.active;
  }

  /** The MQTT that the broker was found to speak. */
  get protocolVersion(): 5 | 4 {
    return this.#claim.connection.protocolVersion;
  }

  /**
   * Fulfils once the name is this host's.
   *
   * @throws WorkerHostError `name_held` where it is another host's, and this one doesn't wait
   */
  async start(): Promise<void> {
    await this.#neighbours.start();
    await this.#claim.start();
  }

  /** Why a worker can't run here, where another host runs it; not known before this host has its name. */
  async elsewhere(planned: Planned): Promise<string | undefined> {
    await Promise.race([this.#claim.won, this.#givenUp]);
    const name = await this.#neighbours.hostOf(planned.id);
    return name === undefined ? undefined : explain(planned, name);
  }

  /** Nobody waits for the name any more. */
  giveUp(): void {
    this.#giveUp();
  }

  /** Leaves the name to others. */
  async stop(): Promise<void> {
    await this.#claim.stop();
  }

  #running(id: string): WorkerRecord | undefined {
    const record = this.options.supervisor.records.get(id);
    return record && !isOver(record) ? record : undefined;
  }
}

function explain({ id, kind }: Planned, name: string): string {
  return `${id} runs under the host "${name}": disable it here or there (WORKER_${kind.toUpperCase()}_DISABLE=${id})`;
}
