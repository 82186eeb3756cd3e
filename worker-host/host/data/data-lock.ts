import { defined, jsonIn } from "../../contract/payload.ts";
import { randomUUID } from "node:crypto";
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir, uptime } from "node:os";
import { join, resolve } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { describeError, WorkerHostError } from "../../contract/errors.ts";
import { DATA_ROOM_BYTES } from "../limits.ts";
import { statOf } from "../runners/runner-process.ts";

const LOCK_FILE = "worker-host.lock";
/** No worker has such an id, so that no folder of a worker has such a name. */
const SCRATCH = ".run-";
const BOOT_ID = "/proc/sys/kernel/random/boot_id";
/** How far two looks at the time of the boot may differ, since clocks are set. */
const CLOCK_SLACK_MS = 60_000;
const TRIES = 5;

/** Who holds a data folder, as they wrote it down. */
export interface LockHolder {
  pid: number;
  /** ISO 8601. */
  since: string;
  /** The machine, or the container. */
  machine: string;
  /** Of the process, in ticks since the boot; where the system tells it, as Linux does. */
  started?: string;
  boot?: string;
  /** Where its embedded broker listens, once it does. */
  port?: number;
}

export interface DataLockOptions {
  settings: { data: string };
  log: Logger;
  clock: Clock;
}

/**
 * One host at a time in a data folder: a file that names the process which has it. What a kill left behind is told by
 * asking for that process, and by when it started, since numbers of processes come again, in a container at each start.
 * Not with proper-lockfile: it goes by the age of a file, so that a kill blocks the next start for a while, and a host
 * that is held up loses its lock.
 */
export class DataLock {
  /** What we wrote, while it is ours. */
  #text: string | undefined;
  #scratch: string | undefined;

  constructor(private readonly options: DataLockOptions) {}

  /**
   * Gives a folder for what need not outlive this process, there until `release()`, or else until the next one has the
   * lock. It is in the data folder, since temporary folders are cleaned of what is some days old.
   *
   * @throws WorkerHostError `data_held` where another process has it; `not_written` where no folder can be made
   */
  acquire(): string {
    this.#lock();
    this.#scratch = this.#makeScratch();
    return this.#scratch;
  }

  /** Writes down where the embedded broker listens, for the command line. */
  tellPort(port: number): void {
    if (this.#text === undefined) return;
    const file = lockFileOf(this.options.settings.data);
    const text = `${JSON.stringify({ ...JSON.parse(this.#text), port })}\n`;
    try {
      const own = `${file}.${randomUUID()}`;
      writeFileSync(own, text, { flag: "wx" });
      renameSync(own, file);
      this.#text = text;
    } catch (error) {
      this.options.log.warn(`${file}: the command line won't find the port ${port} there (${describeError(error)})`);
    }
  }

  #lock(): void {
    const { log, clock } = this.options;
    const { data } = this.options.settings;
    const file = lockFileOf(data);
    const text = `${JSON.stringify(ownEntry(clock.now()))}\n`;
    try {
      mkdirSync(data, { recursive: true });
      for (let tries = 0; tries < TRIES && this.#text === undefined; tries++) {
        if (create(file, text)) this.#text = text;
        else this.#removeStale(file);
      }
    } catch (error) {
      if (error instanceof WorkerHostError) throw error;
      log.warn(`no lock on ${data}: nothing keeps a second host out of it (${describeError(error)})`);
      return;
    }
    if (this.#text === undefined) throw new WorkerHostError("data_held", `${file}: others take it all the time`);
    this.#removeLeftOver();
  }

  /** What a kill left behind of hosts that had this lock. */
  #removeLeftOver(): void {
    const data = resolve(this.options.settings.data);
    this.#tryToRemove(`what an earlier host left in ${data}`, () => {
      for (const name of readdirSync(data).filter((each) => each.startsWith(SCRATCH)))
        rmSync(join(data, name), { recursive: true, force: true });
    });
  }

  #makeScratch(): string {
    const data = resolve(this.options.settings.data);
    const faults: string[] = [];
    for (const folder of [data, tmpdir()]) {
      try {
        return makeRoom(folder);
      } catch (error) {
        faults.push(describeError(error));
        this.options.log.warn(`no bundles of workers can be written to ${folder} (${describeError(error)})`);
      }
    }
    throw new WorkerHostError(
      "not_written",
      `the bundles of the workers can be written neither to ${data} nor to ${tmpdir()} (${faults.join("; ")}): give the host a folder that it can write to (--data)`,
    );
  }

  /** Gives it up, if it is ours, and its folder. */
  release(): void {
    const { data } = this.options.settings;
    const file = lockFileOf(data);
    const [text, scratch] = [this.#text, this.#scratch];
    this.#text = undefined;
    if (scratch !== undefined)
      this.#tryToRemove(`the temporary folder ${scratch}`, () => rmSync(scratch, { recursive: true, force: true }));
    if (text === undefined) return;
    this.#tryToRemove(`the lock on ${data}`, () => {
      if (read(file) === text) rmSync(file, { force: true });
    });
  }

  /** Warns where that can't be done. */
  #tryToRemove(what: string, remove: () => void): void {
    try {
      remove();
    } catch (error) {
      this.options.log.warn(`${what} stays behind: ${describeError(error)}`);
    }
  }

  #removeStale(file: string): void {
    const { log, clock } = this.options;
    const { data } = this.options.settings;
    const found = read(file);
    if (found === undefined) return;
    const holder = parseHolder(found);
    const stale = holder ? whyStale(holder, clock.now()) : "it can't be read";
    if (stale === undefined && holder) throw new WorkerHostError("data_held", explainHeld(holder, data));
    const aside = `${file}.${randomUUID()}`;
    if (!unlessRaced(() => renameSync(file, aside))) return;
    // Somebody else may have replaced it since it was read.
    if (read(aside) !== found) unlessRaced(() => linkSync(aside, file));
    else {
      log.warn(`${file} was left behind (${holder ? `${describeHolder(holder)}: ` : ""}${stale}): replaced it`);
    }
    rmSync(aside, { force: true });
  }
}

