import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { closestMatch } from "leven";
import { delay } from "../base/clock.ts";
import { unlessMissing } from "../base/durable-file.ts";
import { pathFrom } from "../base/paths.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { printable, printableJson } from "../contract/payload.ts";
import { LOGS_FOLDER, logFileName } from "../host/data/log-files.ts";
import { type Edges, type Flags, withSettings } from "./options.ts";

const LOOK_EVERY_MS = 250;
const USUAL_LINES = "100";

/** How each line begins, as pino writes it. */
const TIME = /^\{"level":\d+,"time":"([^"]*)"/;

export function addLogs(program: Command, edges: Edges): void {
  withSettings(program.command("logs"), ({ key }) => key === "data")
    .description("show what workers and the host logged, also when no host runs")
    .argument("[id]", "only this worker's, or the host's (worker_host); all if not given")
    .option("-f, --follow", "go on with what is logged from now on, until stopped")
    .option("-n, --lines <count>", `how many of the last lines; ${USUAL_LINES} if not given`)
    .option("--json", "as they are in the files")
    .addHelpText("after", "\nExample:\n  worker-host logs fogger -f")
    .action(async (id: string | undefined, flags: Flags) => {
      const folder = join(edges.settingsFrom(flags).data, LOGS_FOLDER);
      const count = countOf(flags.lines);
      const ids = await wanted(folder, id, edges);
      const show = await shownAs(flags.json === true, edges);
      const tails = new Map(ids.map((one) => [one, new LogTail(folder, one)]));
      const last = await inOrder([...tails.values()].map((tail) => () => tail.last(count)));
      for (const line of count === 0 ? [] : last.slice(-count)) edges.sayShown(show(line));
      if (flags.follow !== true) return;
      edges.onSignal(() => edges.exit(0));
      edges.onClosedOutput(() => edges.exit(0));
      for (;;) {
        await delay(edges.clock, LOOK_EVERY_MS);
        for (const one of id === undefined ? await logsIn(folder) : [])
          if (!tails.has(one)) tails.set(one, new LogTail(folder, one));
        for (const line of await inOrder([...tails.values()].map((tail) => () => tail.more())))
          edges.sayShown(show(line));
      }
    });
}

function countOf(lines: string | boolean | undefined = USUAL_LINES): number {
  const count = Number(lines);
  if (typeof lines === "string" && /^\d+$/.test(lines) && Number.isSafeInteger(count)) return count;
  throw new WorkerHostError("invalid_settings", `--lines ${lines}: expected a whole number, such as 20`);
}

async function wanted(folder: string, id: string | undefined, { cwd }: Edges): Promise<string[]> {
  const ids = await logsIn(folder);
  const shown = pathFrom(cwd)(folder);
  if (ids.length === 0) throw new WorkerHostError("invalid_id", `no logs in ${shown}: a host that runs writes them`);
  if (id === undefined) return ids;
  if (ids.includes(id)) return [id];
  const near = closestMatch(id, ids, { maxDistance: 2 });
  const meant = near === undefined ? "." : `; did you mean "${near}"?`;
  throw new WorkerHostError(
    "invalid_id",
    `no log of "${printable(id)}" in ${shown}${meant} There are: ${ids.join(", ")}`,
  );
}

async function shownAs(json: boolean, { env, forPeople }: Edges): Promise<(line: string) => string> {
  if (json) return printableJson;
  const { prettyLog } = await import("../base/pretty-log.ts");
  const pretty = prettyLog({ colors: forPeople && !env.NO_COLOR });
  return (line) => pretty(line).trimEnd();
}

/** Reads one after the other, and merges by time; lines of one log stay in their order. */
async function inOrder(reads: (() => Promise<string[]>)[]): Promise<string[]> {
  const all: { time: string; line: string }[] = [];
  for (const read of reads) {
    let time = "";
    for (const line of await read()) {
      time = TIME.exec(line)?.[1] ?? time;
      all.push({ time, line });
    }
  }
  return all.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0)).map(({ line }) => line);
}

const LOG_FILE = /^([A-Za-z0-9_-]{1,200})(?:\.\d+)?\.log$/;
const LINE_END = 0x0a;

/** Whose logs are in a folder; none where there is no such folder. */
async function logsIn(folder: string): Promise<string[]> {
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
