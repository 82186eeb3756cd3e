import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { formatCommand } from "../../contract/command.ts";
import { COMMAND_EXPIRY_S } from "../../contract/limits.ts";
import { decodeText } from "../../contract/payload.ts";
import { BROKER_UPTIME, isPeer, type Topics } from "../../contract/topics.ts";
import type { Connection } from "../../mqtt/connection.ts";
import { listen, type Message, type Wire } from "../../mqtt/wire.ts";
import { ASK_AFTER_MS, BROKER_UPTIME_MS, MOST_DOUBTS, SILENT_AFTER_ASK_MS, YOUNG_BROKER_S } from "../limits.ts";
import type { WorkerRecord } from "../runners/records.ts";

/** How much older than it says the broker may be: mosquitto tells its whole seconds every 11 s (`sys_interval 10`). */
const STALE_MS = 12_000;

/** How long the broker has been running, as it says itself: whether what it retains may be from before a power cut. */
class BrokerAge {
  /** The broker that we were last connected to was started then, or before; ms since 1970. */
  #startedBy: number | undefined;

  constructor(private readonly options: { wire: Pick<Wire, "subscribe">; clock: Clock }) {}

  /**
   * To be called at each connect. Tells once, within 2 s, whether the broker is young: started since we were last
   * connected, started less than a minute ago, or not saying. The function that it gives calls that off.
   */
  ask(tell: (young: boolean) => void): () => void {
    const { wire, clock } = this.options;
    let over = false;
    const end = () => {
      over = true;
      cancel();
      unsubscribe();
    };
    const answer = (uptimeS: number | undefined) => {
      if (over) return;
      end();
      tell(this.#isYoung(uptimeS));
    };
    const cancel = clock.after(BROKER_UPTIME_MS, () => answer(undefined));
    const unsubscribe = listen(wire, BROKER_UPTIME, ({ payload }) => answer(secondsIn(payload)));
    return end;
  }

  #isYoung(uptimeS: number | undefined): boolean {
    const before = this.#startedBy;
    const startedBy = this.options.clock.monotonic() - (uptimeS ?? 0) * 1000;
    this.#startedBy = startedBy;
    if (uptimeS === undefined || uptimeS < YOUNG_BROKER_S) return true;
    return before !== undefined && startedBy - STALE_MS > before;
  }
}

/** The seconds in a payload such as `123 seconds`. */
function secondsIn(payload: Uint8Array): number | undefined {
  const [, seconds] = /^(\d{1,10}) seconds$/.exec(decodeText(payload) ?? "") ?? [];
  return seconds === undefined ? undefined : Number(seconds);
}

export interface RollCallOptions {
  /** The host's connection. */
  wire: Pick<Connection, "publish" | "subscribe">;
  topics: Topics;
  log: Logger;
  clock: Clock;
  random: () => number;
  /** A worker of this host: it says itself whether it is online. */
  worker: (id: string) => Pick<WorkerRecord, "over"> | undefined;
  /** Tells people, on the host's own topic. */
  say: (text: string) => void;
}

/** Somebody whose availability is in doubt. */
interface Doubt {
  /** `suspect`: shown online; `offline`: because we said so; `righting`: it spoke, and we are taking that back. */
  state: "suspect" | "offline" | "righting";
  /** Our own `offline` has come back to us: a further one is its own. */
  echoed: boolean;
  /** It went offline by itself while we were setting it right. */
  left: boolean;
  /** How much of our `online` is to come back to us: its acknowledgement, and the message itself. */
  unsettled: number;
  unsubscribe: () => void;
}

const SILENT = "the broker shows it online, but it has been silent for 60 s and answers no ping";

/** By the next reconnect it may be true no longer. */
const RETAINED_ONCE = { qos: 1, retain: true, once: true } as const;

/**
 * Finds out who is shown online that isn't, where the broker is young: it may have restored what is no longer true, and
 * nobody's will fired while it was down. Whoever is silent for 60 s is set offline, and right again when it speaks.
 */
export class RollCall {
  readonly #age: BrokerAge;
  readonly #doubts = new Map<string, Doubt>();
  /** The broker is young, and not all that it shows online have been heard or judged. */
  #due = false;
  #stage: "idle" | "listening" | "asking" = "idle";
  /** Whom this call has found shown online: those that may be elsewhere, and our own workers that have not spoken yet. */
  readonly #found = new Set<string>();
  readonly #ours = new Set<string>();
  /** Who was asked, by the topic of the reply. */
  readonly #asked = new Map<string, string>();
  #full = false;
  #stopQuestion: (() => void) | undefined;
  #stopCall = () => {};

