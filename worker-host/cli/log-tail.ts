import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { unlessMissing } from "../base/durable-file.ts";
import { logFileName } from "../host/data/log-files.ts";

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
    const newest = await this.more();
    if (newest.length >= count) return count === 0 ? [] : newest.slice(-count);
    const older = await this.#before(this.#ino, async (lines) => {
      return newest.length + lines.length >= count && (await unlessMissing(stat(this.#path(0))))?.ino === this.#ino;
    });
    return [...older, ...newest].slice(-count);
  }

  /** The lines that have come since the last call; at the first, all of the file that is written to. */
  async more(): Promise<string[]> {
    const found = await unlessMissing(stat(this.#path(0)));
    if (found && found.ino === this.#ino && found.size === this.#position) return [];
    // Between two names there is none that is written to.
    const current = (await this.#open(0)) ?? (await this.#open(1));
    if (!current) return [];
    const { ino } = await current.stat();
    const before =
      this.#ino === 0 || this.#ino === ino ? [] : await this.#before(ino, async (_, read) => read === this.#ino);
    const { lines, end } = await linesFrom(current, ino === this.#ino ? this.#position : 0);
    await current.close();
    this.#ino = ino;
    this.#position = end;
    return [...before, ...lines];
  }

  /**
   * What was not read of files older than `current`, until that is enough. They may get their next names meanwhile: then
   * one is met twice, one is missing between two names, or newer ones are met before `current` is.
   */
  async #before(current: number, enough: (lines: string[], read: number) => Promise<boolean>): Promise<string[]> {
    let lines: string[] = [];
    const seen = new Set([current]);
    for (let age = 1, missing = 0; missing < 2; age++) {
      const file = await this.#open(age);
      missing = file ? 0 : missing + 1;
      if (!file) continue;
      const { ino } = await file.stat();
      const rest = seen.has(ino) ? [] : (await linesFrom(file, ino === this.#ino ? this.#position : 0)).lines;
      await file.close();
      seen.add(ino);
      lines = ino === current ? [] : [...rest, ...lines];
      if (ino !== current && (await enough(lines, ino))) break;
    }
    return lines;
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
