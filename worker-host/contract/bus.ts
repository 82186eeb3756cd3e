import { type Command, parseCommand, parseReply } from "./command.ts";
import { parseRunstate } from "./description.ts";
import { MAX_DESCRIPTION_BYTES } from "./limits.ts";
import { jsonIn } from "./payload.ts";
import { isPeer, type Topics } from "./topics.ts";

/** What was last said on one topic of an id. */
export interface Said {
  text: string;
  /** When it came, in ms on the clock of the model's keeper. */
  at: number;
  /** The broker had kept it: it was said at `at`, or any time before. */
  retained: boolean;
}

/** What was last said of an id, by what follows the id in the topic: `state`, `status/availability`, `telemetry/tick`. */
export type Values = ReadonlyMap<string, Said>;

/** A command that was seen on its way to a prop, and what came of it, as far as a reply was seen. */
export interface Asked {
  action: string;
  /** As JSON, or as the text that was sent; `""` for none. */
  args: string;
  /** When, on the clock of the model's keeper, in ms. */
  at: number;
  /** Its sender wants a reply. */
  waits?: true;
  outcome?: { ok: boolean; refused?: true; text: string; ms: number };
}

/** The last commands of an id, newest first. */
export function askedOf(values: Values): readonly Asked[] {
  return (jsonIn(values.get(ASKED)?.text ?? "[]") ?? []) as Asked[];
}

/** One value that is new; with an empty text it is gone. */
export interface Change extends Said {
  id: string;
  key: string;
}

/** What has changed in a model since `seq`. */
export interface Changes {
  seq: number;
  changes: Change[];
  /** How many messages were left out, since there are too many ids, or keys of one id. */
  leftOut: number;
}

/** A message of the bus; an empty text clears its topic. */
export interface BusMessage {
  topic: string;
  text: string;
  retain: boolean;
}

interface Kept extends Said {
  seq: number;
}

const MOST_IDS = 2_000;
const MOST_KEYS = 200;
const LONGEST_KEY = 200;
const LONGEST_TEXT = 2_000;
/** Of what a host tells: longer than its workers, or who has heard an all-stop, with their lists full. */
const LONGEST_OF_HOST = 262_144;
/** Of all texts together. Past it nothing comes in, and what is known grows no longer than words. */
const MOST_LETTERS = 33_554_432;

/** Where the last commands are among the values of an id: what comes over the wire has no such key. */
const ASKED = "asked";
const MOST_ASKED = 10;
const MOST_UNANSWERED = 1_000;
const LONGEST_WORDS = 200;

/** What an id complains of, at the moment that it does. */
const COMPLAINTS = ["status/error", "status/warn"];

/** What follows the id in the topics that tell how it is. */
const TOLD = /^(state|description|(status|telemetry)\/.+)$/;

/** What the bus says of everything: the last value on each topic, and when it came. */
export class BusModel {
  readonly #ids = new Map<string, Map<string, Kept>>();
  #seq = 0;
  #leftOut = 0;
  #letters = 0;
  /** By the ids of the commands, to whom each went. */
  readonly #unanswered = new Map<string, { id: string; asked: Asked }>();

  constructor(private readonly topics: Topics) {}

