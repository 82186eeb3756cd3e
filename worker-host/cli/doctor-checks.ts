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
import { type Clock, within } from "../base/clock.ts";
import { pathFrom } from "../base/paths.ts";
import { deferred } from "../base/promises.ts";
import { messageOf } from "../contract/errors.ts";
import { decodeText, defined } from "../contract/payload.ts";
import { Topics } from "../contract/topics.ts";
import { describeHolder, type LockState, lockFileOf, lockHolder } from "../host/data/data-lock.ts";
import { readPlan } from "../host/plan/plan.ts";
import type { Settings } from "../host/settings/settings.ts";
import type { Connection } from "../mqtt/connection.ts";
import { brokerOf, type ClientDependencies, connect, retained } from "./client.ts";

/** What one look has found. */
export interface Finding {
  what: string;
  status: "ok" | "warn" | "fail";
  text: string;
  /** What to do about it. */
  remedy?: string;
}

export function ok(what: string, text: string): Finding {
  return { what, status: "ok", text };
}

export function warn(what: string, text: string, remedy: string): Finding {
  return { what, status: "warn", text, remedy };
}

export function fail(what: string, text: string, remedy: string): Finding {
  return { what, status: "fail", text, remedy };
}

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
function tryPort(port: number, host: string | undefined): Promise<NodeJS.ErrnoException | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", (error) => resolve(error));
    server.listen({ port, ...defined({ host }) }, () => server.close(() => resolve(undefined)));
  });
}

/** The process that listens at a port; `undefined` where the system doesn't say, as only Linux does, and of one's own. */
function holderOf(port: number): { pid: number; name: string } | undefined {
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
  const remedy = (id: string) => `mend it; "npx worker-host check ${id}" tells more`;
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
      const remedy =
        "name the folder of your props with --props, or write a first one: npx worker-host new prop my_prop";
      return [warn("props", `${props} is not there`, remedy)];
    }
    const remedy = "name the folder of your props with --props, and let this user read it";
    return [fail("props", `${props} can't be read: ${messageOf(error)}`, remedy)];
  }
}

interface BrokerCheckOptions extends ClientDependencies {
  newId: () => string;
  /** The process of the host that runs on our data folder. */
  host: number | undefined;
}

const ECHO_MS = 2_000;
const SLOW_MS = 200;

/** Tries the broker as a host would use it. What is published is our own, comes back to us, and is obeyed by nobody. */
export async function lookAtBroker(settings: Settings, options: BrokerCheckOptions): Promise<Finding[]> {
  const { clock, host } = options;
  const own = settings.external === undefined;
  if (own && host === undefined)
    return [await lookAtPort("broker", settings.embedded.port, ownAddress(settings), host)];
  const { url, username } = brokerOf(settings, clock);
  const began = clock.monotonic();
  const client = await connect(settings, options);
  if ("problem" in client) return [unreachable(url, client.problem)];
  const { connection } = client;
  const ms = Math.round(clock.monotonic() - began);
  try {
    const text = `connected to ${url} in ${ms} ms, with MQTT ${connection.protocolVersion === 5 ? "5" : "3.1.1"}`;
    const who = username === undefined ? "a client without a user name" : `user "${username}"`;
    return [
      ok("broker", text),
      ok("credentials", `the broker lets ${who} in`),
      ...(await lookAtRights(connection, settings, who, options)),
      await lookAtName(connection, settings, options),
    ];
  } finally {
    await connection.stop();
  }
}

/** What the embedded broker would be opened at. */
function ownAddress({ embedded: { lan } }: Settings): string | undefined {
  return lan ? undefined : "127.0.0.1";
}

function unreachable(url: string, problem: string): Finding {
  if (problem.includes("wrong or missing credentials")) {
    return fail("credentials", problem, "the broker's password file says whom it knows");
  }
  return fail(
    "broker",
    problem,
    `start the broker at ${url}, or look whether the address, the cable and a firewall are right`,
  );
}

