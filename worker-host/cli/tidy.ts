import type { Command } from "commander";
import { type Clock, delay } from "../base/clock.ts";
import { describesHost, type HostDescription } from "../contract/description.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { type Fields, fieldsOf } from "../contract/json-check.ts";
import { decodeText, jsonOf, printable } from "../contract/payload.ts";
import { assertTarget, boardIdOf, Topics } from "../contract/topics.ts";
import type { Connection } from "../mqtt/connection.ts";
import { LONGEST_RETAINED } from "../mqtt/peers.ts";
import { connect } from "./client.ts";
import { asUsage, type Edges, type Flags, forConnecting, withSettings } from "./options.ts";

/** How long it may take until the broker sends more of what it retains, or says that a topic is cleared, in ms. */
const QUIET_MS = 500;
const LOOK_EVERY_MS = 50;
/** More are not written out. */
const MOST_IDS = 20;

/** What is known of one id. */
interface Entry {
  id: string;
  /** What is retained under it, by the topic. */
  kept: Map<string, Uint8Array>;
  /** It has said something while we listened. */
  speaks: boolean;
}

/** A retained topic that may go. */
interface Leftover {
  id: string;
  topic: string;
  bytes: number;
  why: string;
}

/** What may go, and what is kept of what might. */
interface Inventory {
  leftovers: Leftover[];
  notes: string[];
}

/** All that is retained under a prefix, as it comes in. */
class RetainedTopics {
  readonly #entries = new Map<string, Entry>();

  constructor(
    private readonly topics: Topics,
    /** The setting `python_availability`: the host says `<id>/availability` too. */
    private readonly pythonAvailability: boolean,
  ) {}

