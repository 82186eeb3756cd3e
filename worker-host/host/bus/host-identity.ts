import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { RateLimiter } from "../../base/log.ts";
import { deferred } from "../../base/promises.ts";
import type { BoardState, BoardSummary } from "../../contract/description.ts";
import type { WorkerHostError } from "../../contract/errors.ts";
import { boardIdOf, propOfBoard, type Topics } from "../../contract/topics.ts";
import type { ConnectGate } from "../../mqtt/mqtt-client.ts";
import type { BrokerOptions } from "../../mqtt/wire.ts";
import type { Plan, Planned } from "../plan/plan.ts";
import type { WorkerRecord } from "../runners/records.ts";
import type { Supervisor } from "../runners/supervisor.ts";
import { Boards, type Shown } from "./boards.ts";
import { Claim } from "./claim.ts";
import type { HostConnection } from "./host-connection.ts";
import { Neighbours } from "./neighbours.ts";

export interface HostIdentityOptions {
  settings: { claimMs: number; standby: boolean; pythonAvailability: boolean };
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
  hostConnection: HostConnection;
  supervisor: Supervisor;
  /** Called where another host took the name over, when the workers are ended. */
  onOusted: (error: WorkerHostError) => void;
  /** Tells people that something is wrong. */
  fail: (text: string) => void;
}

/**
 * Where a host stands among the others on its broker: whether its name is its own, and which id is another host's, or a
 * board's.
 */
export class HostIdentity {
  readonly #claim: Claim;
  readonly #neighbours: Neighbours;
  readonly #boards: Boards;
  readonly #errors: RateLimiter;
  /** The props that are a board alone. */
  #alone: ReadonlySet<string> = new Set();
  readonly #givenUp = deferred();

  constructor(private readonly options: HostIdentityOptions) {
    const { settings, gate, hostConnection, supervisor, onOusted, clock, fail } = options;
    this.#errors = new RateLimiter(clock, fail);
    this.#claim = new Claim({
      ...options,
      ...settings,
      onActive: (active) => {
        if (active) gate.open();
        else gate.close();
        supervisor.gate(active);
      },
      onConnected: (up) => {
        if (up) this.#boards.up();
        else this.#boards.down();
      },
      onOusted: (error) => {
        supervisor.kill();
        void hostConnection.leave().then(() => onOusted(error));
      },
    });
    this.#neighbours = new Neighbours({
      ...options,
      ...settings,
      wire: this.#claim.connection,
      onGiveWay: (id, name) => {
        const record = this.#running(id);
        if (record) void supervisor.giveWay(record, runsElsewhere(record.planned, name));
      },
      onStay: (id) => {
        const record = this.#running(id);
        if (record) hostConnection.tell(record);
      },
    });
    this.#boards = new Boards({
      ...options,
      wire: this.#claim.connection,
      onAppeared: (id) => {
        if (this.#running(id))
          this.#errors.say(`a board came online as "${id}", whose worker runs here: ${rename(id)}`);
      },
      onFree: (id) => supervisor.retry(id),
      onChange: (id) => {
        this.repeatAvailability(id);
        if (this.#alone.has(id) || supervisor.records.get(propOfBoard(id) ?? "")) hostConnection.describe();
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
    await this.#boards.start();
    await this.#claim.start();
  }

  /** Why a worker can't run here, where its id is another host's or a board's; not known before this host has its name. */
  async idTakenBy(planned: Planned): Promise<string | undefined> {
    const { id } = planned;
    await Promise.race([this.#claim.won, this.#givenUp.promise]);
    const name = await this.#neighbours.hostOf(id);
    if (name !== undefined) return runsElsewhere(planned, name);
    // While it runs here, it is the one that is online.
    if (this.options.supervisor.records.get(id)?.ended === false) return undefined;
    const taken = await Promise.race([this.#boards.has(id), this.#givenUp.promise]);
    if (!taken) return undefined;
    // Where two hosts start it in one moment, the other one may only now have said that it runs it.
    const since = await this.#neighbours.hostOf(id);
    if (since !== undefined) return runsElsewhere(planned, since);
    if (this.#boards.isBoard(id)) return `a board has the id "${id}": ${rename(id)}, then this worker starts`;
    return `something answers under the id "${id}" that doesn't say it is a board: give it another id, such as ${boardIdOf(id)}, then this worker starts`;
  }

  /** How a prop's board is, where it has one. */
  boardOf({ id, firmware }: Planned): BoardState | undefined {
    const boardId = boardIdOf(id);
    if (this.options.supervisor.records.get(boardId)) return undefined;
    return this.#boards.stateOf(boardId) ?? (firmware ? "missing" : undefined);
  }

  /** What the broker shows of all ids, workers and boards. */
  get shown(): ReadonlyMap<string, Shown> {
    return this.#boards.all;
  }

  /** The props that are a board alone, and how each is. */
  get boards(): BoardSummary[] {
    return [...this.#alone].map((id) => ({ id, availability: this.#boards.stateOf(id) ?? "missing" }));
  }

  /** Whether an id is a prop of this host, or the board of one. */
  owns(id: string): boolean {
    return this.#alone.has(id) || this.runs(id);
  }

  /** Whether it runs the worker of that id, or of that board: no other host does, while it does. */
  runs(id: string): boolean {
    const { records } = this.options.supervisor;
    return [id, propOfBoard(id)].some((each) => {
      const record = records.get(each ?? "");
      return record !== undefined && record.state !== "skipped" && !record.idTaken;
    });
  }

  /** Takes in what is on disk. */
  take({ boards }: Plan): void {
    this.#alone = new Set(boards);
    this.options.hostConnection.describe();
  }

  /** With the setting for it, says where the Python worker host did whether a worker of this host is online. */
  repeatAvailability(id: string): void {
    const { settings, supervisor, hostConnection, topics } = this.options;
    const record = supervisor.records.get(id);
    if (!settings.pythonAvailability || !record || record.state === "skipped" || record.idTaken) return;
    const shown = record.over ? "offline" : this.#boards.stateOf(id);
    if (shown) hostConnection.publish(topics.pythonAvailability(id), shown, { qos: 1, retain: true });
  }

  /** Nobody waits for the name any more. */
  giveUp(): void {
    this.#givenUp.resolve();
  }

  /** Leaves the name to others. */
  async stop(): Promise<void> {
    await this.#claim.stop();
  }

  #running(id: string): WorkerRecord | undefined {
    const record = this.options.supervisor.records.get(id);
    return record && !record.over ? record : undefined;
  }
}

function rename(id: string): string {
  return `rename it with "npx worker-host board rename ${id} ${boardIdOf(id)}"`;
}

function runsElsewhere({ id, kind }: Planned, name: string): string {
  return `${id} runs under the host "${name}": disable it here or there (WORKER_${kind.toUpperCase()}_DISABLE=${id})`;
}
