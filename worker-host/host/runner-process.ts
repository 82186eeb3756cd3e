import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { killGroup } from "../worker/kill-group.ts";
import type { FromRunner, ToRunner } from "../worker/messages.ts";

const ENTRY = fileURLToPath(new URL("../worker/runner.js", import.meta.url));

export interface RunnerEvents {
  onMessage: (message: FromRunner) => void;
  /** `reason` says how it ended: `signal SIGKILL`, `exit code 1`. */
  onExit: (reason: string) => void;
}

/** One runner process, from fork to exit, in a process group of its own. */
export class RunnerProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;

  constructor(events: RunnerEvents) {
    this.#child = fork(ENTRY, [], {
      detached: true,
      execArgv: ["--enable-source-maps", "--inspect-port=0"],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#child.on("message", (message) => events.onMessage(message as FromRunner));
    this.#exited = new Promise((resolve) => {
      const ended = (reason: string) => {
        // What its workers started outlives it otherwise.
        this.kill();
        events.onExit(reason);
        resolve();
      };
      this.#child.once("exit", (code, signal) => ended(signal ? `signal ${signal}` : `exit code ${code}`));
      this.#child.once("error", (error) => {
        if (this.#child.pid === undefined) ended(error.message);
      });
    });
  }

  /** To a runner that is gone, a message goes nowhere: its exit says the rest. */
  send(message: ToRunner): void {
    if (this.#child.connected) this.#child.send(message, () => {});
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
