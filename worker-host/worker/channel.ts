import type { Duplex } from "node:stream";
import type { Counts } from "../base/counts.ts";
import type { LogOptions } from "../base/log.ts";
import { letOthersWork } from "../base/output.ts";
import type { Runstate } from "../contract/description.ts";
import { jsonIn } from "../contract/payload.ts";
import type { BrokerOptions } from "../mqtt/wire.ts";

/** A worker's config as its host read it. */
export interface ConfigSpec {
  values: Record<string, unknown>;
  /** The values for people, where they are others: a text in which a `${NAME}` stands is as the file has it. */
  shown?: Record<string, unknown>;
  /** The texts that came from the environment: none may be shown. */
  filled?: readonly string[];
  /** Its file, as it is shown to people; the one to write where there is none. */
  file: string;
  lines: KeyLines;
}

/** The line of each key and list item of a config file, and the lines within it. */
export interface KeyLines {
  [key: string]: { line: number; in?: KeyLines };
}

/** What a prop's author, or its operator, says of a worker in its config file, for people. */
export interface About {
  name?: string;
  area?: string;
  version?: string;
}

/** What a runner has to know of a worker to run it. */
export interface WorkerSpec {
  id: string;
  /** The name of its class's file, or of the folder that holds it. */
  classId: string;
  /** The URL of its bundle. */
  bundle: string;
  /** Its source file, as it is shown to people. */
  file: string;
  /** The folder of its source file. */
  dir: string;
  /** The folder for its own files. */
  dataDir: string;
  config: ConfigSpec;
  about: About;
  /** Why it takes no command but `stop`. */
  lockedOut?: string | undefined;
  /** A `hold` of its earlier self had something on when that was last heard of. */
  leftOn?: boolean;
}

/** What is noted of a worker while its file, and the packages of that, are loaded. */
export const LOADING = "its top-level code";

/** How often a runner says that it is not held up, in ms. */
export const BEAT_MS = 250;

/** How a worker is started. */
export interface StartOptions {
  /** After the running commands of the one in whose place it comes. */
  patient: boolean;
  /** Its process died under its earlier self: what that had switched on goes off first. */
  recover: boolean;
  /** The ids of commands that it ran in another process. */
  seen: string[];
}

/** What all workers of a runner share; sent first. */
export interface RunnerSetup {
  broker: BrokerOptions;
  prefix: string;
  hostName: string;
  log: LogOptions;
  /** Whether all-stop is engaged. */
  allStop: boolean;
  /** As in the message `gate`. */
  gateOpen: boolean;
}

/** What a worker's life has come to. */
export interface WorkerState {
  id: string;
  state: Runstate;
  detail?: string;
  /** It would fail in the same way again, until somebody edits something. */
  hopeless?: true;
}

/** From the host to a runner. */
export type ToRunner =
  /** `blackBox`: the file in which it notes what it does. */
  | { type: "setup"; setup: RunnerSetup; blackBox: string }
  /** Starts a worker; one that runs under that id is stopped first. */
  | ({ type: "start"; run: number; spec: WorkerSpec } & StartOptions)
  /** Stops a worker; `quiet`: after its connection has ended, so that nothing of it is heard. */
  | { type: "stop"; id: string; quiet: boolean }
  /** Whether workers may connect; those that are connected stay so. */
  | { type: "gate"; open: boolean }
  /** Gives a worker what its config file says now. */
  | { type: "configure"; request: number; id: string; config: ConfigSpec; about: About }
  /** Engages all-stop, or clears it; answered when all workers have been told. */
  | { type: "all_stop"; request: number; engaged: boolean }
  /** A worker takes no command but `stop`; without a reason it does again. */
  | { type: "lock_out"; id: string; reason: string | undefined }
  /** Asks for what its workers have done since this was last asked. */
  | { type: "stats"; request: number }
  /** Loads a worker and checks its config, without starting it; `before`: the one that a `configure` would change. */
  | { type: "inspect"; request: number; spec: WorkerSpec; before?: ConfigSpec }
  /** The host is there; in answer to some of the runner's own. */
  | { type: "beat" };

/** From a runner to its host. */
export type FromRunner =
  | ({ type: "state"; run: number } & WorkerState)
  /** It is not held up; said every `BEAT_MS`. `debugged`: somebody may have it at a breakpoint. */
  | { type: "beat"; debugged: boolean }
  /** What a worker's class and config are worth, in words for people. */
  | { type: "answer"; request: number; fault?: string; warnings: string[] }
  /** What its workers have done since it was last asked, by their ids, and how many bytes of memory it takes. */
  | { type: "stats"; request: number; counts: [id: string, counts: Counts][]; bytes: number }
  /** A worker wants everything stopped. */
  | { type: "all_stop"; by: string; reason?: string }
  /** A worker's first `hold` has something on, or its last one has nothing on any more. */
  | { type: "holds"; id: string; on: boolean }
  /** A worker started a process group, or it has ended. */
  | { type: "group"; pid: number; alive: boolean };

/** The file descriptor over which a runner and its host talk. */
export const CHANNEL_FD = 3;

/** A longer line is none of ours: what waits for its end must not take the memory. */
const LONGEST_LINE = 16 * 1_048_576;

interface ChannelEvents {
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
