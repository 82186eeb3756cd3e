import type { JsonSchema } from "./json-schema.ts";
import { MAX_DESCRIPTION_BYTES } from "./limits.ts";
import { jsonOf } from "./payload.ts";

/** The states of a worker's life, as its host sees it. */
export type Runstate = "starting" | "running" | "stopping" | "stopped" | "failed";

/** The payload of `<p>/<id>/status/runstate`. */
export interface RunstatePayload {
  state: Runstate;
  /** ISO 8601. */
  since: string;
  /** Why, where there is something to say. */
  detail?: string;
  /** The name of the host that runs it. */
  host: string;
}

const LONGEST_RUNSTATE = 8_192;
const RUNSTATES: ReadonlySet<unknown> = new Set<Runstate>(["starting", "running", "stopping", "stopped", "failed"]);

/** Reads what matters of a runstate; `undefined` where a payload is none. */
export function parseRunstate(payload: Uint8Array): RunstatePayload | undefined {
  if (payload.length > LONGEST_RUNSTATE) return undefined;
  const { state, since, host, detail } = (jsonOf(payload) ?? {}) as Partial<Record<string, unknown>>;
  if (!RUNSTATES.has(state) || typeof since !== "string" || typeof host !== "string") return undefined;
  return { state: state as Runstate, since, host, ...(typeof detail === "string" ? { detail } : {}) };
}

const LONGEST_CHIP = 100;
const PAGE = /^https?:\/\/[\w.:[\]-]{1,200}$/;

/** What matters of an id's description to who has to stop it. */
export interface Described {
  /** What kind of board it says it is. */
  chip: string | undefined;
  /** It says that it knows `stop`. */
  stops: boolean;
  /** It is a host: its workers are told, not it. */
  isHost: boolean;
  /** The address of the page that it serves. */
  page: string | undefined;
}

/** Whether a description is a host's: it lists workers, under the host's own name, and says nothing that a prop says. */
export function describesHost(said: unknown, id: string): boolean {
  if (typeof said !== "object" || said === null) return false;
  const { workers, name, id: prop, board } = said as Partial<Record<string, unknown>>;
  return Array.isArray(workers) && name === id && prop === undefined && board === undefined;
}

/** Reads the description of an id; one that can't be read says nothing. */
export function parseDescribed(payload: Uint8Array, id: string): Described {
  const said = payload.length > MAX_DESCRIPTION_BYTES ? undefined : jsonOf(payload);
  const { board, commands, page } = (said ?? {}) as Partial<Record<string, unknown>>;
  const isBoard = typeof board === "string" && board !== "" && board.length <= LONGEST_CHIP;
  const stops = typeof commands === "object" && commands !== null && Object.hasOwn(commands, "stop");
  return {
    chip: isBoard ? board : undefined,
    stops,
    isHost: describesHost(said, id),
    page: typeof page === "string" && PAGE.test(page) ? page : undefined,
  };
}

/** Whether a board is there, as the broker shows it; `missing`: it has firmware, but was never seen. */
export type BoardState = "online" | "offline" | "missing";

/** What a host says of one of its workers, in its description. */
export interface WorkerSummary {
  id: string;
  /** The worker's file, as a person would write it. */
  file: string;
  /** Its config file, if it has one. */
  config?: string;
  /** What people call it. */
  name?: string;
  /** Where in the haunt it is. */
  area?: string;
  /** `skipped`: found, but not to be run; `detail` says why. */
  state: Runstate | "skipped";
  detail?: string;
  /** Why it takes no command but `stop`, where somebody locked it out. */
  locked_out?: string;
  /** How the prop's board is, `<id>_hw`, where it has one. */
  board?: BoardState;
}

/** What a host says of a prop that has firmware and no worker: it is a board alone. */
export interface BoardSummary {
  id: string;
  availability: BoardState;
}

/** The payload of `<p>/worker_host/description`. */
export interface HostDescription {
  /** The version of the wire contract. */
  contract: 1;
  name: string;
  version: string;
  workers: WorkerSummary[];
  /** The props that are a board alone. */
  boards?: BoardSummary[];
  /** Edits wait until it is over. */
  show?: true;
  /** What the host can be told; there some moments after its start. */
  commands?: Record<string, CommandDescription>;
}

export const WIDGETS = ["button", "slider", "toggle", "select", "text", "colour", "gauge", "chart"] as const;

/** What a telemetry value may be, in JSON Schema's words. */
export const VALUE_TYPES = ["number", "boolean", "string", "object", "array"] as const;

/** How a command or a value may be shown on a page; a page is free to do otherwise. */
export interface Widget {
  type?: (typeof WIDGETS)[number];
  label?: string;
  icon?: string;
  /** Ask before it is sent. */
  confirm?: boolean;
  /** Don't show it. */
  hidden?: boolean;
}

/** What a worker says of one of its commands. */
export interface CommandDescription {
  description?: string;
  /** Of the arguments, as they are sent. */
  args?: JsonSchema;
  /** It has a schema of its arguments, and may be sent without. */
  args_optional?: true;
  returns?: JsonSchema;
  mode?: string;
  max?: number;
  /** After so long it is aborted, in ms. */
  timeout_ms?: number;
  /** So long after the end of its last run it is refused, in ms. */
  cooldown_ms?: number;
  /** So long after the begin of its last run what it switched on is switched off, in ms. */
  max_on_ms?: number;
  /** The command that does so; `stop` if not given. */
  on_max_on?: string;
  /** It is refused unless the prop's state is one of these. */
  requires_state?: string[];
  /** It is accepted from the topic of all props. */
  broadcast?: true;
  /** It may run while all-stop is engaged. */
  safe?: true;
  /** Of a host: it is taken on its admin topic alone. */
  admin?: true;
  widget?: Widget;
}

/** What a worker says of one of its telemetry keys. */
export interface TelemetryDescription {
  unit?: string;
  type?: (typeof VALUE_TYPES)[number];
  description?: string;
  /** It is published with the retain flag. */
  retain?: boolean;
  widget?: Widget;
}

/** The payload of `<p>/<id>/description`. */
export interface WorkerDescription {
  /** The version of the wire contract. */
  contract: 1;
  id: string;
  /** What its file is called: the same for all instances of one class. */
  class: string;
  name?: string;
  area?: string;
  version?: string;
  description?: string;
  /** The states that it may have, where it says them; the first is the one in which it waits. */
  states?: string[];
  commands: Record<string, CommandDescription>;
  /** What is declared; a worker may publish more. */
  telemetry?: Record<string, TelemetryDescription>;
  /** How long its `do_stop` and `stop()` may take together, where it says so. */
  stop_timeout_ms?: number;
  /** For a worker with a schema: the schema, and what holds now, both without secrets. */
  config?: { schema: JsonSchema; values: unknown };
  /** What a worker says besides; `board` is said by boards alone. */
  [fact: string]: unknown;
}
