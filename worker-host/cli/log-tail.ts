import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { logFileName } from "../host/rotating-file.ts";
import { unlessMissing } from "../worker/unless-missing.ts";

const LOG_FILE = /^([A-Za-z0-9_-]{1,200})(?:\.\d+)?\.log$/;
const LINE_END = 0x0a;

/** Whose logs are in a folder; none where there is no such folder. */
export async function logsIn(folder: string): Promise<string[]> {
  const names = (await unlessMissing(readdir(folder))) ?? [];
  const ids = names.flatMap((name) => LOG_FILE.exec(name)?.[1] ?? []);
  return [...new Set(ids)].sort();
}

/** The lines of one log, over the files that it goes on in. */
export class LogTail {
  /** Which file was read last, and how far: its name goes to another one. */
  #ino = 0;
  #position = 0;

  constructor(
    private readonly folder: string,
    private readonly id: string,
  ) {}

  /** The last lines, oldest first. */
  async last(count: number): Promise<string[]> {
    let lines = await this.more();
    const seen = new Set([this.#ino]);
    for (let age = 1; lines.length < count; age++) {
      const older = await this.#open(age);
      if (!older) break;
      const { ino } = await older.stat();
      // It was rotated meanwhile.
      if (!seen.has(ino)) lines = [...(await linesFrom(older, 0)).lines, ...lines];
      seen.add(ino);
      await older.close();
    }
    return count === 0 ? [] : lines.slice(-count);
  }

  /** The lines that have come since the last call; at the first, all of the file that is written to. */
  async more(): Promise<string[]> {
    const found = await unlessMissing(stat(this.#path(0)));
    if (found && found.ino === this.#ino && found.size === this.#position) return [];
    const current = await this.#open(0);
    // It is between two names.
    if (!current) return [];
    const { ino } = await current.stat();
    const before = this.#ino === 0 || this.#ino === ino ? [] : await this.#rotated(ino);
    const { lines, end } = await linesFrom(current, ino === this.#ino ? this.#position : 0);
    await current.close();
    this.#ino = ino;
    this.#position = end;
    return [...before, ...lines];
  }

  /** What was not read of files that have another name by now, and of those that came and went between. */
  async #rotated(current: number): Promise<string[]> {
    let lines: string[] = [];
    for (let age = 1; ; age++) {
      const older = await this.#open(age);
      if (!older) return lines;
      const { ino } = await older.stat();
      const rest = ino === current ? [] : (await linesFrom(older, ino === this.#ino ? this.#position : 0)).lines;
      await older.close();
      lines = [...rest, ...lines];
      if (ino === this.#ino) return lines;
    }
  }

  #open(age: number): Promise<FileHandle | undefined> {
    return unlessMissing(open(this.#path(age)));
  }

  #path(age: number): string {
    return join(this.folder, logFileName(this.id, age));
  }
}

/** The whole lines from `start` on, and where they end. */
async function linesFrom(file: FileHandle, start: number): Promise<{ lines: string[]; end: number }> {
  const { size } = await file.stat();
  const from = start > size ? 0 : start;
  const bytes = Buffer.alloc(size - from);
  const { bytesRead } = await file.read(bytes, 0, bytes.length, from);
  const length = bytes.subarray(0, bytesRead).lastIndexOf(LINE_END) + 1;
  const text = bytes.toString("utf8", 0, length);
  return { lines: text === "" ? [] : text.slice(0, -1).split("\n"), end: from + length };
}
