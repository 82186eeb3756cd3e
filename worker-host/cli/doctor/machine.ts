import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { messageOf } from "../../contract/errors.ts";
import { describeHolder, type LockState, lockFileOf, lockHolder } from "../../host/data/data-lock.ts";
import { pathFrom } from "../../host/paths.ts";
import { readPlan } from "../../host/plan/plan.ts";
import type { Settings } from "../../host/settings/settings.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

/** Until when each Node is mended (github.com/nodejs/release). */
const MENDED_UNTIL = new Map([
  [20, "2026-04-30"],
  [21, "2024-06-01"],
  [22, "2027-04-30"],
  [23, "2025-06-01"],
  [24, "2028-04-30"],
  [25, "2026-06-01"],
]);
/** No machine on which this runs has an earlier one. */
const FIRST_YEAR = 2025;
const LAST_YEAR = 2100;
const MB = 1024 * 1024;
const LITTLE_MB = 200;
const TOO_LITTLE_MB = 20;

export function lookAtNode(now: number): Finding {
  const { node } = process.versions;
  const until = MENDED_UNTIL.get(Number(node.split(".")[0]));
  return until !== undefined && now > Date.parse(until)
    ? warn("node", `Node ${node} is no longer mended since ${until}`, "get a newer one, such as: nvm install 24")
    : ok("node", `Node ${node}`);
}

export function lookAtClock(now: number): Finding {
  const year = new Date(now).getUTCFullYear();
  const text = `it is ${new Date(now).toISOString()} here`;
  if (year >= FIRST_YEAR && year <= LAST_YEAR) return ok("clock", text);
  const remedy = "set the clock, such as with an NTP server: commands expire, and certificates hold, by it";
  return warn("clock", `${text}, which can't be`, remedy);
}

/** The data folder and who holds it. */
export function lookAtData(data: string, now: number): Finding[] {
  const fault = whyNotWritable(data);
  if (fault !== undefined) {
    const remedy = "give a folder that this user can write to with --data; until then nothing outlives a restart";
    return [fail("data", `${data} can't be written to: ${fault}`, remedy)];
  }
  const made = existsSync(data) ? "can be written to" : "is not there yet, and can be made";
  return [ok("data", `${data} ${made}`), lookAtSpace("disk", nearest(data)), lookAtLock(data, now)];
}

/** Where the workers' code is built. */
export function lookAtTemporary(): Finding {
  const fault = existsSync(tmpdir()) ? whyNotWritable(tmpdir()) : "there is no such folder";
  if (fault === undefined) return lookAtSpace("temp", tmpdir());
  return fail("temp", `${tmpdir()} can't be written to: ${fault}`, "set TMPDIR to a folder that can");
}

function lookAtSpace(what: string, folder: string): Finding {
  const { bavail, bsize } = statfsSync(folder);
  const free = Math.floor((bavail * bsize) / MB);
  const text = `${free} MB are free at ${folder}`;
  if (free >= LITTLE_MB) return ok(what, text);
  return (free < TOO_LITTLE_MB ? fail : warn)(what, text, `make room: below ${LITTLE_MB} MB writing may soon fail`);
}

function lookAtLock(data: string, now: number): Finding {
  const lock = lockIn(data, now);
  if (typeof lock === "string") {
    return warn("lock", `${lockFileOf(data)} can't be read: ${lock}`, "remove it if no host runs here");
  }
  if (!lock) return ok("lock", `no host runs on ${data}`);
  const { holder, stale } = lock;
  if (holder && stale === undefined) return ok("lock", `a host runs on ${data}: ${describeHolder(holder)}`);
  return ok("lock", `${lockFileOf(data)} was left behind (${stale}): the next start replaces it`);
}

/** The process of the host that runs on a data folder. */
export function runningHost(data: string, now: number): number | undefined {
  const lock = lockIn(data, now);
  return typeof lock === "object" && lock.stale === undefined ? lock.holder?.pid : undefined;
}

/** The lock on a data folder, or why it can't be read. */
function lockIn(data: string, now: number): LockState | string | undefined {
  try {
    return lockHolder(data, now);
  } catch (error) {
    return messageOf(error);
  }
}

