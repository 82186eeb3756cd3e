import { open } from "node:fs/promises";
import { join } from "node:path";
import { jsonIn } from "worker-host/contract/payload.ts";

/** What of a log is read at most. */
const LONGEST_END = 262_144;
const LONGEST_LINE = 2_000;

/** Reads the ends of the logs in a folder, one after the other: each takes some ms, in which nothing else runs. */
export class LogEnds {
  #reading: Promise<unknown> = Promise.resolve();

  constructor(private readonly folder: string) {}

  read(id: string, count: number): Promise<string[]> {
    const read = this.#reading.then(() => logEnd(this.folder, id, count));
    this.#reading = read.catch(() => {});
    return read;
  }
}

/** The last lines of the log `<id>.log` in a folder, each as a person reads it; none where there is no log. */
async function logEnd(folder: string, id: string, count: number): Promise<string[]> {
  const file = await open(join(folder, `${id}.log`)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (!file) return [];
  try {
    const { size } = await file.stat();
    const bytes = Buffer.alloc(Math.min(size, LONGEST_END));
    await file.read(bytes, 0, bytes.length, size - bytes.length);
    const lines = bytes.toString("utf8").split("\n").slice(0, -1);
    // The first one is cut where it is not the file's first.
    return (size > bytes.length ? lines.slice(1) : lines).slice(-count).map(readable);
  } finally {
    await file.close();
  }
}

function readable(line: string): string {
  const { time, level, msg } = (jsonIn(line) ?? {}) as Partial<Record<string, unknown>>;
  const marked = Number(level) >= 50 ? "ERROR " : Number(level) >= 40 ? "WARN " : "";
  const text = typeof msg === "string" ? `${String(time).slice(11, 19)} ${marked}${msg}` : line;
  return text.slice(0, LONGEST_LINE);
}
