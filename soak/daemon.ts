import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export interface DaemonOptions {
  command: string;
  args: readonly string[];
  cwd: string;
  env: Record<string, string | undefined>;
  /** Told of each line on its standard output. */
  onLine?: (line: string) => void;
  /** Told of each line on its standard error. */
  onError: (line: string) => void;
  /** Told when it ends though nobody ended it. */
  onEnded: (how: string) => void;
}

/** A process that is ended and started again. */
export class Daemon {
  #child: ChildProcess | undefined;
  #exited: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: DaemonOptions) {}

  /** Its process, while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const { command, args, cwd, env, onLine, onError, onEnded } = this.options;
    const child = spawn(command, args, { cwd, env, stdio: ["pipe", "pipe", "pipe"] });
    createInterface({ input: child.stdout }).on("line", (line) => onLine?.(line));
    createInterface({ input: child.stderr }).on("line", (line) => onError(line));
    // What is said to one that has just ended is said to nobody.
    child.stdin.on("error", () => {});
    child.once("error", (error) => onEnded(error.message));
    this.#child = child;
    this.#exited = once(child, "exit").then(([code, signal]) => {
      if (this.#child !== child) return;
      this.#child = undefined;
      onEnded(signal === null ? `exit code ${code}` : `signal ${signal}`);
    });
  }

  /** One line on its standard input. */
  tell(line: object): void {
    this.#child?.stdin?.write(`${JSON.stringify(line)}\n`);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Ends it; fulfils with its exit code when it is gone, `null` where a signal ended it. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    this.#child = undefined;
    if (!child) return null;
    child.kill(signal);
    await this.#exited;
    return child.exitCode;
  }
}