function whyNotWritable(folder: string): string | undefined {
  try {
    const there = nearest(folder);
    if (!statSync(there).isDirectory()) return `${there} is a file`;
    accessSync(there, constants.W_OK | constants.X_OK);
    if (there !== folder) return undefined;
    // A file system that is read-only, or full, says so at a write alone.
    const probe = mkdtempSync(join(folder, ".worker-host-doctor-"));
    try {
      writeFileSync(join(probe, "probe"), "x".repeat(4096));
    } finally {
      rmSync(probe, { recursive: true, force: true });
    }
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** The folder, or the nearest above it that is there. */
function nearest(folder: string): string {
  return existsSync(folder) || dirname(folder) === folder ? folder : nearest(dirname(folder));
}

/** Whether a port could be opened now, and why not. */
export function tryPort(port: number, host: string | undefined): Promise<NodeJS.ErrnoException | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", (error) => resolve(error));
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => server.close(() => resolve(undefined)));
  });
}

/** The process that listens at a port; `undefined` where the system doesn't say, as only Linux does, and of one's own. */
export function holderOf(port: number): { pid: number; name: string } | undefined {
  const inodes = new Set(["/proc/net/tcp", "/proc/net/tcp6"].flatMap((table) => listening(table, port)));
  if (inodes.size === 0) return undefined;
  for (const pid of namesIn("/proc").filter((name) => /^\d+$/.test(name))) {
    const holds = namesIn(`/proc/${pid}/fd`).some((fd) => {
      const [, inode = ""] = /^socket:\[(\d+)\]$/.exec(gone(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? "") ?? [];
      return inodes.has(inode);
    });
    if (holds) return { pid: Number(pid), name: gone(() => readFileSync(`/proc/${pid}/comm`, "utf8").trim()) ?? "" };
  }
  return undefined;
}

/** `0: 0100007F:075B 00000000:0000 0A …`: the number of the socket is the tenth, and 0A means that it listens. */
function listening(table: string, port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const rows = (gone(() => readFileSync(table, "utf8")) ?? "").split("\n").map((line) => line.trim().split(/\s+/));
  return rows.flatMap(([, local = "", , state, ...rest]) =>
    state === "0A" && local.endsWith(`:${hex}`) ? [rest[5] ?? ""] : [],
  );
}

function namesIn(folder: string): string[] {
  return gone(() => readdirSync(folder)) ?? [];
}

/** What a look gives; `undefined` where it ended meanwhile, or is somebody else's. */
function gone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (["ENOENT", "EACCES", "EPERM", "ESRCH", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) {
      return undefined;
    }
    throw error;
  }
}

/** The folder of the props, and the configs in it; no worker's code is built or loaded. */
export async function lookAtProps(
  settings: Settings,
  { cwd, env }: { cwd: string; env: Readonly<Record<string, string | undefined>> },
): Promise<Finding[]> {
  const { props, selectProps } = settings;
  const folder = selectProps.disableAll ? [] : lookAtFolder(props);
  if (folder.some(({ status }) => status === "fail")) return folder;
  const { workers, warnings } = await readPlan({ ...settings, env, show: pathFrom(cwd) });
  const chosen = workers.filter(({ skipped }) => skipped === undefined);
  const faults = chosen.flatMap(({ id, fault, unreadable }) =>
    [fault, unreadable].flatMap((text) => (text === undefined ? [] : [{ id, text }])),
  );
  const remedy = (id: string) => `mend it; "worker-host check ${id}" tells more`;
  return [
    ...folder,
    ...faults.map(({ id, text }) => fail("config", `${id}: ${text}`, remedy(id))),
    ...[...warnings, ...chosen.flatMap((worker) => worker.warnings)].map((text) =>
      warn("config", text, "mend it, or leave it out"),
    ),
    ...(faults.length === 0 ? [ok("config", `${chosen.length} workers would run, and their configs can be read`)] : []),
  ];
}

function lookAtFolder(props: string): Finding[] {
  try {
    const { length } = readdirSync(props);
    return [ok("props", `${props} has ${length} ${length === 1 ? "entry" : "entries"}`)];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      const remedy = "name the folder of your props with --props, or write a first one: worker-host new prop my_prop";
      return [warn("props", `${props} is not there`, remedy)];
    }
    const remedy = "name the folder of your props with --props, and let this user read it";
    return [fail("props", `${props} can't be read: ${messageOf(error)}`, remedy)];
  }
}