  constructor(private readonly options: RollCallOptions) {
    this.#age = new BrokerAge(options);
  }

  /** To be called each time that the connection has come up. */
  up(): void {
    this.#stopQuestion = this.#age.ask((young) => {
      this.#stopQuestion = undefined;
      this.#due ||= young;
      this.#begin();
    });
  }

  /** To be called when the connection is gone, or is to be closed: silence means nothing now. */
  down(): void {
    this.#due ||= this.#stopQuestion !== undefined;
    this.#stopQuestion?.();
    this.#stopQuestion = undefined;
    this.#endCall();
    for (const doubt of this.#doubts.values()) doubt.unsubscribe();
  }

  #begin(): void {
    this.#ours.clear();
    for (const [id, doubt] of this.#doubts) {
      // Whether our word was lost with the connection is seen from what the broker shows.
      if (doubt.state === "righting") doubt.state = "offline";
      // A suspect that is still shown online is found again.
      if (this.#due && doubt.state === "suspect") this.#doubts.delete(id);
      else doubt.unsubscribe = this.#listenTo(id);
    }
    if (this.#due || this.#suspects().length > 0) this.#call();
  }

  #suspects(): [string, Doubt][] {
    return [...this.#doubts].filter(([, { state }]) => state === "suspect");
  }

  /** Gives all suspects, and where the call is due those that the broker now shows online, 60 s to be heard. */
  #call(): void {
    const { wire, topics, clock } = this.options;
    this.#endCall();
    this.#stage = "listening";
    const ends = [listen(wire, topics.reply(topics.hostName, "+"), (message) => this.#sawReply(message))];
    if (this.#due) ends.push(listen(wire, topics.availabilities, (message) => this.#sawAvailability(message)));
    const cancelAsk = clock.after(ASK_AFTER_MS, () => {
      this.#stage = "asking";
      for (const [id] of this.#suspects()) this.#ask(id);
    });
    const cancelEnd = clock.after(ASK_AFTER_MS + SILENT_AFTER_ASK_MS, () => this.#judge());
    this.#stopCall = () => {
      cancelAsk();
      cancelEnd();
      for (const end of ends) end();
    };
  }

  #endCall(): void {
    this.#stopCall();
    this.#stopCall = () => {};
    this.#stage = "idle";
    this.#asked.clear();
    this.#found.clear();
    this.#full = false;
  }

  #sawAvailability({ topic, payload, retain }: Message): void {
    const id = this.options.topics.idOf(topic);
    if (id === undefined || id === this.options.topics.hostName || !isPeer(id)) return;
    if (!retain) {
      this.#ours.delete(id);
      if (this.#doubts.get(id)?.state === "suspect") this.#forget(id);
    } else if (this.#stage === "listening" && decodeText(payload) === "online") {
      if (this.options.worker(id)) this.#ours.add(id);
      else this.#find(id);
    }
  }

  /** What is retained comes again with each subscription: nobody is suspected twice in a call. */
  #find(id: string): void {
    if (this.#found.has(id) || this.#doubts.has(id)) return;
    if (Math.max(this.#found.size, this.#doubts.size) < MOST_DOUBTS) {
      this.#found.add(id);
      this.#suspect(id);
    } else if (!this.#full) {
      this.#full = true;
      this.options.log.warn(`more than ${MOST_DOUBTS} ids are shown online: the others are believed`);
    }
  }

  #suspect(id: string): void {
    const unsubscribe = this.#listenTo(id);
    this.#doubts.set(id, { state: "suspect", echoed: false, left: false, unsettled: 0, unsubscribe });
  }

  #listenTo(id: string): () => void {
    const { wire, topics } = this.options;
    return listen(wire, topics.wholeOf(id), (message) => {
      const doubt = this.#doubts.get(id);
      if (!doubt) return;
      if (message.topic !== topics.availability(id)) this.#sawOther(id, doubt, message);
      else if (message.retain) this.#sawShown(id, doubt, decodeText(message.payload));
      else this.#sawSaid(id, doubt, decodeText(message.payload));
    });
  }

  /** A topic is cleared by others, too. */
  #sawOther(id: string, doubt: Doubt, { topic, payload, retain }: Message): void {
    if (!retain && payload.length > 0 && this.options.topics.isOwnWord(topic)) this.#heard(id, doubt);
  }

  #sawReply({ topic, retain }: Message): void {
    const id = this.#asked.get(topic) ?? "";
    const doubt = this.#doubts.get(id);
    if (doubt && !retain) this.#heard(id, doubt);
  }

  /** What the broker shows, to somebody who has just subscribed. */
  #sawShown(id: string, doubt: Doubt, shown: string | undefined): void {
    if (doubt.state === "suspect" && shown === "offline") this.#forget(id);
    if (doubt.state !== "offline" || shown !== "online") return;
    // It came back while we were away, or what we said was lost.
    doubt.state = "suspect";
    if (this.#stage === "idle") this.#call();
  }

  /** What is said of its availability at this moment: by itself, its will or us, or by who clears the topic. */
  #sawSaid(id: string, doubt: Doubt, said: string | undefined): void {
    if (doubt.state === "suspect") this.#forget(id);
    else if (said === "offline" && !doubt.echoed) doubt.echoed = true;
    else if (doubt.state === "righting" && said === "online") this.#settle(id, doubt);
    else if (doubt.state === "righting") doubt.left ||= said === "offline";
    else if (said === "offline" || said === "") this.#forget(id);
    else this.#sawBack(id, doubt);
  }

  /** It says itself that it is online: before what we said, which then stands, or after. */
  #sawBack(id: string, doubt: Doubt): void {
    if (doubt.echoed) this.#trust(id);
    else void this.#setRight(id, doubt);
  }

  #heard(id: string, doubt: Doubt): void {
    if (doubt.state === "suspect") this.#forget(id);
    else if (doubt.state === "offline") void this.#setRight(id, doubt);
  }

  #forget(id: string): void {
    this.#doubts.get(id)?.unsubscribe();
    this.#doubts.delete(id);
  }

  #ask(id: string): void {
    const { wire, topics, random } = this.options;
    const commandId = `ping-${random().toString(36).slice(2, 12)}`;
    const replyTo = topics.reply(topics.hostName, commandId);
    this.#asked.set(replyTo, id);
    const payload = formatCommand("ping", undefined, commandId, replyTo);
    void wire.publish(topics.command(id), payload, { qos: 1, expiryS: COMMAND_EXPIRY_S });
  }

  #judge(): void {
    // Before anything is published: where two subscriptions match, mosquitto sends a message twice.
    this.#endCall();
    this.#due = false;
    for (const [id, doubt] of this.#suspects()) {
      if (this.#runsHere(id)) this.#forget(id);
      else void this.#setOffline(id, doubt, SILENT);
    }
    // A worker of ours that came to nothing never spoke.
    for (const id of this.#ours) if (!this.#runsHere(id)) this.#suspect(id);
    this.#ours.clear();
    if (this.#suspects().length > 0) this.#call();
  }

  #runsHere(id: string): boolean {
    const worker = this.options.worker(id);
    return worker !== undefined && !worker.over;
  }

  async #setOffline(id: string, doubt: Doubt, why: string): Promise<void> {
    const { wire, topics } = this.options;
    doubt.state = "offline";
    doubt.echoed = false;
    const result = await wire.publish(topics.availability(id), "offline", RETAINED_ONCE);
    if (result !== "dropped") this.#tell(`${id} is set offline: ${why}`);
  }

  async #setRight(id: string, doubt: Doubt): Promise<void> {
    const { wire, topics } = this.options;
    doubt.state = "righting";
    doubt.left = false;
    doubt.unsettled = 2;
    const result = await wire.publish(topics.availability(id), "online", RETAINED_ONCE);
    if (result !== "dropped") this.#settle(id, doubt);
  }

  /** Brokers differ in which comes first: the acknowledgement of our `online`, or the message itself. */
  #settle(id: string, doubt: Doubt): void {
    doubt.unsettled--;
    if (doubt.unsettled !== 0) return;
    if (doubt.left) void this.#setOffline(id, doubt, "it went while it was being set online");
    else this.#trust(id);
  }

  #trust(id: string): void {
    this.#forget(id);
    this.#tell(`${id} is online again`);
  }

  #tell(text: string): void {
    this.options.log.info(text);
    this.options.say(text);
  }
}
