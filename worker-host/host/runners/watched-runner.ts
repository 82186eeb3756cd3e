import { readFileSync, rmSync } from "node:fs";
import type { Logger } from "pino";
import { type Clock, within } from "../../base/clock.ts";
import type { HostCounts } from "../../base/counts.ts";
import { RateLimiter } from "../../base/log.ts";
import type { Output } from "../../base/output.ts";
import { journalOf, readSeen } from "../../commands/seen-ids.ts";
import { lastNoted, type StuckCode } from "../../worker/black-box.ts";
import { type FromRunner, LOADING, type RunnerSetup, type ToRunner } from "../../worker/channel.ts";
import type { LogFiles } from "../data/log-files.ts";
import { MEMORY_LOOK_MS, STALL_LOOK_MS } from "../limits.ts";
import { RunnerProcess } from "./runner-process.ts";

/** What a runner process may do, in ms and MB. */
export interface Limits {
  stallWarnMs: number;
  stallKillMs: number;
  maxMemoryMb: number;
}

interface StallGuardOptions extends Limits {
  pid: number;
  clock: Clock;
  onWarn: (ms: number) => void;
  onStall: (ms: number) => void;
  onMemory: (mb: number) => void;
}

const CHECK_EVERY_MS = 100;

/**
 * Watches one process: that its event loop goes round, and that it takes no more memory than it may. A stall counts
 * only as far as this process itself ran on time, so that a machine which was suspended kills nothing.
 */
class StallGuard {
  #checkedAt: number;
  /** How long it has said nothing while it could have been heard, in ms; `undefined` before its first beat. */
  #silentMs: number | undefined;
  #warned = false;
  #debugged = false;
  #stopped = false;
  #cancel = () => {};

  constructor(private readonly options: StallGuardOptions) {
    this.#checkedAt = options.clock.monotonic();
    this.#checkSoon();
  }

  /** The process said that it is not held up; with a debugger attached it may be, for as long as somebody likes. */
  beat(debugged: boolean): void {
    this.#silentMs = 0;
    this.#warned = false;
    this.#debugged = debugged;
  }