async function lookAtRights(
  connection: Connection,
  { prefix, name }: Settings,
  who: string,
  { clock, newId }: BrokerCheckOptions,
): Promise<Finding[]> {
  const topics = new Topics(prefix, name);
  // Neither is listened to by anybody who would do something for it.
  const tried = [topics.status(name, "doctor"), topics.reply("cli", "doctor")];
  const echoes = await Promise.all(tried.map((topic) => echo(connection, topic, newId(), clock)));
  const slowest = Math.max(...echoes.map(({ ms }) => ms));
  const faults = echoes.flatMap(({ fault, topic }) =>
    fault === undefined
      ? []
      : [fail("rights", `${topic}: ${fault}`, `let ${who} read and write ${prefix}/# in the broker's access list`)],
  );
  if (faults.length > 0) return faults;
  const text = `what is published under ${prefix} comes back, in ${slowest} ms`;
  const slow = warn("rights", text, `more than ${SLOW_MS} ms are felt: look at the network, and the broker's load`);
  return [slowest > SLOW_MS ? slow : ok("rights", text)];
}

/** Publishes a text of our own, and waits until it comes back. A broker may acknowledge, and drop, what it denies. */
async function echo(
  connection: Connection,
  topic: string,
  text: string,
  clock: Clock,
): Promise<{ topic: string; ms: number; fault?: string }> {
  const back = deferred();
  await connection.subscribe(topic, ({ payload }) => {
    if (decodeText(payload) === text) back.resolve();
  });
  const began = clock.monotonic();
  const sent = connection.publish(topic, text, { qos: 1 });
  // Whichever comes first: a refusal, or the echo.
  const refused = sent.then((result) => (result === "dropped" ? true : back.promise.then(() => false)));
  const outcome = await within(clock, ECHO_MS, refused);
  const ms = Math.round(clock.monotonic() - began);
  if (outcome === undefined) {
    return { topic, ms, fault: "a message to it did not come back: we may not publish there, or not read it" };
  }
  return outcome.value ? { topic, ms, fault: "we may not publish there" } : { topic, ms };
}

/** Whether somebody has our name on the broker. */
async function lookAtName(
  connection: Connection,
  { prefix, name, standby }: Settings,
  { clock, host }: BrokerCheckOptions,
): Promise<Finding> {
  const topics = new Topics(prefix, name);
  const availability = await retained(connection, clock, topics.availability(name));
  const online = availability !== undefined && decodeText(availability) === "online";
  if (!online) return ok("name", `no host is online under the name "${name}"`);
  if (host !== undefined || standby) return ok("name", `a host is online under the name "${name}"`);
  return warn(
    "name",
    `a host is online under the name "${name}", and none runs on this data folder`,
    "one that is started here would end: stop the other, name this one otherwise (--name), or let it wait (--standby)",
  );
}

/** Whether a port that the host opens is free, or is the running host's. */
export async function lookAtPort(
  what: string,
  port: number,
  address: string | undefined,
  host: number | undefined,
): Promise<Finding> {
  if (port === 0) return ok(what, "the host picks a free port by itself");
  const error = await tryPort(port, address);
  if (!error) return ok(what, `port ${port} is free for the host to open`);
  if (error.code !== "EADDRINUSE") {
    const text = `port ${port} can't be opened${address === undefined ? "" : ` at ${address}`}: ${error.message}`;
    return fail(what, text, "take another port, above 1023, or another address");
  }
  const holder = holderOf(port);
  if (host !== undefined && (holder === undefined || holder.pid === host)) {
    return ok(what, `port ${port} is open, by the host that runs`);
  }
  const by = holder ? ` by process ${holder.pid} (${holder.name})` : "";
  const remedy =
    what === "broker"
      ? `if it is a broker, use it: --mqtt-host 127.0.0.1 --mqtt-port ${port}; else end it, or take another port (--broker-port)`
      : "end it, or take another port (--health-port)";
  return fail(what, `port ${port} is in use${by}`, remedy);
}
