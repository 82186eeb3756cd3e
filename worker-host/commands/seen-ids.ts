import { closeSync, existsSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { SEEN_IDS } from "../contract/limits.ts";
import { jsonIn } from "../contract/payload.ts";

/** How many are taken of what others say: they may have it from others, before or after their own. */
const KEPT_OF_OTHERS = 2 * SEEN_IDS;
const MOST = 2 * KEPT_OF_OTHERS;

/** The ids of the last commands that ran, so that none runs twice. */
export class SeenIds {
  readonly #ids: Set<string>;

  /** @param onTaken told of each new one */
  constructor(
    ids: readonly string[] = [],
    private readonly onTaken: (id: string) => void = () => {},
  ) {
    this.#ids = new Set(ids.slice(-KEPT_OF_OTHERS));
  }

  /** The oldest first. */
  get all(): string[] {
    return [...this.#ids];
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /** Remembers one. */
  take(id: string): void {
    if (!this.#add(id)) return;
    // One for each, even where there are more: they may be newer than those that are kept.
    const [oldest] = this.#ids;
    if (this.#ids.size > SEEN_IDS && oldest !== undefined) this.#ids.delete(oldest);
  }

  /** Remembers what was seen elsewhere; whether that was before or after its own isn't known, so nothing goes for it. */
  takeAll(ids: readonly string[]): void {
    for (const id of ids.slice(-KEPT_OF_OTHERS)) this.#add(id);
    for (const oldest of this.#ids) {
      if (this.#ids.size <= MOST) return;
      this.#ids.delete(oldest);
    }
  }

  /** Gives whether it is new. */
  #add(id: string): boolean {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    this.onTaken(id);
    return true;
  }
}

/** A file of so many bytes, or twice what it needs, is written anew. */
const ROOM_BYTES = 262_144;

/** The journal of the process that has its black box at `path`. */
export function journalOf(path: string): string {
  return `${path}.seen`;
}

/**
 * What a process's workers have seen, in a file that outlives it: who is killed can't be asked any more, and a command
 * that killed it must not run again. A line takes a microsecond or two.
 */
export class SeenJournal {
  readonly #seen = new Map<string, SeenIds>();
  #file: number | undefined;
  #bytes = 0;
  #room = ROOM_BYTES;

  /** @param onError told once where nothing can be written any more */
  constructor(
    private readonly path: string,
    private readonly onError: (error: unknown) => void,
  ) {
    this.#file = openSync(path, "w");
  }

  /** What a worker has seen: here, and, as its host says, elsewhere. */
  of(worker: string, elsewhere: readonly string[]): SeenIds {
    const known = this.#seen.get(worker);
    if (known) {
      known.takeAll(elsewhere);
      return known;
    }
    const seen = new SeenIds(elsewhere, (id) => this.#append(worker, id));
    this.#seen.set(worker, seen);
    for (const id of seen.all) this.#append(worker, id);
    return seen;
  }

  #append(worker: string, id: string): void {
    if (this.#file === undefined) return;
    try {
      this.#bytes += writeSync(this.#file, lineOf(worker, id));
      if (this.#bytes > this.#room) this.#compact(this.#file);
    } catch (error) {
      this.#file = undefined;
      this.onError(error);
    }
  }

  #compact(old: number): void {
    const lines = [...this.#seen].flatMap(([worker, seen]) => seen.all.map((id) => lineOf(worker, id)));
    const temporary = `${this.path}.new`;
    const file = openSync(temporary, "w");
    this.#bytes = writeSync(file, lines.join(""));
    this.#room = Math.max(ROOM_BYTES, 2 * this.#bytes);
    renameSync(temporary, this.path);
    closeSync(old);
    this.#file = file;
  }
}

function lineOf(worker: string, id: string): string {
  return `${JSON.stringify([worker, id])}\n`;
}

/** What the workers of a process have seen, by their ids, the oldest first. */
export function readSeen(path: string): Map<string, string[]> {
  const all = new Map<string, string[]>();
  // It died before it could begin.
  if (!existsSync(path)) return all;
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const entry = jsonIn(line);
    // The last one may be torn.
    const [worker, id]: unknown[] = Array.isArray(entry) ? entry : [];
    if (typeof worker !== "string" || typeof id !== "string") continue;
    const ids = all.get(worker) ?? [];
    ids.push(id);
    all.set(worker, ids);
  }
  return all;
}
