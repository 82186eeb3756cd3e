import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { deferred } from "../../base/promises.ts";
import { WorkerHostError } from "../../contract/errors.ts";
import { decodeText } from "../../contract/payload.ts";
import type { Topics } from "../../contract/topics.ts";
import { Connection, type Told } from "../../mqtt/connection.ts";
import { ConnectGate, type ConnectionProblem } from "../../mqtt/mqtt-client.ts";
import type { BrokerOptions, Message } from "../../mqtt/wire.ts";
import { CLAIM_AGAIN_MS, ECHO_MS } from "../limits.ts";

/** What hosts say to each other on the topic of a name. */
interface ClaimMessage {
  /**
   * `claim`: may the sender run under this name? `reclaim`: so asks one that did before its connection was lost.
   * `held`: no, in answer to either.
   */
  word: "claim" | "reclaim" | "held";
  /** The random id of who asks. */
  id: string;
}

const LONGEST = 80;
const MESSAGE = /^(claim|reclaim|held) ([A-Za-z0-9-]{1,64})$/;

export function formatClaim({ word, id }: ClaimMessage): string {
  return `${word} ${id}`;
}

/** `undefined` where the payload is none of ours. */
export function parseClaim(payload: Uint8Array): ClaimMessage | undefined {
  if (payload.length > LONGEST) return undefined;
  const [, word, id] = MESSAGE.exec(decodeText(payload) ?? "") ?? [];
  return word === undefined || id === undefined ? undefined : { word: word as ClaimMessage["word"], id };
}

interface ClaimOptions {
  broker: BrokerOptions;
  topics: Topics;
  log: Logger;
  clock: Clock;
  random: () => number;
  newId: () => string;
  /** How long another host has to answer, in ms. */
  claimMs: number;
  /** Wait where another host has the name. */
  standby: boolean;
  /** The broker is this host's own, so that nobody can have been there before it. */
  sole: boolean;
  /** Called when the name is ours, and when the connection that says so is lost. */
  onActive: (active: boolean) => void;
  /** Called each time that the connection has come up, and when it is lost. */
  onConnected: (up: boolean) => void;
  /** Called where the name was ours, and is another host's now. */
  onOusted: (error: WorkerHostError) => void;
}

/**
 * `away`: there is no connection; `claiming`: our claim is on its way; `candidate`: it came back, and may be answered;
 * `active`: the name is ours; `waiting`: it is another host's; `over`: stopped, or given up.
 */
type Phase = "away" | "claiming" | "candidate" | "active" | "waiting" | "over";

/** One host's claim to its name, found out by live answers: a retained message may be old. */
export class Claim {
  /** The connection that it is made on. */
  readonly connection: Connection;
  readonly #me: string;
  /** A second question, which nobody's answer matters to: what comes before its echo was said in time. */
  #last = "";
  /** What an active host asks with, where it hears that another one has the name. */
  #doubt = "";
  /** It asked so a moment ago. */
  #doubts = false;
  #phase: Phase = "away";
  /** The name was ours when we last knew. */
  #wasActive = false;
  /** It was another host's when we last knew. */
  #waits = false;
  /** That host went since we asked. */
  #vacated = false;
  #troubled = false;
  readonly #won = deferred();
  #cancel = () => {};

  constructor(private readonly options: ClaimOptions) {
    const { topics, newId } = options;
    this.#me = newId();
    this.connection = new Connection({
      ...options,
      // Without a will: a candidate that dies must not mark the active one offline.
      clientId: `${topics.prefix.replaceAll("/", "-")}-${topics.hostName}-claim`,
      gate: new ConnectGate(),
      onUp: () => this.#up(),
      onDown: (problem, told) => this.#down(problem, told),
      onTooLarge: (_topic, text) => options.log.error(text),
    });
  }

  /** Fulfils once the name is ours; rejects where it is another host's, and we don't wait. */
  get won(): Promise<void> {
    return this.#won.promise;
  }

  /** Whether the name is ours. */
  get active(): boolean {
    return this.#phase === "active";
  }

