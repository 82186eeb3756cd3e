import { LONGEST_DESCRIPTION } from "./description.ts";
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
/** Longer than who has heard an all-stop, with its lists full of short ids. */
const LONGEST_HEARD = 262_144;

/** What follows the id in the topics that tell how it is. */
const TOLD = /^(state|description|(status|telemetry)\/.+)$/;

/** What the bus says of everything: the last value on each topic, and when it came. */
export class BusModel {
  readonly #ids = new Map<string, Map<string, Kept>>();
  #seq = 0;
  #leftOut = 0;

  constructor(private readonly topics: Topics) {}

  /** Takes a message that came at `at`. */
  take({ topic, text, retain }: BusMessage, at: number): void {
    const id = this.topics.idOf(topic);
    if (id === undefined || !isPeer(id)) return;
    const key = topic.slice(this.topics.prefix.length + id.length + 2);
    if (!TOLD.test(key) || key.length > LONGEST_KEY) return;
    const values = this.#ids.get(id) ?? new Map<string, Kept>();
    const known = values.get(key);
    // The broker says again what it keeps, for each subscription.
    if (retain && known?.text === text) return;
    const isFull = !known && (values.size >= MOST_KEYS || (values.size === 0 && this.#ids.size >= MOST_IDS));
    if (isFull || (text === "" && !known)) {
      if (isFull) this.#leftOut++;
      return;
    }
    values.set(key, { text: bounded(key, text), at, retained: retain, seq: ++this.#seq });
    this.#ids.set(id, values);
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

/** A text as it is shown; a longer one ends with `…`, which is no JSON. */
function bounded(key: string, text: string): string {
  const longest =
    key === "description" ? LONGEST_DESCRIPTION : key === "status/all_stop_heard" ? LONGEST_HEARD : LONGEST_TEXT;
  return text.length > longest ? `${text.slice(0, LONGEST_TEXT)}…` : text;
}
