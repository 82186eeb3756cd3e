import type { Said, Values } from "./bus.ts";
import { STOP } from "./command.ts";
import { describesHost } from "./description.ts";
import { type Fields, faultOf, fieldsOf, readShape, type Shape } from "./json-check.ts";
import { jsonIn } from "./payload.ts";
import { boardIdOf, CONSOLE, isPeer } from "./topics.ts";

/** A command, as its prop's description tells it. */
export interface PropCommand {
  action: string;
  label: string;
  description: string;
  /** What it takes; `undefined` for nothing. */
  args: Shape | undefined;
  /** It may be sent without. */
  argsOptional: boolean;
  /** It may run while all-stop is engaged. */
  safe: boolean;
  /** It moves something, so that a person has to mean it. */
  held: boolean;
  /** It is refused unless the prop's state is one of these. */
  requiresState: readonly string[] | undefined;
}

/** How a telemetry key is to be read. */
export interface PropValue {
  unit: string;
  description: string;
}

/** What a description says, as far as it can be read; whatever else is in it, this has its types. */
export interface Portrait {
  name: string | undefined;
  area: string;
  description: string;
  /** All but `stop`; for that see `stopOf`. */
  commands: readonly PropCommand[];
  telemetry: ReadonlyMap<string, PropValue>;
  /** `stop`, where it says that it knows it. */
  stop: PropCommand | undefined;
  /** The state in which it waits: the first of its `states`, where it says them. */
  rest: string;
  /** It is a host, not a prop. */
  isHost: boolean;
  /** Of a host: the ids of the boards that its props have. */
  boards: readonly string[];
}

const MOST_COMMANDS = 100;
const LONGEST_LABEL = 60;
const LONGEST_WORDS = 300;
const MOST_BOARDS = 2_000;
const ACTION = /^\S{1,100}$/;

/** Reads the description of an id; one that can't be read says nothing. */
export function readPortrait(text: string | undefined, id: string): Portrait {
  const said = fieldsOf(jsonIn(text ?? ""));
  const { name, area, description, commands, telemetry, states } = said;
  const isHost = describesHost(said, id);
  return {
    name: wordsOf(name, LONGEST_LABEL),
    area: wordsOf(area, LONGEST_LABEL) ?? "",
    description: wordsOf(description, LONGEST_WORDS) ?? "",
    commands: Object.entries(fieldsOf(commands))
      .filter(([action]) => action !== STOP)
      .slice(0, MOST_COMMANDS)
      .flatMap(commandOf),
    telemetry: new Map(
      Object.entries(fieldsOf(telemetry)).map(([key, value]) => {
        const about = fieldsOf(value);
        return [
          key,
          { unit: wordsOf(about.unit, 20) ?? "", description: wordsOf(about.description, LONGEST_WORDS) ?? "" },
        ];
      }),
    ),
    stop: Object.hasOwn(fieldsOf(commands), STOP) ? stopAs(fieldsOf(commands)[STOP]) : undefined,
    rest: (Array.isArray(states) && wordsOf(states[0], LONGEST_LABEL)) || "idle",
    isHost,
    boards: isHost ? boardsOf(said) : [],
  };
}

function boardsOf({ workers, boards }: Fields): string[] {
  const list = (value: unknown) => (Array.isArray(value) ? value.slice(0, MOST_BOARDS).map(fieldsOf) : []);
  const beside = list(workers).filter(({ board, state }) => board !== undefined && state !== "skipped");
  const ids = [...beside.map(({ id }) => typeof id === "string" && boardIdOf(id)), ...list(boards).map(({ id }) => id)];
  return ids.filter((id): id is string => typeof id === "string" && isPeer(id));
}

function commandOf([action, value]: [string, unknown]): PropCommand[] {
  const { description, args, args_optional, safe, requires_state, widget } = fieldsOf(value);
  const { label, hidden, confirm } = fieldsOf(widget);
  if (!ACTION.test(action) || hidden === true) return [];
  const states = Array.isArray(requires_state)
    ? requires_state.filter((state) => typeof state === "string")
    : undefined;
  return [
    {
      action,
      label: labelOf(action, label),
      description: wordsOf(description, LONGEST_WORDS) ?? "",
      args: args === undefined ? undefined : readShape(args),
      argsOptional: args_optional === true,
      safe: safe === true,
      held: safe !== true && confirm !== false,
      requiresState: states,
    },
  ];
}

/** A command's label; one that reads as `stop`, and is another command, has its action beside it. */
function labelOf(action: string, label: unknown): string {
  const words = wordsOf(label, LONGEST_LABEL) ?? action.replaceAll("_", " ");
  return action !== STOP && readsAsStop(words) ? `${words} (${action})` : words;
}

/** Whatever the signs between its letters, and whatever alphabet's wide or fine forms they have. */
function readsAsStop(words: string): boolean {
  return (
    words
      .normalize("NFKC")
      .toLowerCase()
      .replaceAll(/[^\p{L}]/gu, "") === STOP
  );
}

/** `stop` as it is described. It is never hidden, takes no values, and whoever touches it means it. */
function stopAs(value: unknown): PropCommand {
  const { description, widget } = fieldsOf(value);
  return {
    action: STOP,
    label: labelOf(STOP, fieldsOf(widget).label),
    description: wordsOf(description, LONGEST_WORDS) ?? "",
    args: undefined,
    argsOptional: false,
    safe: true,
    held: false,
    requiresState: undefined,
  };
}