  /** Goes on watching, after it has told of something that was none. */
  resume(): void {
    if (!this.#stopped) this.#checkSoon();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  #checkSoon(): void {
    this.#cancel = this.options.clock.after(CHECK_EVERY_MS, () => this.#check());
  }

  #check(): void {
    const { clock, stallWarnMs, stallKillMs } = this.options;
    const now = clock.monotonic();
    const elapsed = now - this.#checkedAt;
    this.#checkedAt = now;
    if (this.#silentMs !== undefined && !this.#debugged) this.#silentMs += Math.min(elapsed, 2 * CHECK_EVERY_MS);
    // What has come in meanwhile is heard first.
    if (this.#silence >= Math.min(stallWarnMs, stallKillMs)) this.#cancel = clock.after(0, () => this.#judge());
    else this.#weigh();
  }

  #judge(): void {
    const { stallWarnMs, stallKillMs, onWarn, onStall } = this.options;
    if (this.#silence >= stallKillMs) {
      onStall(Math.round(this.#silence));
      return;
    }
    if (this.#silence >= stallWarnMs && !this.#warned) {
      this.#warned = true;
      onWarn(Math.round(this.#silence));
    }
    this.#weigh();
  }

  #weigh(): void {
    const { pid, maxMemoryMb, onMemory } = this.options;
    const memoryMb = residentMb(pid);
    if (memoryMb > maxMemoryMb) onMemory(memoryMb);
    else this.#checkSoon();
  }

  get #silence(): number {
    return this.#debugged ? 0 : (this.#silentMs ?? 0);
  }
}

/**
 * How much of a process is in memory, in MB; 0 where the system doesn't say, as all but Linux don't. Nothing is read from
 * a disk: by way of the thread pool it would take ten times as long.
 */
function residentMb(pid: number): number {
  const [, kilobytes = "0"] = /^VmRSS:\s+(\d+) kB$/m.exec(readStatus(pid)) ?? [];
  return Number(kilobytes) / 1024;
}

function readStatus(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return "";
  }
}

/** Who ended a process, and how, in words. */
export interface Offender {
  id: string;
  text: string;
}

/** What each process of workers is handed. */
export interface RunnerSurroundings {
  log: Logger;
  /** Keeps what processes log, where that is kept. */
  logFiles?: LogFiles;
  /** Takes what processes write to their standard output, which is their host's otherwise. */
  output?: Output;
  clock: Clock;
  /** The processes' environment; this process's own if not given. */
  env?: Readonly<Record<string, string | undefined>>;
  /** How a path is shown to people. */
  show: (path: string) => string;
  /** Nobody watches them where there are none. */
  limits?: Limits;
  counts?: HostCounts;
  /** Tells people of something that a worker seems to do. */
  warn: (text: string) => void;
}

interface WatchedRunnerOptions extends RunnerSurroundings {
  /** The file in which it notes what it does. */
  blackBox: string;
  /** The one worker that it is for; it is to blame for whatever happens. */
  own?: string;
  /** Whether a worker of that id runs in it. */
  has: (id: string) => boolean;
  onMessage: (message: Exclude<FromRunner, { type: "beat" }>) => void;
  onExit: (reason: string, offender: Offender | undefined) => void;
  /** The system did not start it. */
  onUnborn: (reason: string) => void;
  /** The ids of commands that its workers ran, at its end. */
  onSeen: (seen: Map<string, string[]>) => void;
}

/** How many lines of its standard error are logged in one go: a process that dies says a page. */
const MOST_ERRORS = 200;

/** The host answers one in so many beats. */
const ANSWERED_BEAT = 4;

/** Deaths that come from outside. */
const NOBODYS: ReadonlySet<string> = new Set(["signal SIGKILL", "signal SIGTERM", "signal SIGINT", "signal SIGHUP"]);

/** A runner process and who watches it: it is ended when it hangs or takes too much, and its end has somebody to blame. */
export class WatchedRunner {
  readonly process: RunnerProcess;
  readonly #guard: StallGuard | undefined;
  readonly #errors: RateLimiter;
  /** The ids of all workers that it was ever given. */
  readonly #given = new Set<string>();
  #awake = false;
  #beats = 0;
  /** Why it is being ended. */
  #offence: { culprit: StuckCode | undefined; tell: (culprit: StuckCode) => string } | undefined;

  constructor(private readonly options: WatchedRunnerOptions) {
    const { log, logFiles, output, clock, env, limits, onMessage, onExit, onUnborn, onSeen } = options;
    this.#errors = new RateLimiter(clock, (line) => log.warn(line), MOST_ERRORS);
    this.process = new RunnerProcess(
      {
        onMessage: (message) => {
          if (message.type !== "beat") onMessage(message);
          else {
            this.#awake = true;
            this.#guard?.beat(message.debugged);
            if (this.#beats++ % ANSWERED_BEAT === 0) this.send({ type: "beat" });
          }
        },
        onExit: (reason, started) => {
          this.#guard?.stop();
          if (!started) {
            onUnborn(reason);
            return;
          }
          const offender = this.#offender(reason);
          onSeen(this.seen());
          this.#removeNotes();
          onExit(reason, offender);
        },
        onError: (line) => this.#errors.say(line),
        ...(logFiles ? { onLog: (lines) => logFiles.follow(lines, (named) => this.#logOf(named)) } : {}),
        ...(output ? { onOutput: (source) => output.relay(source) } : {}),
      },
      { ...(limits ? { maxHeapMb: heapMb(limits) } : {}), ...(env ? { env } : {}) },
    );
    this.#guard = this.#watch();
  }

  /** Kills it unless it answers in time; one that is still coming up has its time. */
  async demand(answer: Promise<unknown>, ms: number, tell: (culprit: StuckCode) => string): Promise<void> {
    if (!this.#awake || (await within(this.options.clock, ms, answer))) return;
    this.#offence = { culprit: lastNoted(this.options.blackBox), tell };
    this.process.kill();
  }

  /** Says what it is to know. */
  introduce(setup: RunnerSetup): void {
    this.send({ type: "setup", setup, blackBox: this.options.blackBox });
  }

  /** The ids of commands that its workers ran. */
  seen(): Map<string, string[]> {
    try {
      return readSeen(journalOf(this.options.blackBox));
    } catch (error) {
      this.options.log.error({ err: error }, "which commands a process has run can't be read any more");
      return new Map();
    }
  }

  send(message: ToRunner): void {
    if ("spec" in message) this.#given.add(message.spec.id);
    this.process.send(message);
  }

  /** Whose log a line goes into, by the worker that it names: code of a worker may have written any line. */
  #logOf(named: string | undefined): string | undefined {
    return named !== undefined && this.#given.has(named) ? named : this.options.own;
  }

  /** What can't be removed is left to the next start of the host. */
  #removeNotes(): void {
    const { blackBox, log } = this.options;
    for (const path of [blackBox, journalOf(blackBox)]) {
      try {
        rmSync(path, { force: true });
      } catch (error) {
        log.debug({ err: error }, `${path} can't be removed`);
      }
    }
  }

  /** Lets it end by itself, in half a second; one that was given up never would. */
  async close(): Promise<void> {
    if (this.#offence) this.process.kill();
    await this.process.close();
  }

  #watch(): StallGuard | undefined {
    const { limits, blackBox, clock, warn, counts } = this.options;
    const { pid } = this.process;
    if (pid === undefined || !limits) return undefined;
    return new StallGuard({
      ...limits,
      pid,
      clock,
      onWarn: (ms) => {
        const last = lastNoted(blackBox);
        // To load a package takes its time, and holds up nothing that runs.
        if (last === undefined || last.where.includes(LOADING)) return;
        if (counts) counts.stallWarnings++;
        warn(`the process of the workers has been held up for ${ms} ms; last entered was ${last.id} ${last.where}`);
      },
      onStall: (ms) => {
        const ended = this.#condemn(
          STALL_LOOK_MS,
          ({ id, where }) => `${id} hangs ${where}: its process was held up for ${ms} ms`,
        );
        void ended.then((was) => {
          if (counts && was) counts.stalls++;
        });
      },
      onMemory: (mb) => {
        const much = `${Math.round(mb)} MB, and max_memory_mb is ${limits.maxMemoryMb}`;
        void this.#condemn(
          MEMORY_LOOK_MS,
          ({ id, where }) => `${id} takes too much memory ${where}: its process has ${much}`,
        );
      },
    });
  }

  /** Finds out who is to blame, and ends the process, unless somebody debugs it; gives whether it did. */
  async #condemn(lookMs: number, tell: (culprit: StuckCode) => string): Promise<boolean> {
    const { blackBox, clock, log } = this.options;
    // Its WebSocket, with the fourth of Node that this needs, is loaded while the process opens its inspector.
    void this.process.inspect();
    const looking = import("./stuck-code.ts").then(({ findStuckCode }) =>
      findStuckCode(this.process, blackBox, { ...this.options, lookMs }),
    );
    // Whatever becomes of the look, the process ends.
    const looked = await within(clock, 2 * lookMs, looking).catch((error: unknown) => {
      log.debug({ err: error }, "can't find out who holds up a process of workers");
    });
    const culprit = looked ? looked.value : lastNoted(blackBox);
    if (culprit === "debugged") {
      this.#guard?.beat(true);
      this.#guard?.resume();
      return false;
    }
    this.#offence = { culprit, tell };
    this.process.kill();
    return true;
  }

  #offender(reason: string): Offender | undefined {
    const { own, has, blackBox } = this.options;
    const offence = this.#offence;
    const found = offence ? offence.culprit : NOBODYS.has(reason) ? undefined : lastNoted(blackBox);
    const culprit = own === undefined ? found : { id: own, where: found?.where ?? "" };
    if (!culprit || !has(culprit.id)) return undefined;
    const { id, where } = culprit;
    const died = `the process of ${id} died (${reason})${where ? `, last ${where}` : ""}`;
    return { id, text: offence ? offence.tell(culprit).replaceAll(/ +(?=[: ])/g, "") : died };
  }
}

/** V8's own limit lies above that of all memory, so that who reaches it is found by the watch, which can say who. */
function heapMb({ maxMemoryMb }: Limits): number {
  return Math.ceil(maxMemoryMb * 1.25);
}