/** Who holds a data folder; `stale`: why they are taken not to. */
export interface LockState {
  holder?: LockHolder;
  stale?: string;
}

/**
 * Who holds a data folder now; `undefined` where nobody does.
 *
 * @throws Error where the lock can't be read
 */
export function lockHolder(data: string, now: number): LockState | undefined {
  const text = read(lockFileOf(data));
  if (text === undefined) return undefined;
  const holder = parseHolder(text);
  if (!holder) return { stale: "it can't be read" };
  const stale = whyStale(holder, now);
  return { holder, ...defined({ stale }) };
}

/** The port of the embedded broker of the host that has a data folder now; `undefined` where none is known. */
export function portInLock(data: string, now: number): number | undefined {
  try {
    const { holder, stale } = lockHolder(data, now) ?? {};
    return holder?.machine === hostname() && stale === undefined ? holder.port : undefined;
  } catch {
    // It is another user's: the settings say where the broker is.
    return undefined;
  }
}

export function lockFileOf(data: string): string {
  return join(data, LOCK_FILE);
}

export function describeHolder({ pid, since, machine }: LockHolder): string {
  const where = machine === hostname() ? "" : ` on ${machine}`;
  return `process ${pid}${where}, since ${since}`;
}

function explainHeld(holder: LockHolder, data: string): string {
  return `another host uses the folder ${data} (${describeHolder(holder)}): stop it, or give this one a folder of its own (--data). If that process is no worker-host, remove ${lockFileOf(data)}`;
}

function ownEntry(now: number): LockHolder {
  const boot = bootId();
  const started = statOf(process.pid)?.started;
  return {
    pid: process.pid,
    since: new Date(now).toISOString(),
    machine: hostname(),
    ...defined({ started, boot }),
  };
}

/** Creates it whole, or not at all where there is one. */
function create(file: string, text: string): boolean {
  const own = `${file}.${randomUUID()}`;
  try {
    writeFileSync(own, text, { flag: "wx" });
    return unlessRaced(() => linkOrWrite(own, file, text));
  } finally {
    rmSync(own, { force: true });
  }
}

/** Gives whether it was done; not where somebody else was there before. */
function unlessRaced(work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" || code === "ENOENT") return false;
    throw error;
  }
}

function linkOrWrite(own: string, file: string, text: string): void {
  try {
    linkSync(own, file);
  } catch (error) {
    // A file system without links, such as FAT.
    if (!["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"].includes((error as NodeJS.ErrnoException).code ?? ""))
      throw error;
    writeFileSync(file, text, { flag: "wx" });
  }
}

function whyStale({ pid, since, started, boot }: LockHolder, now: number): string | undefined {
  const thisBoot = bootId();
  if (boot !== undefined && thisBoot !== undefined && boot !== thisBoot) return "the machine was started since";
  // What another start of this container, or of this machine, has left behind has our own number, and is not ours.
  if (pid === process.pid) return "that process is this one";
  if (!isAlive(pid)) return "that process is gone";
  const startedNow = statOf(pid)?.started;
  if (started !== undefined && startedNow !== undefined) {
    return started === startedNow ? undefined : "another process has that number now";
  }
  const bootedAt = now - uptime() * 1000;
  return Date.parse(since) < bootedAt - CLOCK_SLACK_MS ? "the machine was started since" : undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return statOf(pid)?.state !== "Z";
  } catch (error) {
    // It is there, and somebody else's.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function bootId(): string | undefined {
  return read(BOOT_ID)?.trim();
}

function parseHolder(text: string): LockHolder | undefined {
  const { pid, since, machine, started, boot, port } = (jsonIn(text) ?? {}) as Partial<Record<string, unknown>>;
  if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid < 1) return undefined;
  if (typeof since !== "string" || Number.isNaN(Date.parse(since)) || typeof machine !== "string") return undefined;
  const more = {
    ...textIn("started", started),
    ...textIn("boot", boot),
    ...(typeof port === "number" && port > 0 && port < 65_536 ? { port } : {}),
  };
  return { pid, since, machine, ...more };
}

function textIn<K extends string>(key: K, value: unknown): { [P in K]?: string } {
  return typeof value === "string" ? ({ [key]: value } as { [P in K]?: string }) : {};
}

/** What a file holds; `undefined` where there is none. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || (code === "EACCES" && path === BOOT_ID)) return undefined;
    throw error;
  }
}

/**
 * Makes a folder in another one.
 *
 * @throws Error where it can't be made, or has no room
 */
function makeRoom(folder: string): string {
  const made = mkdtempSync(join(folder, SCRATCH));
  try {
    const file = join(made, "room");
    writeFileSync(file, Buffer.alloc(DATA_ROOM_BYTES));
    rmSync(file);
    return made;
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    throw error;
  }
}
