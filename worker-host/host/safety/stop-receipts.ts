import { type Clock, delay, within } from "../../base/clock.ts";
import { deferred } from "../../base/promises.ts";
import { formatStop, parseReply } from "../../contract/command.ts";
import { boundHeard, describeHeard, type Heard, isAllHeard } from "../../contract/heard.ts";
import { COMMAND_EXPIRY_S } from "../../contract/limits.ts";
import { decodeText } from "../../contract/payload.ts";
import { faultOfId, isPeer, type Topics } from "../../contract/topics.ts";
import { listen, type Message } from "../../mqtt/wire.ts";
import type { Shown } from "../bus/boards.ts";
import type { HostConnection } from "../bus/host-connection.ts";
import { COLLECT_MS } from "../limits.ts";
import type { Records, WorkerRecord } from "../runners/records.ts";

export interface StopReceiptsOptions {
  topics: Topics;
  clock: Clock;
  newId: () => string;
  hostConnection: Pick<HostConnection, "subscribe" | "publish" | "warn">;
  /** The workers of this host. */
  records: Pick<Records, "all" | "get">;
  /** What the broker shows of all ids, workers and boards. */
  shown: () => ReadonlyMap<string, Shown>;
}

/** One stop that was told, and who has confirmed it. */
interface Told {
  /** Who should confirm it, and why one of them may not, as it was when it was told. */
  expected: ReadonlyMap<string, string | undefined>;
  /** Those of them that can still answer. */
  awaited: ReadonlySet<string>;
  /** On a clock that is never set. */
  at: number;
  since: string;
  heard: Map<string, number>;
  errors: Map<string, string>;
  /** To be called when all that are awaited have answered. */
  complete: () => void;
}

/** How long the broker has to send what it retains. */
const RETAINED_MS = 200;
/** A topic that is overwritten again and again is put right so often. */
const RESTORE_MS = 200;
/** A longer reply confirms nothing. */
const LONGEST_REPLY = 8_192;
/** Strangers may answer, and publish states, under any id. */
const MOST_OTHERS = 1_000;

/** Tells props and boards to stop, and finds out who has heard it. */
export class StopReceipts {
  /** By the topic of the replies. */
  readonly #told = new Map<string, Told>();
  /** What was last published of who has heard an all-stop. */
  #published: string | undefined;
  #restoring = false;
  #all: { replyTo: string; heard: Promise<Heard> } | undefined;

  constructor(private readonly options: StopReceiptsOptions) {}

  async start(): Promise<void> {
    const { hostConnection, topics } = this.options;
    await hostConnection.subscribe(this.#replyTo("+"), (message) => this.#sawReply(message));
    await hostConnection.subscribe(topics.allStopHeard, ({ payload }) => this.#sawHeard(decodeText(payload)));
  }

  /** Tells everything to stop at once; gives after 2 s at most who has heard. What is told meanwhile is counted together. */
  stopAll(): Promise<Heard> {
    const { topics, newId, hostConnection } = this.options;
    const replyTo = this.#all?.replyTo ?? this.#replyTo(newId());
    hostConnection.publish(topics.broadcast, formatStop("all_stop", newId(), replyTo), { qos: 1 });
    this.#all ??= { replyTo, heard: this.#collectAll(replyTo) };
    return this.#all.heard;
  }

  /** Tells one of them to stop; gives after 2 s at most whether it has heard. */
  async stopOne(id: string): Promise<Heard> {
    const { topics, newId, hostConnection } = this.options;
    const replyTo = this.#replyTo(newId());
    const payload = formatStop("lock_out", newId(), replyTo);
    hostConnection.publish(topics.command(id), payload, { qos: 1, expiryS: COMMAND_EXPIRY_S });
    const unheld = this.#whyNotHeld(id);
    const told = await this.#collect(replyTo, unheld === undefined ? [id] : []);
    return this.#resultOf(told, unheld === undefined ? [] : [{ id, why: unheld }]);
  }

  #replyTo(id: string): string {
    const { topics } = this.options;
    return topics.reply(topics.hostName, `stop/${id}`);
  }

  async #collectAll(replyTo: string): Promise<Heard> {
    const { topics, hostConnection } = this.options;
    const ids = new Set(this.options.shown().keys());
    const others = new Set<string>();
    const end = listen(hostConnection, topics.state("+"), ({ topic, payload, retain }) => {
      const id = topics.idOf(topic) ?? "";
      const isOne = retain && payload.length > 0 && !ids.has(id) && faultOfId(id, topics.hostName) === undefined;
      if (isOne && others.size < MOST_OTHERS) others.add(id);
    });
    const told = await this.#collect(replyTo, this.#expected());
    end();
    this.#all = undefined;
    const unheld = [...ids, ...others].flatMap((id) => {
      const why = this.#whyNotHeld(id);
      return why === undefined ? [] : [{ id, why }];
    });
    const heard = boundHeard(this.#resultOf(told, unheld));
    this.#published = JSON.stringify(heard);
    this.#publishHeard(this.#published);
    if (!isAllHeard(heard)) hostConnection.warn(`all-stop: ${describeHeard(heard).join("; ")}`);
    return heard;
  }

  #publishHeard(text: string): void {
    this.options.hostConnection.publish(this.options.topics.allStopHeard, text, { qos: 1, retain: true });
  }