  /** How many topics are retained. */
  get count(): number {
    return [...this.#entries.values()].reduce((sum, { kept }) => sum + kept.size, 0);
  }

  take(topic: string, payload: Uint8Array, retain: boolean): void {
    const id = this.topics.idOf(topic);
    if (id === undefined) return;
    const entry = this.#entries.get(id) ?? { id, kept: new Map(), speaks: false };
    this.#entries.set(id, entry);
    if (payload.length === 0) entry.kept.delete(topic);
    else if (retain) entry.kept.set(topic, payload);
    // What is told to it says nothing of it.
    else if (!this.#isTold(topic)) entry.speaks = true;
  }

  isKept(topic: string): boolean {
    return this.#entries.get(this.topics.idOf(topic) ?? "")?.kept.has(topic) === true;
  }

  /** @param named the ids that a person means: without any, all */
  inventory(named: ReadonlySet<string>): Inventory {
    const owners = this.#owners();
    const found: Inventory = { leftovers: [], notes: [] };
    for (const entry of [...this.#entries.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
      const { id } = entry;
      if (named.size > 0 && !named.has(id)) continue;
      found.notes.push(...this.#protecting(entry));
      if (this.#isThere(entry)) {
        found.leftovers.push(...this.#unsaidBy(entry));
        continue;
      }
      const owner = owners.get(id);
      if (owner !== undefined) {
        const gone = `where that is gone for good, "npx worker-host tidy ${owner}" comes first`;
        if (named.has(id))
          found.notes.push(`${id} is kept: the host ${owner} describes it; remove it there, or ${gone}`);
        continue;
      }
      const off = this.#whatIsOff(entry);
      if (off !== undefined && !named.has(id)) {
        found.notes.push(`${id} is kept: ${off}; where it is gone for good, "npx worker-host tidy ${id}" lists it`);
        continue;
      }
      const why = entry.kept.has(this.topics.availability(id))
        ? "offline, and no host describes it"
        : "nothing says that it is there";
      found.leftovers.push(...[...entry.kept.keys()].flatMap((topic) => this.#leftover(entry, topic, why)));
    }
    return found;
  }

  /** The hosts that describe what they run, by the ids of that. */
  #owners(): Map<string, string> {
    const owners = new Map<string, string>();
    for (const entry of this.#entries.values()) {
      const { id } = entry;
      const said = this.#descriptionOf(entry);
      if (!describesHost(said, id)) continue;
      const { workers, boards } = said as unknown as HostDescription;
      for (const each of [...workers, ...(Array.isArray(boards) ? boards : [])].map((entry) => fieldsOf(entry).id)) {
        if (typeof each !== "string") continue;
        owners.set(each, id).set(boardIdOf(each), id);
      }
    }
    return owners;
  }

  /** What a living prop's description has no word of. */
  #unsaidBy(entry: Entry): Leftover[] {
    const { id, kept } = entry;
    const { topics } = this;
    const said = this.#descriptionOf(entry);
    if (said === undefined) return [];
    const { telemetry } = said;
    const ofHost = new Topics(topics.prefix, id);
    const values = topics.telemetry(id, "");
    return [...kept.keys()].flatMap((topic) => {
      if (topic.startsWith(values)) {
        const isSaid = fieldsOf(fieldsOf(telemetry)[topic.slice(values.length)]).retain === true;
        if (telemetry === undefined || isSaid) return [];
        return this.#leftover(entry, topic, `${id} is online, and describes no such retained telemetry`);
      }
      const isOurs =
        (topic === topics.pythonAvailability(id) && this.pythonAvailability) ||
        (describesHost(said, id) && topic === ofHost.uptime);
      const isStatus = topic.startsWith(topics.status(id, ""));
      if (isOurs || isStatus || topics.isOwnWord(topic) || this.#isTold(topic)) return [];
      return this.#leftover(entry, topic, `${id} is online, and the contract has no such topic`);
    });
  }

  #leftover({ id, kept }: Entry, topic: string, why: string): Leftover[] {
    return this.#protects(id).includes(topic) ? [] : [{ id, topic, bytes: kept.get(topic)?.length ?? 0, why }];
  }

  /** What holds or protects somebody, and is never cleared from here. */
  #protects(id: string): string[] {
    const ofHost = new Topics(this.topics.prefix, id);
    return [ofHost.allStop, ofHost.allStopHeard, ofHost.lockOuts, ofHost.lockOut(id)];
  }

  /** What is said of those of an id that isn't there to end them. */
  #protecting(entry: Entry): string[] {
    const { id, kept } = entry;
    if (this.#isThere(entry)) return [];
    const how = `run a host${this.#isHost(entry) ? " of that name" : ""}, and end it there`;
    return this.#protects(id).flatMap((topic) => (kept.has(topic) ? [`${topic} is kept: it protects; ${how}`] : []));
  }

  #isHost(entry: Entry): boolean {
    return describesHost(this.#descriptionOf(entry), entry.id);
  }

  /** It is what somebody tells an id, not what the id says. */
  #isTold(topic: string): boolean {
    return this.topics.isCommand(topic) || this.topics.isReply(topic);
  }

  /** It says so, or the Python worker host does of what says nothing. */
  #isThere({ id, kept, speaks }: Entry): boolean {
    const { topics } = this;
    const availability = kept.get(topics.availability(id)) ?? kept.get(topics.pythonAvailability(id)) ?? empty;
    return speaks || decodeText(availability) === "online";
  }

  /** What an id that isn't there may be, other than gone. */
  #whatIsOff(entry: Entry): string | undefined {
    const said = this.#descriptionOf(entry);
    if (said === undefined) return undefined;
    if (this.#isHost(entry)) return "a host that does not run";
    return typeof said.board === "string" ? "a board that is off" : undefined;
  }

  #descriptionOf({ id, kept }: Entry): Fields | undefined {
    const payload = kept.get(this.topics.description(id));
    const said = payload && payload.length <= LONGEST_RETAINED ? jsonOf(payload) : undefined;
    return typeof said === "object" && said !== null ? fieldsOf(said) : undefined;
  }
}

const empty = new Uint8Array();

/** The command that lists what is retained for nobody, and clears it on request. */
export function addTidy(program: Command, edges: Edges): void {
  withSettings(program.command("tidy"), forConnecting)
    .description("list retained topics that nothing owns, or that a prop which is online does not describe")
    .argument("[ids...]", "only of these; of a board that is off, or a host that does not run, only where it is named")
    .option("--clear", "clear what is listed of the ids that are named")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExample:\n  worker-host tidy old_fogger --clear")
    .action((ids: string[], flags: Flags) => tidy(ids, flags, edges));
}

async function tidy(ids: string[], flags: Flags, edges: Edges): Promise<void> {
  const { clock, say, sayShown, note, exit } = edges;
  for (const id of ids) asUsage(() => assertTarget(id));
  const clear = flags.clear === true;
  if (clear && ids.length === 0)
    throw new WorkerHostError("invalid_settings", "--clear: name the ids, such as tidy old_fogger --clear; look first");
  const settings = edges.settingsFrom(flags);
  const client = await connect(settings, edges);
  if ("problem" in client) throw new WorkerHostError("timeout", client.problem);
  const { connection } = client;
  const topics = new Topics(settings.prefix, settings.name);
  const retained = new RetainedTopics(topics, settings.pythonAvailability);
  await connection.subscribe(topics.all, ({ topic, payload, retain }) => retained.take(topic, payload, retain));
  for (let before = -1; before < retained.count; ) {
    before = retained.count;
    await delay(clock, QUIET_MS);
  }
  const known = retained.count;
  const { leftovers, notes } = retained.inventory(new Set(ids));
  const left = clear ? await clearAll(leftovers, retained, connection, clock) : leftovers;
  await connection.stop();
  const isCleared = (one: Leftover) => !left.includes(one);
  if (flags.json === true) {
    const list = leftovers.map((one) => ({ ...one, cleared: isCleared(one) }));
    say(JSON.stringify(list, null, 2));
  } else
    for (const one of leftovers)
      sayShown(printable(`${one.topic} (${one.bytes} bytes): ${one.why}${isCleared(one) ? "; cleared" : ""}`));
  for (const text of notes) note(printable(text));
  if (known === 0) note(`nothing is retained under ${settings.prefix}/`);
  else if (leftovers.length === 0) note(`nothing to tidy among ${known} retained topics`);
  else if (clear) note(`${leftovers.length - left.length} cleared`);
  else note(`to clear them: npx worker-host tidy ${someIds(leftovers)} --clear`);
  if (clear) for (const { topic } of left) note(printable(`${topic} is not cleared: may this user publish there?`));
  exit(clear && left.length > 0 ? 1 : 0);
}

/** Gives what the broker has kept all the same. */
async function clearAll(all: Leftover[], retained: RetainedTopics, connection: Connection, clock: Clock) {
  for (const { topic } of all) await connection.publish(topic, empty, { qos: 1, retain: true });
  const stillKept = () => all.filter(({ topic }) => retained.isKept(topic));
  for (let waited = 0; waited < QUIET_MS && stillKept().length > 0; waited += LOOK_EVERY_MS)
    await delay(clock, LOOK_EVERY_MS);
  return stillKept();
}

/** Those ids that can be typed, the first of them. */
function someIds(leftovers: Leftover[]): string {
  const ids = [...new Set(leftovers.map(({ id }) => id))].filter((id) => /^[\w-]+$/.test(id));
  return ids.length > MOST_IDS ? `${ids.slice(0, MOST_IDS).join(" ")} …` : ids.join(" ");
}
