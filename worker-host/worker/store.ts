import { isUtf8 } from "node:buffer";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isLeftOver, unlessMissing, writeDurably } from "../base/durable-file.ts";
import { describeError, WorkerHostError } from "../contract/errors.ts";
import { jsonIn } from "../contract/payload.ts";
import { MAX_STORE_BYTES, MAX_STORE_KEY_CHARS } from "./limits.ts";

export interface StoreOptions {
  warn: (text: string) => void;
  now: () => number;
}

/** Where it is in the folder. */
export const STORE_FILE = "store.json";

/** `{`, `}` and the ends of their lines. */
const EMPTY_BYTES = 3;

/**
 * A small map that outlives its worker: reading is from memory, and what a write promises is on disk. Writes are
 * gathered: while one is under way, all that is changed goes into the next.
 */
export class Store {
  /** The JSON of each value, so that nobody changes what is in here by changing what they got. */
  readonly #json: Map<string, string>;
  #bytes = EMPTY_BYTES;
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  /** Whether the last write failed, so that memory is ahead of the disk. */
  #failed = false;

  private constructor(
    private readonly path: string,
    json: Map<string, string>,
    private readonly options: StoreOptions,
  ) {
    this.#json = json;
    for (const [key, value] of json) this.#bytes += sizeOf(key, value);
  }

  /** Reads `store.json` of a folder; one that can't be read as such is set aside, with a warning. */
  static async open(dir: string, options: StoreOptions): Promise<Store> {
    const path = join(dir, STORE_FILE);
    await removeLeftOvers(path);
    const bytes = await unlessMissing(readFile(path));
    if (bytes === undefined) return new Store(path, new Map(), options);
    const values = parseEntries(bytes);
    if (values) return new Store(path, values, options);
    const aside = `${path}.broken-${new Date(options.now()).toISOString().replaceAll(":", "-")}`;
    await rename(path, aside);
    options.warn(`${path} is no store: it is kept as ${aside}, and a new one begun`);
    return new Store(path, new Map(), options);
  }

  get size(): number {
    return this.#json.size;
  }

  has(key: string): boolean {
    return this.#json.has(key);
  }

  /** A copy of what was stored; `undefined` where nothing was. */
  get<T = unknown>(key: string): T | undefined {
    const json = this.#json.get(key);
    return json === undefined ? undefined : (JSON.parse(json) as T);
  }

  keys(): string[] {
    return [...this.#json.keys()];
  }

  entries(): [string, unknown][] {
    return [...this.#json].map(([key, json]) => [key, JSON.parse(json)]);
  }

  /**
   * Stores what JSON can carry. Fulfils when it is on disk; rejects where it can't be written, which the next write
   * makes up for.
   *
   * @throws WorkerHostError `invalid_value` for a key or value that can't be stored, or a store of over 1 MiB
   */
  set(key: string, value: unknown): Promise<void> {
    assertKey(key);
    const json = encode(key, value);
    const old = this.#json.get(key);
    const bytes = this.#bytes + sizeOf(key, json) - (old === undefined ? 0 : sizeOf(key, old));
    if (bytes > MAX_STORE_BYTES) {
      throw new WorkerHostError(
        "invalid_value",
        `store: with "${key}" it would have ${bytes} bytes, and ${MAX_STORE_BYTES} is the most: write files to this.dataDir instead`,
      );
    }
    this.#bytes = bytes;
    this.#json.set(key, json);
    return this.#save();
  }

  /** Fulfils when it is gone from the disk too. */
  delete(key: string): Promise<void> {
    const old = this.#json.get(key);
    if (old === undefined) return this.flush();
    this.#bytes -= sizeOf(key, old);
    this.#json.delete(key);
    return this.#save();
  }

  /** Fulfils when all is gone from the disk too. */
  clear(): Promise<void> {
    this.#bytes = EMPTY_BYTES;
    this.#json.clear();
    return this.#save();
  }

  /** Fulfils when all that was stored is on disk; tries once more to write what could not be written before. */
  async flush(): Promise<void> {
    await (this.#next ?? this.#writing ?? (this.#failed ? this.#save() : undefined));
  }

  #save(): Promise<void> {
    this.#next ??= this.#writeNext(this.#writing);
    return this.#next;
  }

  #writeNext(before: Promise<void> | undefined): Promise<void> {
    // Begun a moment later, so that what is stored in one go is written in one.
    const written: Promise<void> = Promise.resolve(before)
      .catch(() => undefined)
      .then(() => this.#write(written));
    // Whoever awaits it hears of it; whoever doesn't must not end the worker.
    written.catch((error: unknown) => this.options.warn(`${this.path} can't be written: ${describeError(error)}`));
    return written;
  }

  async #write(self: Promise<void>): Promise<void> {
    this.#next = undefined;
    this.#writing = self;
    try {
      const lines = [...this.#json].map(([key, json]) => `  ${JSON.stringify(key)}: ${json}`);
      await mkdir(dirname(this.path), { recursive: true });
      await writeDurably(this.path, lines.length === 0 ? "{}\n" : `{\n${lines.join(",\n")}\n}\n`);
      this.#failed = false;
    } catch (error) {
      this.#failed = true;
      throw error;
    } finally {
      this.#writing = undefined;
    }
  }
}

/** What a line of the file takes: indented, with a colon, a comma and its end. */
function sizeOf(key: string, json: string): number {
  return Buffer.byteLength(JSON.stringify(key)) + Buffer.byteLength(json) + 6;
}

function assertKey(key: string): void {
  if (typeof key === "string" && key !== "" && key.length <= MAX_STORE_KEY_CHARS) return;
  throw new WorkerHostError(
    "invalid_value",
    `store: expected a key of 1 to ${MAX_STORE_KEY_CHARS} letters, got ${typeof key === "string" ? `${key.length} letters` : typeof key}`,
  );
}

/** JSON of its own, since `JSON.stringify` drops what it can't write without a word. */
function encode(key: string, value: unknown): string {
  const refuse = (found: string, cause?: unknown): never => {
    const text = `store: "${key}" has ${found} in it: give what JSON has`;
    throw new WorkerHostError("invalid_value", text, { cause });
  };
  const check = (_: string, inner: unknown): unknown => {
    if (["undefined", "function", "symbol", "bigint"].includes(typeof inner)) refuse(`a ${typeof inner}`);
    if (typeof inner === "number" && !Number.isFinite(inner)) refuse(String(inner));
    const unfit = [Map, Set, Promise, RegExp, Error].find((type) => inner instanceof type);
    if (unfit) refuse(`a ${unfit.name}`);
    return inner;
  };
  try {
    return JSON.stringify(value, check) ?? refuse("nothing");
  } catch (error) {
    if (error instanceof WorkerHostError) throw error;
    return refuse(`something circular`, error);
  }
}

/** `undefined` where it is not JSON with keys. */
function parseEntries(bytes: Buffer): Map<string, string> | undefined {
  // `toString` would put a mark in the place of each broken letter, and the next write would keep that.
  if (!isUtf8(bytes)) return undefined;
  const values = jsonIn(new TextDecoder().decode(bytes));
  if (typeof values !== "object" || values === null || Array.isArray(values)) return undefined;
  return new Map(Object.entries(values).map(([key, value]) => [key, JSON.stringify(value)]));
}

/** A process that was killed while it wrote leaves its temporary file behind. */
async function removeLeftOvers(path: string): Promise<void> {
  const names = (await unlessMissing(readdir(dirname(path)))) ?? [];
  const left = names.filter((name) => isLeftOver(name, path));
  await Promise.all(left.map((name) => rm(join(dirname(path), name), { force: true })));
}
