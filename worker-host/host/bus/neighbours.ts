import { type Clock, within } from "../../base/clock.ts";
import { deferred } from "../../base/promises.ts";
import { formatCommand } from "../../contract/command.ts";
import { parseRunstate } from "../../contract/description.ts";
import { COMMAND_EXPIRY_S } from "../../contract/limits.ts";
import { decodeText } from "../../contract/payload.ts";
import { faultOfId, faultOfName, Topics } from "../../contract/topics.ts";
import type { Message, Wire } from "../../mqtt/wire.ts";
import { PING_MS } from "../limits.ts";
import { formatClaim, parseClaim } from "./claim.ts";

interface NeighboursOptions {
  wire: Wire;
  topics: Topics;
  clock: Clock;
  newId: () => string;
  /** How long a host has to answer a claim, in ms. */
  claimMs: number;
  /** A worker of ours runs under the host `name` too, and is to end here. */
  onGiveWay: (id: string, name: string) => void;
  /** A worker of ours ran under another host too, which is to end it: its runstate is to be said again. */
  onStay: (id: string) => void;
}

/** A worker's run under one host's name. */
interface Run {
  /** ms since 1970, on that host's clock. */
  since: number;
  /** What was last said of it, to know news from what is said again. */
  said: string;
  /** We heard of it as it happened; what is retained may be old. */
  live: boolean;
  /** It began later than ours: its host is to end it. */
  beaten: boolean;
}

/** Strangers may publish under any id and host's name. */
const MOST_IDS = 10_000;
const MOST_HOSTS = 10;

/** What runs under other hosts' names, so that no id runs twice. */
export class Neighbours {
  /** By id, then by host. */
  readonly #runs = new Map<string, Map<string, Run>>();
  readonly #asked = new Map<string, Promise<boolean>>();

  constructor(private readonly options: NeighboursOptions) {}

  async start(): Promise<void> {
    const { wire, topics } = this.options;
    await wire.subscribe(topics.runstates, (message) => this.#hear(message));
  }

  /** The name of another host that runs a worker now; that it said so once is not enough. */
  async hostOf(id: string): Promise<string | undefined> {
    const runs = this.#runs.get(id) ?? new Map<string, Run>();
    for (const [name, { beaten }] of runs) {
      if (name === this.options.topics.hostName || beaten) continue;
      if (await this.#isThere(name)) return name;
      runs.delete(name);
    }
    return undefined;
  }

  /** Whether a host of that name answers. */
  #isThere(name: string): Promise<boolean> {
    const asked = this.#asked.get(name) ?? this.#ask(name).finally(() => this.#asked.delete(name));
    this.#asked.set(name, asked);
    return asked;
  }

  async #ask(name: string): Promise<boolean> {
    const { wire, topics, clock, newId, claimMs } = this.options;
    const { claim } = new Topics(topics.prefix, name);
    const id = newId();
    const held = deferred();
    const unsubscribe = await wire.subscribe(claim, ({ payload }) => {
      const heard = parseClaim(payload);
      if (heard?.word === "held" && heard.id === id) held.resolve();
    });
    await wire.publish(claim, formatClaim({ word: "claim", id }), { qos: 1 });
    const answered = await within(clock, claimMs, held.promise);
    unsubscribe();
    return answered !== undefined;
  }

  #hear({ topic, payload, retain }: Message): void {
    const { topics } = this.options;
    const id = topics.idOf(topic);
    const said = parseRunstate(payload);
    if (!said || id === undefined || faultOfId(id) !== undefined || faultOfName(said.host) !== undefined) return;
    const { host, state } = said;
    const runs = this.#runs.get(id) ?? new Map<string, Run>();
    if (state !== "starting" && state !== "running") {
      runs.delete(host);
      if (runs.size === 0) this.#runs.delete(id);
      return;
    }
    const since = Date.parse(said.since);
    const known = runs.get(host);
    const text = `${state} ${since}`;
    const isFull = runs.size >= MOST_HOSTS || (runs.size === 0 && this.#runs.size >= MOST_IDS);
    if (Number.isNaN(since) || (!known && isFull) || known?.said === text) return;
    // A run begins with `starting`; what comes after that is still the same.
    const begun = known?.live && state !== "starting" ? known.since : since;
    runs.set(host, { since: begun, said: text, live: !retain, beaten: false });
    this.#runs.set(id, runs);
    if (!retain) this.#decide(id, runs, host);
  }

  /** Of two runs the one that began first stays. Both hosts hear the same, so that they come to the same end. */
  #decide(id: string, runs: Map<string, Run>, heardOf: string): void {
    const { topics, onGiveWay, onStay } = this.options;
    const ours = runs.get(topics.hostName);
    for (const [name, theirs] of runs) {
      if (name === topics.hostName || !ours?.live || !theirs.live || theirs.beaten) continue;
      if (ours.since > theirs.since || (ours.since === theirs.since && topics.hostName > name)) {
        runs.delete(topics.hostName);
        onGiveWay(id, name);
        return;
      }
      theirs.beaten = true;
      if (heardOf === name) onStay(id);
    }
  }
}

export interface IsThereOptions {
  wire: Wire;
  topics: Topics;
  clock: Clock;
  newId: () => string;
  /** Who asks, and gets the reply. */
  asker: string;
}

/**
 * Whether anybody is there under an id that is shown online: it is sent a `ping`, and a reply counts, or any live word
 * of its own. `undefined` where it could not be asked.
 */
export async function isThere(id: string, options: IsThereOptions): Promise<boolean | undefined> {
  const { wire, topics, clock, newId, asker } = options;
  const commandId = newId();
  const replyTo = topics.reply(asker, commandId);
  const heard = deferred<boolean>();
  const ends = await Promise.all([
    wire.subscribe(replyTo, ({ retain }) => {
      if (!retain) heard.resolve(true);
    }),
    wire.subscribe(topics.subtree(id), (message) => {
      const there = whatItTells(message, id, topics);
      if (there !== undefined) heard.resolve(there);
    }),
  ]);
  const ping = formatCommand("ping", undefined, commandId, replyTo);
  const sent = await wire.publish(topics.command(id), ping, { qos: 1, expiryS: COMMAND_EXPIRY_S });
  const answer = sent === "dropped" ? undefined : ((await within(clock, PING_MS, heard.promise))?.value ?? false);
  for (const end of ends) end();
  return answer;
}

/** What a message under an id tells of whether it is there; `undefined` where nothing. */
function whatItTells({ topic, payload, retain }: Message, id: string, topics: Topics): boolean | undefined {
  if (topic === topics.availability(id)) {
    if (decodeText(payload) !== "online") return false;
    return retain ? undefined : true;
  }
  // A topic is cleared by others, too.
  return !retain && payload.length > 0 && topics.isOwnWord(topic) ? true : undefined;
}