  /**
   * Fulfils once the name is ours.
   *
   * @throws WorkerHostError `name_held` where it is another host's, and we don't wait
   */
  async start(): Promise<void> {
    const { topics, sole } = this.options;
    await this.connection.subscribe(topics.claim, (message) => this.#hear(message));
    // The same filter as for the boards: of two that overlap, each would bring the message.
    await this.connection.subscribe(topics.availabilities, (message) => this.#watch(message));
    void this.connection.start();
    if (sole) this.#activate();
    await this.#won.promise;
  }

  /** Leaves the name to others. */
  async stop(): Promise<void> {
    this.#enter("over");
    await this.connection.stop();
  }

  #up(): void {
    const { log, broker, sole, onConnected } = this.options;
    onConnected(true);
    if (this.#troubled && !this.#wasActive) log.info(`connected to ${broker.url} again`);
    this.#troubled = false;
    if (sole) this.#say("reclaim", this.#me);
    else if (this.#phase === "away") {
      // Whoever had the name before the broker went has it again, even where it comes back later than we do.
      if (this.#waits) this.#wait();
      else this.#ask();
    }
  }

  #down({ refused, text }: ConnectionProblem, told: Told): void {
    // The host's own connection tells that it was lost. Why none can be had is told here, since that one waits for the name.
    const lost = this.#wasActive && this.#phase !== "away";
    if (!lost && told === "new") this.options.log[refused ? "error" : "warn"](`${text}; trying again until it works`);
    this.#troubled = true;
    this.options.onConnected(false);
    if (this.options.sole || this.#phase === "over") return;
    const { active } = this;
    this.#enter("away");
    if (active) this.options.onActive(false);
  }

  #ask(): void {
    this.#enter("claiming");
    this.#vacated = false;
    this.#say(this.#wasActive ? "reclaim" : "claim", this.#me);
    this.#expectEcho();
  }

  #expectEcho(): void {
    const { log, clock, topics } = this.options;
    this.#cancel = clock.after(ECHO_MS, () => {
      log.warn(`${topics.claim}: nothing came back in ${ECHO_MS / 1000} s; may this user publish and subscribe there?`);
      this.#ask();
    });
  }

  #hear({ payload, retain }: Message): void {
    const heard = parseClaim(payload);
    if (!heard || retain) return;
    const { word, id } = heard;
    if (id === this.#me) {
      if (word !== "held") {
        if (this.#phase === "claiming") this.#listen();
      } else if (this.active) this.#makeSure();
      else this.#held();
    } else if (id === this.#doubt) {
      if (word === "held") this.#held();
    } else if (id === this.#last) {
      if (word === "claim" && this.#phase === "candidate") this.#activate();
    } else if (word !== "held") this.#answer(word, id);
  }

  /** Our claim came back: all brokers hand messages on in one order, so that who asks later hears of us. */
  #listen(): void {
    const { clock, claimMs } = this.options;
    this.#enter("candidate");
    this.#cancel = clock.after(claimMs, () => {
      // Where this process was held up, an answer may be here that it has not read yet.
      this.#last = this.options.newId();
      this.#say("claim", this.#last);
      this.#expectEcho();
    });
  }

  #answer(word: "claim" | "reclaim", id: string): void {
    const asking = this.#phase === "claiming" || this.#phase === "candidate";
    if (asking && word === "reclaim" && !this.#wasActive) this.#held();
    else if (this.active || this.#phase === "candidate") this.#say("held", id);
  }

  /**
   * Asks once more, while the name is ours: an answer that comes now may be old, or nobody's. A host that has the name
   * too answers the new id.
   */
  #makeSure(): void {
    const { clock, newId, sole } = this.options;
    if (sole || this.#doubts) return;
    this.#doubts = true;
    this.#cancel = clock.after(ECHO_MS, () => {
      this.#doubts = false;
    });
    this.#doubt = newId();
    this.#say("reclaim", this.#doubt);
  }

  #activate(): void {
    const { log, topics, onActive } = this.options;
    if (this.#waits) log.info(`no host runs under the name "${topics.hostName}" any more: taking over`);
    this.#enter("active");
    this.#doubts = false;
    this.#wasActive = true;
    this.#waits = false;
    onActive(true);
    this.#won.resolve();
  }

  #held(): void {
    const { log, topics, broker, standby, sole, onOusted } = this.options;
    if (sole || this.#phase === "away" || this.#phase === "waiting" || this.#phase === "over") return;
    const who = `another host runs under the name "${topics.hostName}" at ${broker.url}`;
    if (this.#wasActive) {
      this.#enter("over");
      onOusted(new WorkerHostError("name_held", `${who}: it took over while this one was cut off, so this one ends`));
    } else if (!standby) {
      this.#enter("over");
      const ways = "stop it, name this one otherwise (--name), or let it wait (--standby)";
      this.#won.reject(new WorkerHostError("name_held", `${who}; ${ways}`));
    } else if (this.#vacated) {
      this.#ask();
    } else {
      if (!this.#waits) log.info(`${who}: waiting until it is gone`);
      this.#wait();
    }
  }

  #wait(): void {
    const { clock, random } = this.options;
    this.#enter("waiting");
    this.#waits = true;
    this.#cancel = clock.after(CLAIM_AGAIN_MS * (1 + random() / 2), () => this.#ask());
  }

  /** What the name's availability says is no more than a reason to ask. */
  #watch({ topic, payload }: Message): void {
    const { topics } = this.options;
    if (topic !== topics.availability(topics.hostName) || decodeText(payload) !== "offline") return;
    if (this.#phase === "waiting") this.#ask();
    else this.#vacated = true;
  }

  #enter(phase: Phase): void {
    this.#cancel();
    this.#phase = phase;
  }

  #say(word: ClaimMessage["word"], id: string): void {
    void this.connection.publish(this.options.topics.claim, formatClaim({ word, id }), { qos: 1 });
  }
}