  /** Takes a message that came at `at`. */
  take({ topic, text, retain }: BusMessage, at: number): void {
    const id = this.topics.idOf(topic);
    if (id === undefined) return;
    const key = topic.slice(this.topics.prefix.length + id.length + 2);
    // Also what the command line, which is no peer, is answered.
    if (key.startsWith("reply/") && !retain) this.#takeReply(text, at);
    if (!isPeer(id)) return;
    if (key === "cmd" && !retain) this.#takeCommand(id, text, at);
    if (!TOLD.test(key) || key.length > LONGEST_KEY) return;
    const values = this.#ids.get(id) ?? new Map<string, Kept>();
    const known = values.get(key);
    // The broker says again what it keeps, for each subscription.
    if (retain && known?.text === text) return;
    const isCrowded = this.#letters >= MOST_LETTERS;
    const isMore = values.size >= MOST_KEYS || (values.size === 0 && this.#ids.size >= MOST_IDS);
    const isFull = !known && (isMore || isCrowded);
    if (isFull || (text === "" && !known)) {
      if (isFull) this.#leftOut++;
      return;
    }
    const longest = id === this.topics.hostName && key === "description" ? LONGEST_OF_HOST : longestOf(key);
    const kept = isCrowded ? shorten(text) : bounded(text, longest);
    this.#set(id, values, key, { text: kept, at, retained: retain });
    // It begins anew: what it complained of before is over.
    if (key === "status/runstate" && parseRunstate(utf8.encode(text))?.state === "starting")
      this.#forget(id, values, COMPLAINTS, at);
    if (!isThere(values)) this.#forget(id, values, [ASKED], at);
  }

  #set(id: string, values: Map<string, Kept>, key: string, said: Said): void {
    this.#letters += said.text.length - (values.get(key)?.text.length ?? 0);
    values.set(key, { ...said, seq: ++this.#seq });
    this.#ids.set(id, values);
  }

  #forget(id: string, values: Map<string, Kept>, keys: readonly string[], at: number): void {
    for (const key of keys) if (values.get(key)?.text) this.#set(id, values, key, { text: "", at, retained: false });
  }

  /** What was last said of an id. */
  valuesOf(id: string): Values {
    return new Map([...(this.#ids.get(id) ?? [])].filter(([, { text }]) => text !== ""));
  }

  #takeCommand(id: string, text: string, at: number): void {
    const { command } = parseCommand(utf8.encode(text));
    const known = this.#ids.get(id);
    // Commands alone make no prop; a host's may carry what is secret.
    if (!command || !known || !isThere(known) || id === this.topics.hostName) return;
    const asked: Asked = { action: shorten(command.action), args: shorten(argsOf(command)), at };
    if (command.replyTo !== undefined) asked.waits = true;
    this.#tell(id, known, [asked, ...askedOf(known)].slice(0, MOST_ASKED));
    if (command.id === undefined) return;
    this.#unanswered.set(command.id, { id, asked });
    const [oldest] = this.#unanswered.keys();
    if (this.#unanswered.size > MOST_UNANSWERED && oldest !== undefined) this.#unanswered.delete(oldest);
  }

  #takeReply(text: string, at: number): void {
    const { id: commandId = "", from, status, error, refused, result, ms = 0 } = parseReply(utf8.encode(text)) ?? {};
    const { id = "", asked } = this.#unanswered.get(commandId) ?? {};
    const known = this.#ids.get(id);
    // Anybody may answer under the id of a command.
    if (!asked || !known || from !== id) return;
    this.#unanswered.delete(commandId);
    const words = shorten(error ?? (result === undefined || result === null ? "" : JSON.stringify(result)));
    const outcome = { ok: status === "ok", ...(refused ? { refused } : {}), text: words, ms };
    const isIt = (one: Asked) => one.at === asked.at && one.action === asked.action;
    // What went wrong with it before is mended.
    const isOfIt = (key: string) => known.get(key)?.text.startsWith(`${asked.action}: `);
    if (outcome.ok) this.#forget(id, known, COMPLAINTS.filter(isOfIt), at);
    this.#tell(
      id,
      known,
      askedOf(known).map((one) => (isIt(one) ? { ...one, outcome } : one)),
    );
  }

  #tell(id: string, known: Map<string, Kept>, list: Asked[]): void {
    this.#set(id, known, ASKED, { text: JSON.stringify(list), at: list[0]?.at ?? 0, retained: false });
  }

  /** What has changed since `seq`; everything since 0. */
  since(seq: number): Changes {
    const changes: Change[] = [];
    if (seq < this.#seq) {
      for (const [id, values] of this.#ids) {
        for (const [key, { seq: changedAt, ...said }] of values) {
          if (changedAt > seq && (seq > 0 || said.text !== "")) changes.push({ id, key, ...said });
        }
      }
    }
    return { seq: this.#seq, changes, leftOut: this.#leftOut };
  }
}

const utf8 = new TextEncoder();
const decoder = new TextDecoder();

/** Whether anything is said of an id, besides that something was asked of it. */
function isThere(values: ReadonlyMap<string, Said>): boolean {
  return [...values].some(([key, { text }]) => key !== ASKED && text !== "");
}

function argsOf({ args, text }: Command): string {
  if (args === undefined) return "";
  return text ? String(args) : JSON.stringify(args);
}

function shorten(text: string): string {
  return text.length > LONGEST_WORDS ? `${headOf(text, LONGEST_WORDS)}…` : text;
}

/** How a text begins, as a text of its own: V8's `slice` is a view that holds the whole. */
function headOf(text: string, length: number): string {
  return decoder.decode(utf8.encode(text.slice(0, length)));
}

function longestOf(key: string): number {
  if (key === "description") return MAX_DESCRIPTION_BYTES;
  return key === "status/all_stop_heard" ? LONGEST_OF_HOST : LONGEST_TEXT;
}

/** A text as it is shown; a longer one ends with `…`, which is no JSON. */
function bounded(text: string, longest: number): string {
  return text.length > longest ? `${headOf(text, LONGEST_TEXT)}…` : text;
}
