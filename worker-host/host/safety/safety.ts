import { join } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { decodeText } from "../../contract/payload.ts";
import type { Topics } from "../../contract/topics.ts";
import type { Shown } from "../bus/boards.ts";
import type { HostConnection } from "../bus/host-connection.ts";
import { CLOSE_MS } from "../limits.ts";
import type { Supervisor } from "../runners/supervisor.ts";
import { AllStop } from "./all-stop.ts";
import { OperatorWatch, ShowNight } from "./show-night.ts";
import { StopReceipts } from "./stop-receipts.ts";

export interface SafetyOptions {
  /** The folder for what has to outlive a restart. */
  data: string;
  operatorTimeoutMs: number;
  topics: Topics;
  log: Logger;
  clock: Clock;
  newId: () => string;
  hostConnection: HostConnection;
  supervisor: Supervisor;
  /** Edits are taken in again. */
  onShowOver: () => void;
  /** Somebody was locked out, or released. */
  onLockOut: () => void;
  /** As of `ShowNight`. */
  isOurs: (id: string) => boolean;
  runsHere: (id: string) => boolean;
  /** What the broker shows of all ids, workers and boards. */
  shown: () => ReadonlyMap<string, Shown>;
  /** Tells people that something failed. */
  fail: (text: string) => void;
}

const RETAINED = { qos: 1, retain: true } as const;

/** What people have set so that nothing moves: all-stop, lock-outs, the watch over the operator, and the show. */
export class Safety {
  private constructor(
    readonly allStop: AllStop,
    readonly night: ShowNight,
    readonly operator: OperatorWatch,
  ) {}

  /** Takes up what holds, and listens to the topics of all-stop and of lock-outs. */
  static async open(options: SafetyOptions): Promise<Safety> {
    const { topics, hostConnection, operatorTimeoutMs, clock } = options;
    const receipts = new StopReceipts({ ...options, records: options.supervisor.records });
    await receipts.start();
    const allStop = await openAllStop(options, receipts);
    await hostConnection.subscribe(topics.allStop, ({ payload, retain }) =>
      allStop.heard(decodeText(payload), { retain }),
    );
    const operator = new OperatorWatch(operatorTimeoutMs, clock, (reason) => {
      void allStop.engage({ by: "operator_timeout", reason });
    });
    const night = await openNight(options, receipts);
    await hostConnection.subscribe(topics.lockOut("+"), ({ topic, payload, retain }) => {
      night.heard(topics.idOf(topic) ?? "", decodeText(payload) ?? "no text", { retain });
    });
    return new Safety(allStop, night, operator);
  }

  /** Asserts what is sure before the first connect. */
  begin(): void {
    if (this.allStop.engaged) this.allStop.assert();
    this.night.assert();
  }

  /** On a new connection nothing of the one before comes back. */
  reconnected(): void {
    this.allStop.reconnected();
    this.night.reconnected();
  }

  /**
   * Asserts all-stop, and takes up lock-outs, once what the topics held has been heard and the workers are up; from then
   * on the operator is watched.
   */
  settle(): void {
    this.allStop.assert();
    this.night.settle();
    this.operator.begin();
  }

  stop(): void {
    this.operator.stop();
  }

  /** Fulfils when what holds is written, or the disk takes too long for that. */
  async close(): Promise<void> {
    await Promise.all([this.allStop.close(CLOSE_MS), this.night.close(CLOSE_MS)]);
  }
}

function openAllStop(
  { data, topics, log, clock, hostConnection, supervisor, fail }: SafetyOptions,
  receipts: StopReceipts,
): Promise<AllStop> {
  return AllStop.open({
    file: join(data, "all_stop.json"),
    log,
    clock,
    tell: (engaged) => supervisor.allStop(engaged),
    publish: (engaged) => hostConnection.publish(topics.allStop, engaged ? "engaged" : "clear", RETAINED),
    stopAll: () => receipts.stopAll(),
    fail,
  });
}

function openNight(options: SafetyOptions, receipts: StopReceipts): Promise<ShowNight> {
  const { data, topics, hostConnection, supervisor, onLockOut } = options;
  return ShowNight.open({
    ...options,
    file: join(data, "show_night.json"),
    stop: (id) => receipts.stopOne(id),
    tell: (id, reason) => supervisor.lockOut(id, reason),
    publish: (id, reason) => {
      hostConnection.publish(topics.lockOut(id), reason ?? "", RETAINED);
      onLockOut();
    },
  });
}
