import type { Readable } from "node:stream";
import { type Clock, delay, within } from "../../base/clock.ts";
import { followLines } from "../../base/output.ts";
import { SerialQueue } from "../../base/promises.ts";
import { describeError } from "../../contract/errors.ts";
import { appendFile, mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { unlessMissing } from "../../base/durable-file.ts";
import { LOG_AGAIN_MS, LOG_END_MS, LOG_GATHER_MS, MAX_LOG_WAITING_BYTES } from "../limits.ts";

interface LogFilesOptions {
  folder: string;
  /** What no worker's line is about goes into the file of this name. */
  hostName: string;
  fileBytes: number;
  /** How many there are of each log; 0: none is kept. */
  files: number;
  clock: Clock;
}

/** In the folder for what has to outlive a restart. */
export const LOGS_FOLDER = "logs";

/** Files that are written to in one moment. */
const AT_ONCE = 8;
/** How long the last lines of processes that have ended have to come. */
const END_MS = 500;

/** How pino begins a line of a child logger that is a worker's; what an author logs stands behind it. */
const OF_WORKER = /^\{"level":\d+,"time":"[^"]*","worker":"([A-Za-z0-9_-]{1,200})"/;

type FileOf = (named: string | undefined) => string | undefined;

interface Waiting {
  lines: string[];
  bytes: number;
  leftOut: number;
}

/**
 * The log in files, one for each worker and one for the host. Writing never fails: where a file can't be written, that
 * is told once, and lines are left out until it can.
 */
export class LogFiles {
  readonly #waiting = new Map<string, Waiting>();
  readonly #sources = new Set<Promise<void>>();
  #bytes = 0;
  #failed = false;
  #soon = false;
  /** Two that rotate the same files at once would lose some. */
  readonly #queue = new SerialQueue();
  #tell: (text: string) => void = () => {};

  constructor(private readonly options: LogFilesOptions) {}

  get kept(): boolean {
    return this.options.files > 0;
  }

  /** Says where it is told that a file can't be written. */
  report(tell: (text: string) => void): void {
    this.#tell = tell;
  }

  /**
   * Takes a line of the log, with its end.
   *
   * @param fileOf gives the worker whose file it goes into, by the worker that it names; the host's for `undefined`
   */
  take(line: string, fileOf: FileOf = (named) => named): void {
    const { hostName, fileBytes, files } = this.options;
    if (files === 0) return;
    const id = fileOf(OF_WORKER.exec(line)?.[1]) ?? hostName;
    const waiting = this.#waiting.get(id) ?? { lines: [], bytes: 0, leftOut: 0 };
    this.#waiting.set(id, waiting);
    // More would be rotated away at once.
    if (waiting.bytes > fileBytes * files || this.#bytes > MAX_LOG_WAITING_BYTES) waiting.leftOut++;
    else {
      waiting.lines.push(line);
      waiting.bytes += line.length;
      this.#bytes += line.length;
    }
    if (!this.#soon) void this.#writeSoon();
  }

  /** Takes the lines of a process; `fileOf` as for `take`. */
  follow(source: Readable, fileOf: FileOf): void {
    const ended = followLines(source, (lines) => {
      for (const line of lines.slice(0, -1).split("\n")) this.take(`${line}\n`, fileOf);
    });
    this.#sources.add(ended);
    void ended.then(() => this.#sources.delete(ended));
  }

  /** Fulfils when all that came is written, or can't be. */
  async close(): Promise<void> {
    const { clock } = this.options;
    await within(clock, END_MS, Promise.all(this.#sources));
    await within(clock, LOG_END_MS, this.#write());
  }

  async #writeSoon(): Promise<void> {
    this.#soon = true;
    await delay(this.options.clock, this.#failed ? LOG_AGAIN_MS : LOG_GATHER_MS);
    await this.#write();
    this.#soon = false;
    if (this.#waiting.size > 0) void this.#writeSoon();
  }

  #write(): Promise<void> {
    return this.#queue.take(() => this.#writeAll());
  }

  async #writeAll(): Promise<void> {
    const all = [...this.#waiting];
    this.#waiting.clear();
    this.#bytes = 0;
    const faults: string[] = [];
    const next = async () => {
      for (let one = all.pop(); one; one = all.pop()) {
        const fault = await this.#append(...one);
        if (fault !== undefined) faults.push(fault);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, next));
    const [fault] = faults;
    const told = this.#failed;
    this.#failed = fault !== undefined;
    if (fault !== undefined && !told) this.#tell(`the log can't be kept in files (${fault}): lines are missing there`);
  }

  /** Gives why it could not be written. */
  async #append(id: string, { lines, leftOut }: Waiting): Promise<string | undefined> {
    const gap = leftOut > 0 ? [this.#gap(id, leftOut)] : [];
    try {
      await new RotatingFile({ ...this.options, id }).append([...lines, ...gap]);
      return undefined;
    } catch (error) {
      return describeError(error);
    }
  }

  #gap(id: string, count: number): string {
    const { clock, hostName } = this.options;
    const msg = `${count} lines were left out: they came faster than they are kept`;
    const time = new Date(clock.now()).toISOString();
    return `${JSON.stringify({ level: 40, time, ...(id === hostName ? {} : { worker: id }), msg })}\n`;
  }
}

interface RotatingFileOptions {
  folder: string;
  /** Of the worker, or of the host: the name of its files. */
  id: string;
  /** A file is no longer than this, but for a single line that is. */
  fileBytes: number;
  /** With the one that is written to. */
  files: number;
}

/** The name of a log file: `fogger.log`, and before that `fogger.1.log`, `fogger.2.log`. */
export function logFileName(id: string, age: number): string {
  return age === 0 ? `${id}.log` : `${id}.${age}.log`;
}

/** Lines of one log, in a few files of limited length. No file is open between two writes: there may be a thousand. */
export class RotatingFile {
  constructor(private readonly options: RotatingFileOptions) {}

  /** Lines have their ends. */
  async append(lines: readonly string[]): Promise<void> {
    const { fileBytes } = this.options;
    let size = (await unlessMissing(stat(this.#path(0))))?.size ?? 0;
    let batch = "";
    for (const line of lines) {
      const bytes = Buffer.byteLength(line);
      if (size > 0 && size + bytes > fileBytes) {
        await this.#write(batch);
        await this.#rotate();
        batch = "";
        size = 0;
      }
      batch += line;
      size += bytes;
    }
    await this.#write(batch);
  }

  async #write(text: string): Promise<void> {
    if (text === "") return;
    const path = this.#path(0);
    if ((await unlessMissing(appendFile(path, text).then(() => true))) !== undefined) return;
    await mkdir(dirname(path), { recursive: true });
    await appendFile(path, text);
  }

  async #rotate(): Promise<void> {
    const { files } = this.options;
    if (files === 1) await rm(this.#path(0), { force: true });
    for (let age = files - 1; age > 0; age--) await unlessMissing(rename(this.#path(age - 1), this.#path(age)));
  }

  #path(age: number): string {
    return join(this.options.folder, logFileName(this.options.id, age));
  }
}
