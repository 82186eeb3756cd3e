import { within } from "../base/clock.ts";
import { pathFrom } from "../base/paths.ts";
import { deferred } from "../base/promises.ts";
import { BusModel } from "../contract/bus.ts";
import { type BoardSummary, describesHost, type HostDescription, type WorkerSummary } from "../contract/description.ts";
import { describeHeard, readHeard } from "../contract/heard.ts";
import { decodeText, jsonIn } from "../contract/payload.ts";
import { readHost } from "../contract/prop.ts";
import { Topics } from "../contract/topics.ts";
import { readPlan, summaryOf } from "../host/plan/plan.ts";
import type { Settings } from "../host/settings/settings.ts";
import { CallError, Calls } from "../mqtt/calls.ts";
import type { Connection } from "../mqtt/connection.ts";
import { type ClientDependencies, connect, RETAINED_MS } from "./client.ts";

/** How long a host has to answer, where it has to. */
const HOST_ANSWER_MS = 3_000;

export interface ListOptions extends ClientDependencies {
  cwd: string;
  env: Readonly<Record<string, string | undefined>>;
  json: boolean;
  /** Only what a running host says, which has to answer. */
  running: boolean;
  newId: () => string;
}

export interface ListOutcome {
  ok: boolean;
  text: string;
  /** For people, beside the list. */
  notes: string[];
}

/** A worker as it is listed; `would load` where no host runs. A prop without one is a `board` alone. */
interface Row extends Omit<WorkerSummary, "state" | "file"> {
  state: WorkerSummary["state"] | "would load" | "board";
  file?: string;
}

/** Asks the running host for its workers; where none answers, looks for what would load. */
export async function list(settings: Settings, options: ListOptions): Promise<ListOutcome> {
  const answer = await ask(settings, options);
  if ("workers" in answer) return { ok: true, text: format(answer.workers, options.json), notes: answer.notes };
  if (options.running) return { ok: false, text: "", notes: [answer.problem] };
  const { workers, warnings } = await look(settings, options);
  return {
    ok: true,
    text: format(workers, options.json),
    notes: [`${answer.problem}; this is what would load:`, ...warnings],
  };
}

async function ask(
  settings: Settings,
  options: ListOptions,
): Promise<{ workers: Row[]; notes: string[] } | { problem: string }> {
  const client = await connect(settings, options);
  if ("problem" in client) return client;
  const topics = new Topics(settings.prefix, settings.name);
  const { connection } = client;
  const { hostName } = topics;
  const { online, description, engaged, heard } = await seenOf(topics, connection, options);
  const notes = engaged ? notesOnAllStop(heard) : [];
  const shown = online ? description : undefined;
  const workers = shown === undefined ? undefined : workersIn(shown, hostName);
  const answers = !workers || !options.running || (await answersNow(connection, topics, options));
  await connection.stop();
  if (shown === undefined) return { problem: "no host runs on the broker" };
  if (!workers) return { problem: `${topics.description(hostName)} holds no description of a host` };
  if (!answers) return { problem: `${hostName} is shown online, and does not answer: it stands still` };
  return { ...workers, notes };
}

/** What the broker retains of a host. */
async function seenOf(topics: Topics, connection: Connection, { clock }: ListOptions) {
  const { hostName } = topics;
  const bus = new BusModel(topics);
  const whole = deferred();
  await connection.subscribe(topics.subtree(hostName), ({ topic, payload, retain }) => {
    bus.take({ topic, text: decodeText(payload) ?? "", retain }, clock.monotonic());
    if (readHost(bus.valuesOf(hostName)).isWhole) whole.resolve();
  });
  await within(clock, RETAINED_MS, whole.promise);
  return readHost(bus.valuesOf(hostName));
}

/** What the broker retains says nothing of a host that stands still. */
async function answersNow(wire: Connection, topics: Topics, { clock, newId }: ListOptions): Promise<boolean> {
  const calls = new Calls({ id: "cli", topics, wire, clock, newId });
  try {
    await calls.call({ target: topics.hostName, action: "list", args: undefined, timeoutMs: HOST_ANSWER_MS });
    return true;
  } catch (error) {
    if (error instanceof CallError) return error.code === "refused" || error.code === "failed";
    throw error;
  }
}

/** What is retained of who has heard an all-stop that is engaged. */
function notesOnAllStop(text: string | undefined): string[] {
  const heard = readHeard(jsonIn(text ?? ""));
  return ["all-stop is engaged", ...(heard ? describeHeard(heard) : [])];
}

/** `undefined` where somebody else wrote on the host's topic. */
function workersIn(text: string, hostName: string): { workers: Row[] } | undefined {
  const said = jsonIn(text);
  if (!describesHost(said, hostName)) return undefined;
  const { workers, boards } = said as HostDescription;
  return { workers: [...workers, ...(Array.isArray(boards) ? boards.map(asRow) : [])] };
}

function asRow({ id, availability }: BoardSummary): Row {
  return { id, state: "board", board: availability };
}

async function look(settings: Settings, { cwd, env }: ListOptions): Promise<{ workers: Row[]; warnings: string[] }> {
  const show = pathFrom(cwd);
  const { workers, warnings } = await readPlan({ ...settings, env, show });
  const rows = workers.map((planned): Row => {
    const { fault, skipped } = planned;
    const detail = fault ?? skipped;
    return {
      ...summaryOf(planned, show),
      state: skipped !== undefined ? "skipped" : fault !== undefined ? "failed" : "would load",
      ...(detail ? { detail } : {}),
    };
  });
  return { workers: rows, warnings };
}

function remarkOn({ detail, locked_out: lockedOut }: Row): string {
  return [detail, lockedOut === undefined ? undefined : `locked out: ${lockedOut}`]
    .filter((text) => text !== undefined)
    .join("; ");
}

function format(rows: Row[], json: boolean): string {
  if (json) return JSON.stringify(rows, null, 2);
  if (rows.length === 0) return "no worker";
  const cells = [
    ["id", "runstate", "board", "file", "config", "remark"],
    ...rows.map((row) => [row.id, row.state, row.board ?? "-", row.file ?? "-", row.config ?? "-", remarkOn(row)]),
  ];
  const widths = cells[0]?.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0))) ?? [];
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
