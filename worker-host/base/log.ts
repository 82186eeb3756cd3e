import { Socket } from "node:net";
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from "pino";
import { MAX_LOG_LINE_CHARS, MAX_LOG_PIPE_BYTES, MOST_SAID, SAID_EVERY_MS } from "../contract/limits.ts";
import { jsonIn } from "../contract/payload.ts";
import type { Clock } from "./clock.ts";
import { Output, type OutputTarget } from "./output.ts";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";

export interface LogOptions {
  level: LogLevel;
  /** For people at a terminal; JSON lines otherwise. */
  pretty: boolean;
  /** What workers' processes log is kept in files. */
  kept?: boolean;
}

/** Where lines of the log go, each with its line end. */
interface LogPath {
  /** Standard output. */
  target: OutputTarget;
  clock: Clock;
  /** Takes out what must not be seen. */
  clean?: (line: string) => string;
  /** Takes them beside standard output. */
  keep?: (line: string) => void;
}

/** Each process has one logger, which never waits for its output; a worker's is `log.child({ worker: id })`. */
export async function createLogger(
  { level, pretty }: LogOptions,
  { target, clock, clean, keep }: LogPath,
): Promise<{ log: Logger; output: Output }> {
  const output = new Output({
    ...target,
    clock,
    onGap: (lines) => log.warn(`${lines} lines were left out: they came faster than standard output takes them`),
  });
  const shown = pretty ? (await import("./pretty-log.ts")).prettyLog({ colors: true }) : (line: string) => line;
  const destination: DestinationStream = {
    write(said: string) {
      const line = clean?.(said) ?? said;
      output.write(shown(line));
      keep?.(line);
    },
  };
  const log = pino({ level, base: null, timestamp: stdTimeFunctions.isoTime }, destination);
  return { log, output };
}

/** For what is a part of something that tells its faults itself. */
export function silentLog(): Logger {
  return pino({ level: "silent" });
}

/** How each line of the log begins; what follows is what somebody said. */
const LINE_BEGIN = /^\{"level":\d+,"time":"[^"]*"(,"worker":"[A-Za-z0-9_-]+")?/;

/** The file descriptor over which a runner hands its log to its host. */
export const LOG_FD = 4;

/**
 * Hands lines of the log to the host, which keeps them in files. A line is the kernel's before the worker goes on, so
 * that it gets there also when the worker hangs or is killed; a host, or a disk, that is held up keeps nobody waiting.
 */
export class LogPipe {
  readonly #socket = new Socket({ fd: LOG_FD, readable: false, writable: true });
  #leftOut = 0;

  constructor() {
    this.#socket.unref();
    // The host is gone, and so is this process in a moment.
    this.#socket.on("error", () => this.#socket.destroy());
  }

  write(line: string): void {
    if (this.#socket.destroyed) return;
    if (this.#socket.writableLength > MAX_LOG_PIPE_BYTES) {
      this.#leftOut++;
      return;
    }
    const [begin = '{"level":40'] = LINE_BEGIN.exec(line) ?? [];
    if (this.#leftOut > 0) {
      this.#socket.write(
        `${begin},"msg":"${this.#leftOut} lines were left out: they came faster than they are kept"}\n`,
      );
      this.#leftOut = 0;
    }
    const fits = line.length <= MAX_LOG_LINE_CHARS;
    this.#socket.write(fits ? line : `${begin},"msg":"a line of ${line.length} characters was left out"}\n`);
  }
}

/** What stands where a secret was. */
export const HIDDEN = "[hidden]";
/** A shorter text is too likely to stand in a line by itself. */
const SHORTEST = 4;
/** A password that is one short word may also be a word of a message. */
const WORD = /^[a-z]{1,8}$/i;
/** What stands beside a word that is a value, and none of a message's words. */
const BESIDE = "[:=/@?&,;\"'`()\\\\]";
/** How often JSON may stand in a text of JSON. */
const NESTED = 4;

/** Texts that no line of a log may hold, such as passwords. */
export class Secrets {
  readonly #texts = new Set<string>();

  constructor(texts: Iterable<string> = []) {
    for (const text of texts) this.add(text);
  }

  add(text: string | undefined): void {
    if (text === undefined || text.length < SHORTEST) return;
    let form = text;
    this.#texts.add(encodeForUrl(text));
    for (let depth = 0; depth <= NESTED; depth++) {
      this.#texts.add(form);
      form = JSON.stringify(form).slice(1, -1);
    }
  }

  /** A text for people without them. */
  cleanText(text: string): string {
    let cleaned = text;
    for (const secret of this.#texts) cleaned = hide(secret, cleaned);
    return cleaned;
  }

  /** A line of JSON without them. */
  clean(line: string): string {
    let found = false;
    const [begin = ""] = LINE_BEGIN.exec(line) ?? [];
    let rest = line.slice(begin.length);
    for (const text of this.#texts) {
      if (!rest.includes(text)) continue;
      const hidden = hide(text, rest);
      found ||= hidden !== rest;
      rest = hidden;
    }
    if (!found) return line;
    const cleaned = begin + rest;
    // A secret of digits may have stood in a number.
    return jsonIn(cleaned) !== undefined || begin === ""
      ? cleaned
      : `${begin},"msg":"a line with a secret is left out"}\n`;
  }
}

function hide(secret: string, text: string): string {
  if (!WORD.test(secret)) return text.replaceAll(secret, HIDDEN);
  return text.replace(new RegExp(`(?<=^|${BESIDE})${secret}(?=$|${BESIDE})|(?<==)${secret}(?=\\s)`, "g"), HIDDEN);
}

/** Half of a surrogate pair has no form in a URL. */
function encodeForUrl(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString());
}

/** Passes on what is said, but no more than people can read: what is left out is counted, and that is said too. */
export class RateLimiter {
  #room: number;
  #since: number;
  #leftOut = 0;
  #last = "";

  constructor(
    private readonly clock: Clock,
    private readonly tell: (text: string, error?: unknown) => void,
    private readonly burst = MOST_SAID,
  ) {
    this.#room = burst;
    this.#since = clock.monotonic();
  }

  /** @param error what it is about, where it is said at once */
  say(text: string, error?: unknown): void {
    const now = this.clock.monotonic();
    this.#room = Math.min(this.burst, this.#room + (now - this.#since) / SAID_EVERY_MS);
    this.#since = now;
    if (this.#room >= 1 && this.#leftOut === 0) {
      this.#room--;
      this.tell(text, error);
      return;
    }
    if (this.#leftOut === 0) this.clock.after(2 * SAID_EVERY_MS, () => this.#sum());
    this.#leftOut++;
    this.#last = text;
  }

  #sum(): void {
    this.tell(this.#leftOut === 1 ? this.#last : `${this.#leftOut} more were left out; the last: ${this.#last}`);
    this.#leftOut = 0;
  }
}
