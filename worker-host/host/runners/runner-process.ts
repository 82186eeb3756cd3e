import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex, Readable } from "node:stream";
import { killGroup } from "../../base/kill-group.ts";
import { followLines } from "../../base/lines.ts";
import { LOG_FD } from "../../base/log-pipe.ts";
import { packageFile } from "../../base/package-file.ts";
import { describeError } from "../../contract/errors.ts";
import { CHANNEL_FD, Channel } from "../../worker/channel.ts";
import type { FromRunner, ToRunner } from "../../worker/messages.ts";
import { readFromRunner } from "./from-runner.ts";
import { statOf } from "./process-stat.ts";

const ENTRY = packageFile("worker-host/runner.cjs");

/** What Node itself says when its inspector is opened. */
const INSPECTOR_OPEN = /^Debugger listening on (ws:\/\/\S+)$/;
const INSPECTOR_TALK = /^(Debugger (listening|attached|ending)|For help, see: https:\/\/nodejs\.org\/)/;

/** To read on takes time that the other processes need. */
const MOST_GARBAGE = 1_000;

export interface RunnerEvents {
  onMessage: (message: FromRunner) => void;
  /** `reason` says how it ended: `signal SIGKILL`, `exit code 1`; or why the system did not start it. */
  onExit: (reason: string, started: boolean) => void;
  /** A line that it wrote to its standard error, or what is wrong with a message of it. */
  onError: (line: string) => void;
  /** Given what the process logs; nobody keeps it otherwise. */
  onLog?: (lines: Readable) => void;
  /** Given its standard output; otherwise that is this process's own. */
  onOutput?: (source: Readable) => void;
}

export interface RunnerProcessOptions {
  /** The limit of V8's heap, in MB. */
  maxHeapMb?: number;
  /** Its environment; this process's own if not given. */
  env?: Readonly<Record<string, string | undefined>>;
}

/** One runner process, from fork to exit, in a process group of its own. */
export class RunnerProcess {
  readonly #child: ChildProcess | undefined;
  readonly #channel: Channel | undefined;
  #garbage = 0;
  readonly #exited: Promise<void>;
  readonly #inspector: Promise<string>;

  constructor(events: RunnerEvents, { maxHeapMb, env }: RunnerProcessOptions = {}) {
    const { onExit, onError, onLog, onOutput } = events;
    const heap = maxHeapMb === undefined ? [] : [`--max-old-space-size=${maxHeapMb}`];
    const child = start(heap, onOutput ? "pipe" : "inherit", env);
    if (child instanceof Promise) {
      this.#inspector = new Promise(() => {});
      this.#exited = child.then((fault) => onExit(fault, false));
      return;
    }
    this.#child = child;
    if (child.stdout) onOutput?.(child.stdout);
    const lines = child.stdio[LOG_FD] as Readable;
    if (onLog) onLog(lines);
    else lines.resume();
    this.#channel = this.#listen(child, events);
    this.#inspector = new Promise((resolve) => {
      void followLines(child.stderr as Readable, (lines) => {
        for (const line of lines.slice(0, -1).split("\n")) {
          const [, url] = INSPECTOR_OPEN.exec(line) ?? [];
          if (url !== undefined) resolve(url);
          if (!INSPECTOR_TALK.test(line)) onError(line);
        }
      });
    });
    this.#exited = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        // What its workers started outlives it otherwise.
        this.kill();
        resolve();
        onExit(signal ? `signal ${signal}` : `exit code ${code}`, true);
      });
    });
    // It can't be signalled: it is gone.
    child.on("error", (error) => onError(error.message));
  }

  #listen(child: ChildProcess, { onMessage, onError }: RunnerEvents): Channel {
    return new Channel(child.stdio[CHANNEL_FD] as Duplex, {
      onMessage: (value) => {
        const message = this.#read(value, onError);
        if (message) onMessage(message);
      },
      onGarbage: (text) => this.#complain(onError, text),
      // Its exit says the rest.
      onEnd: () => {},
    });
  }

  #read(value: unknown, onError: RunnerEvents["onError"]): FromRunner | undefined {
    try {
      return readFromRunner(value);
    } catch (error) {
      this.#complain(onError, describeError(error));
      return undefined;
    }
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** To a runner that is gone, a message goes nowhere: its exit says the rest. */
  send(message: ToRunner): void {
    this.#channel?.send(message);
  }

  /** Whether it started this process group, as far as the system tells; of one that has ended it doesn't. */
  started(group: number): boolean {
    const stat = statOf(group);
    return stat === undefined || (stat.parent === this.pid && stat.group === group);
  }

  /** Says once that something in it speaks for it, and ends it where that goes on. */
  #complain(tell: (text: string) => void, text: string): void {
    this.#garbage++;
    const what = "a process of workers sent its host what it doesn't understand";
    if (this.#garbage === 1) tell(`${what}, which is left out: ${text}`);
    if (this.#garbage !== MOST_GARBAGE) return;
    tell(`${what} ${MOST_GARBAGE} times, and is ended: ${text}`);
    this.kill();
  }

  /** Opens its inspector, and gives the URL of that; never fulfils where it is held up in native code. */
  inspect(): Promise<string> {
    this.#child?.kill("SIGUSR1");
    return this.#inspector;
  }

  /** Kills it and all that its workers started. */
  kill(): void {
    if (this.pid !== undefined) killGroup(this.pid);
  }

  /** Lets it end by itself: what still runs in it gets half a second. */
  async close(): Promise<void> {
    this.#channel?.close();
    await this.#exited;
  }
}

/** A process, or why the system starts none: it has no descriptor, memory or number of a process left. */
function start(
  heap: string[],
  output: "pipe" | "inherit",
  env: RunnerProcessOptions["env"],
): ChildProcess | Promise<string> {
  try {
    const child = spawn(process.execPath, ["--enable-source-maps", "--inspect-port=0", ...heap, ENTRY], {
      detached: true,
      ...(env ? { env } : {}),
      // The last two are CHANNEL_FD and LOG_FD.
      stdio: ["ignore", output, "pipe", "pipe", "pipe"],
    });
    if (child.pid !== undefined) return child;
    return new Promise((resolve) => child.once("error", (error) => resolve(error.message)));
  } catch (error) {
    return Promise.resolve(describeError(error));
  }
}
