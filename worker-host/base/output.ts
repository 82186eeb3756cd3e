import { write, writeSync } from "node:fs";
import type { Readable } from "node:stream";
import { MAX_OUTPUT_BYTES } from "../contract/limits.ts";
import { type Clock, within } from "./clock.ts";

/** A file descriptor that lines go to. */
export interface OutputTarget {
  fd: number;
  /** A write fails with EAGAIN where there is no room: so do a terminal, a pipe and a socket. A file never has that. */
  nonBlocking: boolean;
}

interface OutputOptions extends OutputTarget {
  clock: Clock;
  /** Called with the number of lines that were left out, as soon as the output takes lines again. */
  onGap: (lines: number) => void;
}

/** The pause before the next try grows from the first to the second, for an output without room. */
const SHORTEST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;
/** The pause after an error, such as a full disk, or a pipe that was closed. */
const ERROR_PAUSE_MS = 1_000;
/** How long the last lines of processes that have ended have to come … */
const END_MS = 500;
/** … and how long an output has to take what came last. */
const LAST_WRITE_MS = 1_000;

/**
 * Lines on their way to standard output. Writing never waits and never fails: a terminal that was stopped with Ctrl-S, a
 * pipe that is not read and a full disk hold up no process. What has no room is left out and counted.
 */
export class Output {
  #waiting: Buffer[] = [];
  #bytes = 0;
  #leftOut = 0;
  /** A write is under way, or the next one is due after a pause. */
  #busy = false;
  /** The last write failed for another reason than a lack of room. */
  #failing = false;
  #pauseMs = SHORTEST_PAUSE_MS;
  #onIdle: (() => void)[] = [];
  readonly #sources = new Set<Promise<void>>();

  constructor(private readonly options: OutputOptions) {}

  /** Takes whole lines, each with its end. */
  write(lines: string): void {
    // After a gap, nothing is taken until the gap was told: lines keep their order.
    if (this.#leftOut > 0 || this.#bytes >= MAX_OUTPUT_BYTES) {
      this.#leftOut += count(lines);
      return;
    }
    const chunk = Buffer.from(lines);
    this.#waiting.push(chunk);
    this.#bytes += chunk.length;
    if (!this.#busy) this.#writeNext();
  }

  /** Passes on what another process writes, by whole lines. */
  relay(source: Readable): void {
    const ended = followLines(source, (lines) => this.write(lines));
    this.#sources.add(ended);
    void ended.then(() => this.#sources.delete(ended));
  }

  /** Fulfils when all that came is written, or can't be; after 1.5 s at most. */
  async flush(): Promise<void> {
    const { clock } = this.options;
    await within(clock, END_MS, Promise.all(this.#sources));
    if (!this.#busy || this.#failing) return;
    await within(clock, LAST_WRITE_MS, new Promise<void>((resolve) => this.#onIdle.push(resolve)));
  }

  #writeNext(): void {
    this.#busy = true;
    const { fd, nonBlocking } = this.options;
    if (!nonBlocking && this.#waiting.length > 0) {
      // A disk may take its time, so this is done in another thread.
      write(fd, Buffer.concat(this.#waiting), (error, bytes) => {
        if (error) this.#pause(error);
        else {
          this.#wrote(bytes);
          this.#writeNext();
        }
      });
      return;
    }
    try {
      for (let [chunk] = this.#waiting; chunk; [chunk] = this.#waiting) this.#wrote(writeSync(fd, chunk));
    } catch (error) {
      this.#pause(error as NodeJS.ErrnoException);
      return;
    }
    this.#busy = false;
    this.#settle();
  }

  #wrote(bytes: number): void {
    this.#failing = false;
    this.#pauseMs = SHORTEST_PAUSE_MS;
    this.#bytes -= bytes;
    let left = bytes;
    while (left > 0) {
      const [first] = this.#waiting;
      if (!first) return;
      if (first.length > left) {
        this.#waiting[0] = first.subarray(left);
        return;
      }
      left -= first.length;
      this.#waiting.shift();
    }
  }

  #pause({ code }: NodeJS.ErrnoException): void {
    this.#failing = code !== "EAGAIN";
    const ms = this.#failing ? ERROR_PAUSE_MS : this.#pauseMs;
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, this.#pauseMs * 2);
    if (this.#failing) this.#release();
    this.options.clock.after(ms, () => this.#writeNext());
  }

  #settle(): void {
    const lines = this.#leftOut;
    this.#leftOut = 0;
    if (lines > 0) this.options.onGap(lines);
    if (!this.#busy) this.#release();
  }

  #release(): void {
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }
}

/** The methods of a stream's handle that Node has always had and does not document. */
interface Handle {
  fd: number;
  setBlocking: (blocking: boolean) => void;
}

/**
 * Standard output, or standard error, as an `Output` takes it. From then on, what else is written to that stream waits for
 * no terminal either.
 */
export function withoutWaiting(stream: NodeJS.WriteStream & { fd: number }): OutputTarget {
  const { _handle: handle } = stream as { _handle?: Partial<Handle> | null };
  // A file has none.
  if (typeof handle?.fd !== "number" || handle.setBlocking === undefined) return { fd: stream.fd, nonBlocking: false };
  handle.setBlocking(false);
  return { fd: handle.fd, nonBlocking: true };
}

function count(lines: string): number {
  let found = 0;
  for (let at = lines.indexOf("\n"); at >= 0; at = lines.indexOf("\n", at + 1)) found++;
  return found;
}

/**
 * Has all other work take its turn between two chunks of a stream, to be called with each. Node reads up to 32 of them in
 * one go, and so a flood of short lines would hold up the event loop for seconds.
 */
export function letOthersWork(source: Readable): void {
  source.pause();
  setImmediate(() => source.resume());
}

/** A longer line is cut. */
const LONGEST_LINE = 1_048_576;

/** Hands on what a source brings, by whole lines, each with its end. Fulfils when no more can come. */
export function followLines(source: Readable, take: (lines: string) => void): Promise<void> {
  let rest = "";
  source.setEncoding("utf8");
  source.on("data", (chunk: string) => {
    const text = rest + chunk;
    const end = text.lastIndexOf("\n") + 1;
    rest = text.slice(end);
    if (end > 0) take(text.slice(0, end));
    if (rest.length > LONGEST_LINE) takeRest();
    letOthersWork(source);
  });
  const takeRest = () => {
    if (rest !== "") take(`${rest}\n`);
    rest = "";
  };
  return new Promise((resolve) => {
    source.once("close", () => {
      takeRest();
      resolve();
    });
    // The process is gone; `close` follows.
    source.on("error", () => source.destroy());
  });
}
