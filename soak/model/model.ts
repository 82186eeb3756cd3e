import { boardIdOf } from "../../worker-host/contract/topics.ts";
import { BROKER_BACK_MS, EXPLAINED_MS } from "../bounds.ts";
import { Availability } from "./availability.ts";
import { Commands } from "./commands.ts";
import { Edits } from "./edits.ts";
import type { Happening, HappeningOf, Violation } from "./happenings.ts";
import { Latch } from "./latch.ts";
import { Memory } from "./memory.ts";
import { Troubles } from "./troubles.ts";

export interface ModelOptions {
  /** Whose availability is looked at. */
  everybody: readonly string[];
  /** When they were started, in ms since 1970. */
  startedAt: number;
  /** From when on all of them have to be online, in ms since 1970. */
  dueAt: number;
}

type Takers = { [T in Happening["type"]]: (happening: HappeningOf<T>) => void };

/** pino's number for it. */
const ERROR = 50;

/**
 * What the haunt should be like, after what was done to it and what it said. It does nothing itself: happenings go in,
 * violations come out.
 */
export class Model {
  readonly violations: Violation[] = [];
  readonly troubles = new Troubles();
  readonly latch: Latch;
  readonly availability: Availability;
  readonly commands: Commands;
  readonly memory: Memory;
  readonly edits: Edits;
  readonly #takers: Takers;
  /** How often each thing was done to the haunt. */
  readonly faults = new Map<string, number>();
  /** When something was done to somebody that the host may complain of. */
  readonly #about = new Map<string, number>();
  #brokerDownAt: number | undefined;

  constructor(private readonly options: ModelOptions) {
    const { everybody, startedAt, dueAt } = options;
    const violate = (violation: Violation) => {
      this.violations.push(violation);
    };
    this.latch = new Latch(violate, (board, from, to) => this.troubles.during(board, from, to) !== undefined);
    this.availability = new Availability(everybody, dueAt, violate);
    this.memory = new Memory(violate);
    this.edits = new Edits(violate);
    this.commands = new Commands({
      violate,
      disturbed: (who, from, to) => this.troubles.during(who, from, to),
      allStopMayHold: (from, to) => this.latch.mayHold(from, to),
      allStopHolds: (at) => this.latch.holds(at),
    });
    this.#takers = this.#allTakers();
    for (const who of everybody) this.troubles.begin(who, startedAt, "it had not started yet", { kind: "sign" });
  }

  take(happening: Happening): void {
    const taker = this.#takers[happening.type] as (happening: Happening) => void;
    taker(happening);
  }

  #allTakers(): Takers {
    const { commands, availability, latch, edits, memory } = this;
    return {
      sent: (each) => commands.sent(each),
      acked: ({ id, at, heard }) => commands.acked(id, at, heard ? "heard" : "unheard"),
      unsure: ({ id, at }) => commands.acked(id, at, "unsure"),
      reply: (each) => this.#replied(each),
      ran: (each) => commands.ran(each),
      life: (each) => this.#lived(each),
      config: ({ worker, config }) => edits.seen(worker, { config }),
      shown: (each) => this.#shown(each),
      all_stop_shown: (each) => latch.show(each),
      all_stop_told: (each) => latch.told(each),
      output: (each) => latch.output(each),
      memory: (each) => memory.sample(each),
      fault: (each) => this.#faulted(each),
      edited: (each) => this.#edited(each),
      started: (each) => this.#started(each),
      connected: ({ at }) => availability.connected(at),
      disconnected: () => availability.disconnected(),
      broker_down: ({ at }) => this.#brokerDown(at),
      broker_up: ({ at }) => this.#brokerUp(at),
      log: (each) => this.#logged(each),
      failed: ({ who, how }) => {
        this.violations.push({ rule: "error", text: `${who} failed, and nothing was done to it: ${how}` });
      },
    };
  }

  #faulted({ at, what, hits, about }: HappeningOf<"fault">): void {
    if (about !== undefined) this.#about.set(about, at);
    this.faults.set(what, (this.faults.get(what) ?? 0) + 1);
    for (const { who, need, gone, backMs } of hits) {
      if (gone) this.availability.gone(who, at, gone, !this.troubles.isUnheard(who));
      this.troubles.begin(who, at, what, need);
      if (backMs !== undefined) this.availability.due(who, at + backMs);
      this.edits.delay(who, at);
    }
  }

  #edited(edit: HappeningOf<"edited">): void {
    this.edits.made(edit);
    this.memory.reloaded();
  }

  #started({ at, who, backMs }: HappeningOf<"started">): void {
    this.troubles.started(who, at);
    this.availability.back(who, at);
    this.availability.due(who, at + backMs);
    this.edits.delay(who, at);
  }

  #brokerDown(at: number): void {
    if (this.#brokerDownAt !== undefined) return;
    this.#brokerDownAt = at;
    for (const who of this.options.everybody) this.troubles.begin(who, at, "the broker was away", { kind: "broker" });
  }

  #brokerUp(at: number): void {
    this.commands.outage(this.#brokerDownAt ?? at, at);
    this.#brokerDownAt = undefined;
    for (const who of this.options.everybody) {
      this.troubles.brokerReturned(who, at);
      this.availability.due(who, at + BROKER_BACK_MS);
      this.edits.delay(who, at);
    }
  }

  #replied(happening: HappeningOf<"reply">): void {
    const command = this.commands.reply(happening);
    if (command) this.troubles.sign(command.target, happening.at, command.sentAt);
  }

  #lived({ worker, lifeAt, pid, code, config }: HappeningOf<"life">): void {
    this.troubles.life(worker, { at: lifeAt, pid, code, config });
    this.availability.back(worker, lifeAt);
    this.edits.seen(worker, { code, config });
  }

  #shown({ at, who, online, live }: HappeningOf<"shown">): void {
    this.availability.show(who, online, at);
    if (online && live) this.troubles.sign(who, at);
  }

  /** A line at level error has to belong to something that was done, to that worker or to anybody. */
  #logged({ at, level, text, worker }: HappeningOf<"log">): void {
    const from = at - EXPLAINED_MS;
    if (level < ERROR || (this.#about.get(worker ?? "") ?? 0) > from) return;
    const explained =
      worker === undefined
        ? this.troubles.any(from, at)
        : [worker, boardIdOf(worker)].some((who) => this.troubles.during(who, from, at) !== undefined);
    if (!explained) this.violations.push({ rule: "error", text: `the host logged, without a fault: ${text}` });
  }

  /** Looks at what is due. */
  look(now: number): void {
    this.commands.look(now);
    this.availability.look(now);
    this.latch.look(now);
    this.edits.look(now);
  }

  /** Whether all is as it was before anything was done to it. */
  get settled(): boolean {
    return this.availability.missing.length === 0 && this.commands.openCount === 0 && !this.latch.shown;
  }
}
