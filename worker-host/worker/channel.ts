import type { Duplex } from "node:stream";
import { letOthersWork } from "../base/lines.ts";
import { jsonIn } from "../contract/payload.ts";

/** The file descriptor over which a runner and its host talk. */
export const CHANNEL_FD = 3;

/** A longer line is none of ours: what waits for its end must not take the memory. */
const LONGEST_LINE = 16 * 1_048_576;

export interface ChannelEvents {
  onMessage: (message: unknown) => void;
  /** Called for a line that is no message; `text` says what is wrong with it. */
  onGarbage: (text: string) => void;
  /** Called once, when the other side has closed it, or is gone. */
  onEnd: () => void;
}

/**
 * Messages between a host and a runner, as a JSON value a line. Not by Node's own IPC: all code in the process can speak
 * on that (`process.send`) and close it (`process.disconnect`), a line that is no JSON ends the process that reads it,
 * and a message may be of any size. Here a worker finds neither function, as in a program that was started by itself.
 */
export class Channel {
  #rest: string[] = [];
  #length = 0;
  #ended = false;

  constructor(
    private readonly stream: Duplex,
    private readonly events: ChannelEvents,
  ) {
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => {
      this.#take(text);
      letOthersWork(stream);
    });
    stream.on("end", () => this.#end());
    stream.on("close", () => this.#end());
    // The other side is gone: `close` follows.
    stream.on("error", () => stream.destroy());
  }

  /** To a side that is gone, a message goes nowhere. */
  send(message: object): void {
    if (this.stream.writable) this.stream.write(`${JSON.stringify(message)}\n`);
  }

  /** Closes it once what was sent is on its way. */
  close(): void {
    this.stream.end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.events.onEnd();
  }

  #take(text: string): void {
    const lines = text.split("\n");
    const last = lines.pop() ?? "";
    for (const line of lines) {
      const whole = this.#rest.length === 0 ? line : [...this.#rest, line].join("");
      const length = this.#length + line.length;
      this.#rest = [];
      this.#length = 0;
      if (length > LONGEST_LINE) this.events.onGarbage(`a line of ${length} characters`);
      else this.#read(whole);
    }
    this.#length += last.length;
    if (this.#length > LONGEST_LINE) this.#rest = [];
    else if (last !== "") this.#rest.push(last);
  }

  #read(line: string): void {
    // A parser finds that out too, but takes 50 times as long.
    const message = line.startsWith("{") ? jsonIn(line) : undefined;
    if (message !== undefined) this.events.onMessage(message);
    else this.events.onGarbage(`a line that is no JSON object: ${JSON.stringify(line.slice(0, 80))}`);
  }
}