/** The `stop` of an id, where it can be told: every worker knows it, also one that does not describe it. */
export function stopOf(id: string, values: Values, { stop, isHost }: Portrait): PropCommand | undefined {
  if (isHost || id === CONSOLE) return undefined;
  return stop ?? (values.has("status/runstate") ? stopAs({}) : undefined);
}

function wordsOf(value: unknown, longest: number): string | undefined {
  if (typeof value !== "string" || value.trim() === "") return undefined;
  return value.length > longest ? `${value.slice(0, longest)}…` : value;
}

/** Whether an id is there; `undefined` where nothing says so. */
export function availabilityOf(values: Values): { online: boolean; said: Said } | undefined {
  const said = values.get("status/availability");
  return said && { online: said.text === "online", said };
}

/** What the broker retains of a host, by which it is known. */
export function readHost(values: Values) {
  const [description, allStop, heard] = ["description", "status/all_stop", "status/all_stop_heard"].map(
    (key) => values.get(key)?.text,
  );
  const availability = availabilityOf(values);
  const engaged = allStop === "engaged";
  /** All of it has come. */
  const isWhole =
    availability && description !== undefined && allStop !== undefined && (!engaged || heard !== undefined);
  return { online: availability?.online === true, description, engaged, heard, isWhole: isWhole === true };
}

/** Something that is wrong. */
export interface Fault {
  /** In words. */
  why: string;
  /** What says so, for its age; `undefined` where nothing does. */
  said?: Said | undefined;
  /** 0 is the worst. */
  rank: number;
}

/** The rank of a warning. */
export const WARNING = 4;
/** A warning that is not said again for so long is over. */
const WARNING_MS = 600_000;
/** A command that was refused harmed nothing; its sender was told. */
const REFUSAL = /^.{1,200}? refused: |^unknown action /;

/** What a host says of a worker's life, where that is no plain `running`. */
export function troubleOf(values: Values): Fault | undefined {
  const said = values.get("status/runstate");
  const { state, detail } = fieldsOf(jsonIn(said?.text ?? ""));
  if (typeof state !== "string" || state === "running") return undefined;
  const why = [state.slice(0, LONGEST_LABEL), wordsOf(detail, LONGEST_WORDS) ?? []].flat().join(": ");
  return { why, said, rank: state === "failed" ? 0 : 3 };
}

/** What is wrong with an id now, worst first; `expected`: something says that there is a board of that id. */
export function faultsOf(values: Values, now: number, expected = false): Fault[] {
  const availability = availabilityOf(values);
  const trouble = troubleOf(values);
  const [lockOut, error, warning] = ["lock_out", "error", "warn"].map((key) => values.get(`status/${key}`));
  // A board that comes back begins anew.
  const since = values.has("status/runstate") || !availability?.online ? 0 : availability.said.at;
  const isNew = (said: Said | undefined) =>
    said !== undefined && said.at >= since && !trouble?.why.includes(said.text.slice(0, LONGEST_WORDS));
  const isFresh = warning && now - warning.at < WARNING_MS && !REFUSAL.test(warning.text);
  const faults: (Fault | false | undefined)[] = [
    trouble,
    !trouble && availability?.online === false && { why: "offline", said: availability.said, rank: 1 },
    expected && !availability && { why: "never seen", rank: 1 },
    isNew(error) && { why: error?.text ?? "", said: error, rank: 2 },
    lockOut && { why: `locked out: ${lockOut.text}`, said: lockOut, rank: 3 },
    isFresh && isNew(warning) && { why: warning.text, said: warning, rank: WARNING },
  ];
  return faults.filter((fault) => fault !== false && fault !== undefined).sort((a, b) => a.rank - b.rank);
}

/** Why all-stop can't hold an id that is there, in words; `undefined` where it can. A host stops its own workers. */
export function whyNotHeld(values: Values, { stop, isHost }: Portrait): string | undefined {
  if (values.size === 0 || values.has("status/runstate") || stop || isHost) return undefined;
  return values.has("description") ? "its description has no command stop" : "it says nothing of itself";
}

/** Why a command doesn't take these arguments, in words; `undefined` where it does. */
export function faultOfArgs({ args: shape, argsOptional }: PropCommand, args: unknown): string | undefined {
  if (args === undefined || args === null) return shape && !argsOptional ? "it needs values" : undefined;
  return shape && faultOf(args, shape);
}

/** What all else depends on when a command is to be sent. */
export interface Situation {
  /** Why nothing at all can be sent, in words. */
  blocked: string | undefined;
  /** Whether all-stop is engaged; `undefined` where that is not known. */
  allStop: boolean | undefined;
}

/** Why a command can't be sent to a prop now, in words; `undefined` where it can. `stop` always can. */
export function whyNot(command: PropCommand, values: Values, { blocked, allStop }: Situation): string | undefined {
  if (blocked !== undefined || command.action === STOP) return blocked;
  const lockOut = values.get("status/lock_out")?.text;
  if (lockOut !== undefined) return `locked out: ${lockOut}`;
  const availability = availabilityOf(values);
  if (!availability) return "not heard of yet";
  if (!availability.online) return "offline";
  if (allStop !== false && !command.safe)
    return allStop ? "all-stop is engaged" : "not known whether all-stop is engaged";
  const state = values.get("state")?.text;
  if (command.requiresState && !command.requiresState.includes(state ?? ""))
    return `only while ${command.requiresState.join(" or ").slice(0, LONGEST_WORDS)}`;
  return undefined;
}
