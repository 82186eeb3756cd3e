import { type ChildProcess, fork } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { killGroup } from "../worker/kill-group.ts";
import { LOG_FD } from "../worker/log-pipe.ts";
import type { FromRunner, ToRunner } from "../worker/messages.ts";
import { packageFile } from "../worker/package-file.ts";

const ENTRY = packageFile("dist/runner.js");

/** What Node itself says when its inspector is opened. */
const INSPECTOR_OPEN = /^Debugger listening on (ws:\/\/\S+)$/;
const INSPECTOR_TALK = /^(Debugger (listening|attached|ending)|For help, see: https:\/\/nodejs\.org\/)/;

export interface RunnerEvents {
  onMessage: (message: FromRunner) => void;
  /** `reason` says how it ended: `signal SIGKILL`, `exit code 1`. */
  onExit: (reason: string) => void;
  /** A line that it wrote to its standard error. */
  onError: (line: string) => void;
  /** Given what the process logs; nobody keeps it otherwise. */
  onLog?: (lines: Readable) => void;
  /** Given its standard output; otherwise that is this process's own. */
  onOutput?: (source: Readable) => void;
}

export interface RunnerProcessOptions {
  /** The limit of V8's heap, in MB. */
  maxHeapMb?: number;
}

/** One runner process, from fork to exit, in a process group of its own. */
export class RunnerProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #inspector: Promise<string>;

  constructor({ onMessage, onExit, onError, onLog, onOutput }: RunnerEvents, { maxHeapMb }: RunnerProcessOptions = {}) {
    this.#child = fork(ENTRY, [], {
      detached: true,
      execArgv: [
        "--enable-source-maps",
        "--inspect-port=0",
        ...(maxHeapMb === undefined ? [] : [`--max-old-space-size=${maxHeapMb}`]),
      ],
      // The last one is LOG_FD.
      stdio: ["ignore", onOutput ? "pipe" : "inherit", "pipe", "ipc", "pipe"],
    });
    if (this.#child.stdout) onOutput?.(this.#child.stdout);
    const lines = this.#child.stdio[LOG_FD] as Readable;
    if (onLog) onLog(lines);
    else lines.resume();
    this.#child.on("message", (message) => onMessage(message as FromRunner));
    this.#inspector = new Promise((resolve) => {
      createInterface({ input: this.#child.stderr as Readable }).on("line", (line) => {
        const [, url] = INSPECTOR_OPEN.exec(line) ?? [];
        if (url !== undefined) resolve(url);
        if (!INSPECTOR_TALK.test(line)) onError(line);
      });
    });
    this.#exited = new Promise((resolve) => {
      const ended = (reason: string) => {
        // What its workers started outlives it otherwise.
        this.kill();
        onExit(reason);
        resolve();
      };
      this.#child.once("exit", (code, signal) => ended(signal ? `signal ${signal}` : `exit code ${code}`));
      this.#child.once("error", (error) => {
        if (this.#child.pid === undefined) ended(error.message);
      });
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** To a runner that is gone, a message goes nowhere: its exit says the rest. */
  send(message: ToRunner): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  /** Opens its inspector, and gives the URL of that; never fulfils where it is held up in native code. */
  inspect(): Promise<string> {
    this.#child.kill("SIGUSR1");
    return this.#inspector;
  }

  /** Kills it and all that its workers started. */
  kill(): void {
    if (this.#child.pid !== undefined) killGroup(this.#child.pid);
  }

  /** Lets it end by itself: what still runs in it gets half a second. */
  async close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#exited;
  }
}
