import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Duplex, Readable } from "node:stream";
import { COMMAND_BOUNDS_MS, noCounts } from "../../base/counts.ts";
import { killGroup } from "../../base/kill-group.ts";
import { LOG_FD } from "../../base/log.ts";
import { followLines } from "../../base/output.ts";
import { packageFile } from "../../base/paths.ts";
import { describeError, WorkerHostError } from "../../contract/errors.ts";
import { CHANNEL_FD, Channel, type FromRunner, type ToRunner } from "../../worker/channel.ts";

const ENTRY = packageFile("worker-host/runner.cjs");

/** What Node itself says when its inspector is opened. */
const INSPECTOR_OPEN = /^Debugger listening on (ws:\/\/\S+)$/;
const INSPECTOR_TALK = /^(Debugger (listening|attached|ending)|For help, see: https:\/\/nodejs\.org\/)/;

/** To read on takes time that the other processes need. */
const MOST_GARBAGE = 1_000;

interface RunnerEvents {
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

interface RunnerProcessOptions {
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

/** What Linux tells of a process; `undefined` where there is none of that number, or the system doesn't say. */
interface ProcessStat {
  /** `Z`: it has ended. */
  state: string;
  parent: number;
  group: number;
  /** When it was started, in ticks since the boot. */
  started: string;
}

export function statOf(pid: number): ProcessStat | undefined {
  const text = read(`/proc/${pid}/stat`);
  // From the state on: the name before that may have spaces and brackets.
  const [state, parent, group, ...more] = text?.slice(text.lastIndexOf(")") + 2).split(" ") ?? [];
  const started = more[16];
  if (state === undefined || started === undefined) return undefined;
  return { state, parent: Number(parent), group: Number(group), started };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    // There is no such process, it ends while this is read, or no descriptor is left.
    if ((error as NodeJS.ErrnoException).code !== undefined) return undefined;
    throw error;
  }
}

type Fields = Readonly<Record<string, unknown>>;

const RUNSTATES: ReadonlySet<unknown> = new Set(["starting", "running", "stopping", "stopped", "failed"]);
const NUMBERS = (Object.keys(noCounts()) as (keyof ReturnType<typeof noCounts>)[]).filter((key) => key !== "commands");

/** Whether a message of this type has what belongs to it. Written by hand: a beat comes four times a second. */
const IS_WHOLE = new Map<unknown, (message: Fields) => boolean>([
  ["beat", ({ debugged }) => typeof debugged === "boolean"],
  [
    "state",
    ({ id, run, state, detail, hopeless }) =>
      typeof id === "string" &&
      Number.isSafeInteger(run) &&
      RUNSTATES.has(state) &&
      isTextOrNone(detail) &&
      (hopeless === undefined || hopeless === true),
  ],
  [
    "answer",
    ({ request, fault, warnings }) =>
      Number.isSafeInteger(request) &&
      isTextOrNone(fault) &&
      Array.isArray(warnings) &&
      warnings.every((warning) => typeof warning === "string"),
  ],
  [
    "stats",
    ({ request, counts, bytes }) =>
      Number.isSafeInteger(request) && Number.isFinite(bytes) && Array.isArray(counts) && counts.every(areCounts),
  ],
  ["all_stop", ({ by, reason }) => typeof by === "string" && isTextOrNone(reason)],
  ["holds", ({ id, on }) => typeof id === "string" && typeof on === "boolean"],
  ["group", ({ pid, alive }) => Number.isSafeInteger(pid) && (pid as number) > 1 && typeof alive === "boolean"],
]);

/**
 * A message of a runner: checked, since the code of workers runs in the process that it comes from.
 *
 * @throws WorkerHostError `invalid_value` where it is none
 */
export function readFromRunner(value: unknown): FromRunner {
  if (typeof value === "object" && value !== null && IS_WHOLE.get((value as Fields).type)?.(value as Fields))
    return value as FromRunner;
  throw new WorkerHostError("invalid_value", `no runner says ${JSON.stringify(value).slice(0, 80)}`);
}

function isTextOrNone(value: unknown): boolean {
  return value === undefined || typeof value === "string";
}

function areCounts(entry: unknown): boolean {
  if (!Array.isArray(entry) || typeof entry[0] !== "string" || typeof entry[1] !== "object" || entry[1] === null)
    return false;
  const counts = entry[1] as Fields;
  const { commands } = counts;
  return (
    NUMBERS.every((key) => Number.isFinite(counts[key])) &&
    Array.isArray(commands) &&
    commands.length === COMMAND_BOUNDS_MS.length + 1 &&
    commands.every((count) => Number.isFinite(count))
  );
}
