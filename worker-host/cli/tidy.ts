import type { Command } from "commander";
import { delay } from "../base/clock.ts";
import { describesHost, type HostDescription } from "../contract/description.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { type Fields, fieldsOf } from "../contract/json-check.ts";
import { decodeText, jsonOf } from "../contract/payload.ts";
import { assertTarget, boardIdOf, Topics } from "../contract/topics.ts";
import { connect } from "./client.ts";
import { asUsage, type Edges, type Flags, forConnecting, withSettings } from "./options.ts";

/** How long it may take until the broker sends more of what it retains, or says that a topic is cleared, in ms. */
const QUIET_MS = 500;
const LOOK_EVERY_MS = 50;

/** A host with a thousand workers describes them all. */
const LONGEST_DESCRIPTION = 1_048_576;

/** What is known of one id. */
interface Entry {
  id: string;
  /** What is retained under it, by the topic. */
  kept: Map<string, Uint8Array>;
  /** It has said something while we listened. */
  speaks: boolean;
}

/** A retained topic that may go. */
export interface Leftover {
  topic: string;
  bytes: number;
  why: string;
}

/** What may go, and what was kept of what might have. */
export interface Inventory {
  /** What nothing owns. */
  leftovers: Leftover[];
  /** What a living prop no longer says: cleared only where its id is named. */
  unsaid: Leftover[];
  notes: string[];
}

/** All that is retained under a prefix, as it comes in. */
export class RetainedTopics {
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
    const found: Inventory = { leftovers: [], unsaid: [], notes: [] };
    for (const entry of [...this.#entries.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
      const { id } = entry;
      if (id === "broadcast" || (named.size > 0 && !named.has(id))) continue;
      if (this.#isThere(entry)) {
        found.unsaid.push(...this.#unsaidBy(entry));
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
      if (entry.kept.has(this.topics.lockOut(id)))
        found.notes.push(`${id} is locked out, and that is kept: release it first`);
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
    if (said === undefined || describesHost(said, id)) return [];
    const { telemetry } = said;
    const values = topics.telemetry(id, "");
    return [...kept.keys()].flatMap((topic) => {
      if (topic.startsWith(values)) {
        const isSaid = fieldsOf(fieldsOf(telemetry)[topic.slice(values.length)]).retain === true;
        if (telemetry === undefined || isSaid) return [];
        return this.#leftover(entry, topic, `${id} is online, and describes no such retained telemetry`);
      }
      const isOurs = topic === topics.pythonAvailability(id) && this.pythonAvailability;
      const isStatus = topic.startsWith(topics.status(id, ""));
      if (isOurs || isStatus || topics.isOwnWord(topic) || this.#isTold(topic)) return [];
      return this.#leftover(entry, topic, `${id} is online, and the contract has no such topic`);
    });
  }

  #leftover({ id, kept }: Entry, topic: string, why: string): Leftover[] {
    const ofHost = new Topics(this.topics.prefix, id);
    // What holds or protects somebody is never cleared from here.
    const protects = [ofHost.allStop, ofHost.allStopHeard, ofHost.lockOuts, ofHost.lockOut(id)];
    return protects.includes(topic) ? [] : [{ topic, bytes: kept.get(topic)?.length ?? 0, why }];
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
    if (describesHost(said, entry.id)) return "a host that does not run";
    return typeof said.board === "string" ? "a board that is off" : undefined;
  }

  #descriptionOf({ id, kept }: Entry): Fields | undefined {
    const payload = kept.get(this.topics.description(id));
    const said = payload && payload.length <= LONGEST_DESCRIPTION ? jsonOf(payload) : undefined;
    return typeof said === "object" && said !== null ? fieldsOf(said) : undefined;
  }
}

const empty = new Uint8Array();

/** The command that lists what is retained for nobody, and clears it on request. */
export function addTidy(program: Command, edges: Edges): void {
  withSettings(program.command("tidy"), forConnecting)
    .description("list retained topics that nothing owns, or that a prop which is online does not describe")
    .argument("[ids...]", "only of these; of a board that is off, or a host that does not run, only where it is named")
    .option("--clear", "clear them; of a prop that is online only where it is named")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExample:\n  worker-host tidy old_fogger --clear")
    .action((ids: string[], flags: Flags) => tidy(ids, flags, edges));
}

async function tidy(ids: string[], flags: Flags, edges: Edges): Promise<void> {
  const { clock, say, note, exit } = edges;
  for (const id of ids) asUsage(() => assertTarget(id));
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
  const found = retained.inventory(new Set(ids));
  const { leftovers, unsaid, notes } = found;
  const all = [...leftovers, ...unsaid];
  const toClear = flags.clear !== true ? [] : ids.length > 0 ? all : leftovers;
  for (const { topic } of toClear) await connection.publish(topic, empty, { qos: 1, retain: true });
  const stillKept = () => toClear.filter(({ topic }) => retained.isKept(topic));
  for (let waited = 0; waited < QUIET_MS && stillKept().length > 0; waited += LOOK_EVERY_MS)
    await delay(clock, LOOK_EVERY_MS);
  await connection.stop();
  const left = stillKept();
  const cleared = new Set(toClear);
  for (const each of left) cleared.delete(each);
  if (flags.json === true)
    say(
      JSON.stringify(
        all.map((each) => ({ ...each, cleared: cleared.has(each) })),
        null,
        2,
      ),
    );
  else
    for (const each of all)
      say(`${each.topic} (${each.bytes} bytes): ${each.why}${cleared.has(each) ? "; cleared" : ""}`);
  for (const text of notes) note(text);
  for (const text of summaryOf(settings.prefix, known, found, toClear, left)) note(text);
  exit(left.length === 0 ? 0 : 1);
}

/** What is said at the end, in words. */
function summaryOf(prefix: string, known: number, found: Inventory, toClear: Leftover[], left: Leftover[]): string[] {
  const { leftovers, unsaid } = found;
  if (known === 0) return [`nothing is retained under ${prefix}/`];
  if (leftovers.length + unsaid.length === 0) return [`nothing to tidy: ${known} retained topics have their owners`];
  const cleared = toClear.length - left.length;
  return [
    ...left.map(({ topic }) => `${topic} is not cleared: may this user publish there?`),
    ...(cleared > 0 ? [`${cleared} cleared`] : []),
    ...(toClear.length === 0 && leftovers.length > 0
      ? [`"npx worker-host tidy --clear" clears what nothing owns`]
      : []),
    ...unsaidNote(unsaid, toClear),
  ];
}

function unsaidNote(unsaid: Leftover[], toClear: Leftover[]): string[] {
  const [first] = unsaid;
  if (first === undefined || toClear.includes(first)) return [];
  return ["what is online may say it again at any time: it is cleared only with its id, as in tidy fogger --clear"];
}
