import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { atEnd } from "./ending.ts";
import { makeFolder } from "./folder.ts";
import { BIN, cleanEnvironment } from "./host.ts";
import { Happenings, patiently } from "./wait.ts";

/** A command line that goes on until it is stopped. */
export class RunningCli {
  readonly lines = new Happenings<string>();
  readonly notes = new Happenings<string>();
  readonly exit: Promise<number | null>;

  constructor(private readonly child: ChildProcess) {
    if (!child.stdout || !child.stderr) throw new Error("no pipes");
    createInterface({ input: child.stdout }).on("line", (line) => this.lines.add(line));
    createInterface({ input: child.stderr }).on("line", (line) => this.notes.add(line));
    this.exit = new Promise((resolve) => child.once("close", resolve));
  }

  /** The first line, printed or to come, that matches. */
  says(text: RegExp): Promise<string> {
    return this.lines.find((line) => text.test(line), String(text));
  }

  /** As `says`, of what is no part of the result. */
  notesThat(text: RegExp): Promise<string> {
    return this.notes.find((line) => text.test(line), String(text));
  }

  /** Ends it as Ctrl-C does; gives its exit code. */
  stop(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill("SIGINT");
    return this.ended();
  }

  ended(): Promise<number | null> {
    return patiently(this.exit, () => `its end; it said ${this.lines.all.slice(-5).join("\n")}`);
  }

  /** Takes no more of what it prints. */
  hangUp(): void {
    this.child.stdout?.destroy();
  }
}

export function startCli(
  args: string[],
  { cwd = makeFolder(), env = {} }: { cwd?: string; env?: Record<string, string> } = {},
): RunningCli {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd,
    env: { ...cleanEnvironment(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const running = new RunningCli(child);
  atEnd(async () => {
    await running.stop();
  });
  return running;
}
