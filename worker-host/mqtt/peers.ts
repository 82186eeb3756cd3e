import { setImmediate } from "node:timers/promises";
import { type Clock, within } from "../base/clock.ts";
import { deferred } from "../base/promises.ts";
import { ADMIN_VERBS } from "../contract/access.ts";
import {
  type CommandDescription,
  describesHost,
  type HostDescription,
  type WorkerDescription,
} from "../contract/description.ts";
import { decodeText, jsonIn } from "../contract/payload.ts";
import { Topics } from "../contract/topics.ts";
import type { PublishResult, Wire } from "./wire.ts";

export interface PeersOptions {
  topics: Topics;
  wire: Pick<Wire, "subscribe">;
  clock: Clock;
  /** How long the broker has to send what it retains, in ms; 200 if not given. */
  patienceMs?: number;
  /** A prop that says nothing of itself is taken to be there: a test plays it. */
  unknownAreThere?: boolean;
}

const DESCRIPTION_MS = 200;
/** How long it has where nothing waits for that. */
const AVAILABILITY_MS = 1_000;
const TURNS = 15;
const WARN_EVERY_MS = 5_000;
/** A host with a thousand workers describes them all. */
export const LONGEST_RETAINED = 1_048_576;

/** The last retained value of a topic, from the first time that somebody asks. */
interface Retained {
  value: string | undefined;
  /** Fulfils when the broker knows that it is watched. */
  watched: Promise<unknown>;
  /** Fulfils with the first value. */
  first: Promise<void>;
  /** Called with the next value. */
  next: Set<() => void>;
}

/** What the broker shows of a target: nothing, where nothing has that id. */
export type Presence = "online" | "offline" | "unknown";

/** Why a target is not there, as far as the broker shows it. */
export function whyAbsent(shown: Presence): string {
  return shown === "unknown" ? "nothing has that id" : "nobody runs it, or its board is off";
}

/** What other props say of themselves. */
export class Peers {
  readonly #retained = new Map<string, Retained>();
  readonly #warnedAt = new Map<string, number>();

  constructor(private readonly options: PeersOptions) {}

  /** How long a prop gives one of its commands, in ms; `undefined` where it doesn't say. Waits for its description. */
  async timeoutOf(target: string, action: string): Promise<number | undefined> {
    const description = this.#watch(this.options.topics.description(target));
    await description.first;
    return timeoutIn(description.value, action);
  }

  /**
   * Where a target takes a command: a host has a topic of its own for what changes its files. Known at once, but for a verb
   * such as `reload` to anybody but this client's own host: of that the target's description tells.
   */
  topicOf(target: string, action: string): string | Promise<string> {
    const { topics } = this.options;
    if (!ADMIN_VERBS.has(action)) return topics.command(target);
    if (target === topics.hostName) return topics.adminCommand;
    return this.#described(target).then((said) => {
      // A host tells of its commands some moments after its start.
      const isAdmin = said?.commands ? commandIn(said, action)?.admin === true : describesHost(said, target);
      return isAdmin ? new Topics(topics.prefix, target).adminCommand : topics.command(target);
    });
  }

  /** What is retained as a target's description; anybody may have published it. */
  async #described(target: string): Promise<Partial<WorkerDescription & HostDescription> | null | undefined> {
    const { topics, clock, patienceMs = DESCRIPTION_MS } = this.options;
    const description = this.#watch(topics.description(target));
    await within(clock, patienceMs, description.first);
    return jsonIn(description.value ?? "") as Partial<WorkerDescription & HostDescription> | null | undefined;
  }

  /** Whether a prop takes a command while all-stop holds: it says that it is safe, or is a host. */
  async takesInStandstill(target: string, action: string): Promise<boolean> {
    const said = await this.#described(target);
    return describesHost(said, target) || commandIn(said, action)?.safe === true;
  }

  /** Whether a target is there: a worker, a board, or a host; waits for what the broker retains. */
  async presence(target: string): Promise<Presence> {
    const { clock, unknownAreThere } = this.options;
    const availability = this.#availability(target);
    if (unknownAreThere) await this.#retainedInTest(availability);
    else await within(clock, AVAILABILITY_MS, availability.first);
    return this.#presenceIn(availability);
  }

  /** A test's broker is in this process, however slow that is: what it retains is here in some turns of the event loop. */
  async #retainedInTest({ watched, first }: Retained): Promise<void> {
    await watched;
    const turns = async () => {
      for (let turn = 0; turn < TURNS; turn++) await setImmediate();
    };
    await Promise.race([first, turns()]);
  }

  /** Fulfils when a target is online. */
  async online(target: string): Promise<void> {
    const availability = this.#availability(target);
    if (this.options.unknownAreThere) await within(this.options.clock, DESCRIPTION_MS, availability.first);
    while (this.#presenceIn(availability) !== "online")
      await new Promise<void>((resolve) => availability.next.add(resolve));
  }

  #availability(target: string): Retained {
    return this.#watch(this.options.topics.availability(target));
  }

  #presenceIn({ value }: Retained): Presence {
    if (value === "online" || value === "offline") return value;
    return this.options.unknownAreThere ? "online" : "unknown";
  }

  /** Warns where a command went to a prop that isn't there, at most every 5 s for each prop. */
  async warnIfAbsent(
    target: string,
    action: string,
    sent: Promise<PublishResult>,
    warn: (text: string) => void,
  ): Promise<void> {
    const presence = this.presence(target);
    const result = await sent;
    if (result === "dropped") return;
    const shown = await presence;
    if (result === "sent" && shown === "online") return;
    const now = this.options.clock.monotonic();
    if (now - (this.#warnedAt.get(target) ?? Number.NEGATIVE_INFINITY) < WARN_EVERY_MS) return;
    this.#warnedAt.set(target, now);
    warn(`"${action}" went to ${target}, which is not there: ${whyAbsent(shown)}`);
  }

  #watch(topic: string): Retained {
    const known = this.#retained.get(topic);
    if (known) return known;
    const first = deferred();
    const watched = this.options.wire.subscribe(topic, ({ payload }) => {
      retained.value = payload.byteLength > LONGEST_RETAINED ? undefined : decodeText(payload);
      first.resolve();
      const waiting = [...retained.next];
      retained.next.clear();
      for (const go of waiting) go();
    });
    const retained: Retained = { value: undefined, watched, first: first.promise, next: new Set() };
    this.#retained.set(topic, retained);
    return retained;
  }
}

/** Anybody may have published it. */
function timeoutIn(text: string | undefined, action: string): number | undefined {
  const said = jsonIn(text ?? "") as Partial<WorkerDescription> | null | undefined;
  const ms: unknown = commandIn(said, action)?.timeout_ms;
  return typeof ms === "number" && ms > 0 && Number.isFinite(ms) ? ms : undefined;
}

function commandIn(
  said: Partial<WorkerDescription> | null | undefined,
  action: string,
): Partial<CommandDescription> | undefined {
  const commands = said?.commands;
  if (typeof commands !== "object" || commands === null || !Object.hasOwn(commands, action)) return undefined;
  const command: unknown = commands[action];
  return typeof command === "object" && command !== null ? command : undefined;
}
