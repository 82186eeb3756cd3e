import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import type { TestBroker } from "./broker.ts";
import { atEnd } from "./ending.ts";
import { makeFolder } from "./folder.ts";
import { ROOT } from "./host.ts";
import { eachLine, Happenings, patiently } from "./wait.ts";

/** How the sketches are built: `none`, or the sanitizers that g++ knows. */
const SANITIZE = process.env.FIRMWARE_SANITIZE ?? "none";

/** A program that `npm run firmware:build` has built. */
export function program(name: string): string {
  return `${ROOT}build/firmware/${SANITIZE.replaceAll(",", "-")}/${name}`;
}

/** A line that a board traces: a pin, what goes out on a serial port, or a reset. */
export interface Trace {
  ms: number;
  pin?: number;
  value?: number;
  mode?: string;
  serial?: string;
  uart?: number;
  hex?: string;
  reset?: string;
  error?: string;
}

export interface BoardOptions {
  broker: Pick<TestBroker, "port">;
  /** What millis() starts from. */
  millis?: number;
  /** What its inputs show at the start. */
  inputs?: Record<number, 0 | 1>;
  env?: Record<string, string>;
}

/** A sketch that runs on this machine, in a process of its own. */
export class Board {
  readonly trace = new Happenings<Trace>();
  readonly exit: Promise<void>;
  stderr = "";

  constructor(
    readonly child: ChildProcess,
    /** What it keeps over a reset. */
    readonly nvs: string,
  ) {
    if (!child.stdout || !child.stderr) throw new Error("no pipes");
    eachLine(child.stdout, (line) => this.trace.add(JSON.parse(line) as Trace));
    child.stderr.on("data", (data) => {
      this.stderr += String(data);
    });
    child.stdin?.on("error", () => {});
    this.exit = new Promise((resolve) => child.once("close", () => resolve()));
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** One line on its stdin. */
  tell(line: object): void {
    this.child.stdin?.write(`${JSON.stringify(line)}\n`);
  }

  /** One line on its stdin; fulfils when it has been taken: what comes next is no JSON object, which it answers. */
  async told(line: object): Promise<void> {
    const answered = this.trace.next(({ error }) => error !== undefined, "its word on the next line");
    this.tell(line);
    this.child.stdin?.write("-\n");
    await answered;
  }

  /** Sets an input. */
  set(pin: number, value: 0 | 1): void {
    this.tell({ pin, value });
  }

  /** Types into its serial port. */
  type(text: string): void {
    this.tell({ serial: text });
  }

  /** What an output was last set to; a chip that was reset since then lets it float, and its resistor pulls it off. */
  pin(pin: number): number {
    for (const line of this.trace.all.toReversed()) {
      if (line.reset !== undefined) return 0;
      if (line.pin === pin && line.value !== undefined) return line.value;
    }
    return 0;
  }

  /** Fulfils when an output is set so, if it is not already. */
  async shows(pin: number, value: number): Promise<void> {
    if (this.pin(pin) !== value) await this.pinTurns(pin, value);
  }

  /** The next time that an output is set so. */
  pinTurns(pin: number, value: number): Promise<Trace> {
    return this.trace.next((line) => line.pin === pin && line.value === value, `pin ${pin} turned to ${value}`);
  }

  says(text: RegExp): Promise<Trace> {
    return this.trace.find((line) => text.test(line.serial ?? ""), `${text} on the serial port`);
  }

  resets(reason: string): Promise<Trace> {
    return this.trace.next((line) => line.reset === reason, `a reset: ${reason}`);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await patiently(this.exit, () => "the board's end");
  }
}

/** Starts a sketch for one test, and ends it with the test. */
export function startBoard(sketch: string, { broker, millis, inputs = {}, env = {} }: BoardOptions): Board {
  const nvs = env.HOST_NVS ?? makeFolder();
  if (!existsSync(program(sketch))) throw new Error(`${program(sketch)} is not there: npm run firmware:build`);
  const child = spawn(program(sketch), [], {
    env: {
      PATH: process.env.PATH,
      MQTT_HOST: "127.0.0.1",
      MQTT_PORT: String(broker.port),
      HOST_NVS: nvs,
      HOST_STDIN: "hold",
      HOST_INPUTS: Object.entries(inputs)
        .map(([pin, value]) => `${pin}=${value}`)
        .join(" "),
      ...(millis === undefined ? {} : { HOST_MILLIS: String(millis) }),
      ...env,
    },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const board = new Board(child, nvs);
  atEnd(async () => {
    await board.kill();
    // What a sanitizer found.
    if (board.stderr !== "") throw new Error(`${sketch} said on stderr:\n${board.stderr}`);
  });
  return board;
}