  /** Puts right what somebody has cleared or overwritten. */
  #sawHeard(text: string | undefined): void {
    if (this.#published === undefined || text === this.#published || this.#restoring) return;
    this.#restoring = true;
    this.options.clock.after(RESTORE_MS, () => {
      this.#restoring = false;
      if (this.#published !== undefined) this.#publishHeard(this.#published);
    });
  }

  async #collect(replyTo: string, expected: string[]): Promise<Told> {
    const { clock } = this.options;
    const complete = deferred();
    const told: Told = {
      expected: new Map(expected.map((id) => [id, this.#whyAbsent(id)])),
      awaited: new Set(expected.filter((id) => this.#canAnswer(id))),
      at: clock.monotonic(),
      since: new Date(clock.now()).toISOString(),
      heard: new Map(),
      errors: new Map(),
      complete: complete.resolve,
    };
    this.#told.set(replyTo, told);
    if (told.awaited.size === 0) complete.resolve();
    await within(clock, COLLECT_MS, Promise.all([complete.promise, delay(clock, RETAINED_MS)]));
    this.#told.delete(replyTo);
    return told;
  }

  #sawReply({ topic, payload, retain }: Message): void {
    const told = this.#told.get(topic);
    if (!told || retain || payload.length > LONGEST_REPLY) return;
    const { from = "", status, error } = parseReply(payload) ?? {};
    if (!isPeer(from) || (!told.expected.has(from) && told.heard.size >= told.expected.size + MOST_OTHERS)) return;
    if (status !== "ok") {
      if (told.expected.has(from)) told.errors.set(from, error ?? "no reason given");
    } else if (!told.heard.has(from)) {
      told.heard.set(from, Math.round(this.options.clock.monotonic() - told.at));
    }
    for (const id of told.awaited) if (!told.heard.has(id) && !told.errors.has(id)) return;
    told.complete();
  }

  #resultOf({ expected, since, heard, errors }: Told, unheld: Heard["not_held"]): Heard {
    const missing = [...expected].filter(([id]) => !heard.has(id));
    return {
      since,
      heard: [...heard].map(([id, ms]) => ({ id, ms })),
      not_heard: missing.map(([id, absent]) => {
        const why = errors.get(id) ?? absent ?? this.#whyAbsent(id);
        return why === undefined ? { id } : { id, why };
      }),
      not_held: unheld,
    };
  }

  /**
   * Who has to confirm a stop: this host's workers that run, start or end, and whoever else is online and says that it
   * knows `stop`.
   */
  #expected(): string[] {
    const own = this.options.records.all.filter((record) => !record.over).map(({ planned }) => planned.id);
    const others = [...this.options.shown()].filter(
      ([id, { availability, stops, isHost }]) => availability === "online" && stops && !isHost && !this.#runsHere(id),
    );
    return [...own, ...others.map(([id]) => id)];
  }

  /** Whether an id is a worker of this host, whatever its state. */
  #runsHere(id: string): boolean {
    return this.#worker(id) !== undefined;
  }

  #worker(id: string): WorkerRecord | undefined {
    const record = this.options.records.get(id);
    return record === undefined || record.idTaken || record.state === "skipped" ? undefined : record;
  }

  /** Why a stop, a latch or a lock-out can't be counted on; `undefined` where they can. */
  #whyNotHeld(id: string): string | undefined {
    if (this.#runsHere(id)) return undefined;
    const shown = this.options.shown().get(id);
    if (shown?.stops || shown?.isHost) return undefined;
    const where = shown?.availability === "offline" ? ", and is shown offline" : "";
    return shown?.described ? `its description names no "stop"${where}` : `it describes nothing${where}`;
  }

  /** Why an id that can be held does not hear it now. */
  #whyAbsent(id: string): string | undefined {
    const state = this.#worker(id)?.state;
    if (state === "running") return undefined;
    if (state !== undefined) return `it is ${state === "stopping" ? "ending" : state}`;
    return this.options.shown().get(id)?.availability === "online" ? undefined : "it is not online";
  }

  /** Whether what is told now may be answered: a worker that starts has not subscribed yet. */
  #canAnswer(id: string): boolean {
    return this.#whyAbsent(id) === undefined || this.#worker(id)?.state === "stopping";
  }
}
