import { Socket } from "node:net";

/** How each line of the log begins; what follows is what somebody said. */
export const LINE_BEGIN = /^\{"level":\d+,"time":"[^"]*"(,"worker":"[A-Za-z0-9_-]+")?/;

/** The file descriptor over which a runner hands its log to its host. */
export const LOG_FD = 4;

const LONGEST_LINE = 65_536;
/** What waits for a host that is held up; more is left out. */
const MOST_WAITING = 1_048_576;

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
    if (this.#socket.writableLength > MOST_WAITING) {
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
    const fits = line.length <= LONGEST_LINE;
    this.#socket.write(fits ? line : `${begin},"msg":"a line of ${line.length} characters was left out"}\n`);
  }
}
