import type { Said, Values } from "./bus.ts";
import { describesHost } from "./description.ts";
import { faultOf, fieldsOf, readShape, type Shape } from "./json-check.ts";
import { jsonIn } from "./payload.ts";

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
  commands: readonly PropCommand[];
  telemetry: ReadonlyMap<string, PropValue>;
  /** It says that it knows `stop`. */
  stops: boolean;
  /** It is a host, not a prop. */
  isHost: boolean;
}

const MOST_COMMANDS = 100;
const LONGEST_LABEL = 60;
const LONGEST_WORDS = 300;
const ACTION = /^\S{1,100}$/;

/** Reads the description of an id; one that can't be read says nothing. */
export function readPortrait(text: string | undefined, id: string): Portrait {
  const said = fieldsOf(jsonIn(text ?? ""));
  const { name, area, description, commands, telemetry } = said;
  return {
    name: wordsOf(name, LONGEST_LABEL),
    area: wordsOf(area, LONGEST_LABEL) ?? "",
    description: wordsOf(description, LONGEST_WORDS) ?? "",
    commands: Object.entries(fieldsOf(commands)).slice(0, MOST_COMMANDS).flatMap(commandOf),
    telemetry: new Map(
      Object.entries(fieldsOf(telemetry)).map(([key, value]) => {
        const about = fieldsOf(value);
        return [
          key,
          { unit: wordsOf(about.unit, 20) ?? "", description: wordsOf(about.description, LONGEST_WORDS) ?? "" },
        ];
      }),
    ),
    stops: Object.hasOwn(fieldsOf(commands), "stop"),
    isHost: describesHost(said, id),
  };
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
      label: wordsOf(label, LONGEST_LABEL) ?? action.replaceAll("_", " "),
      description: wordsOf(description, LONGEST_WORDS) ?? "",
      args: args === undefined ? undefined : readShape(args),
      argsOptional: args_optional === true,
      safe: safe === true,
      held: safe !== true && confirm !== false,
      requiresState: states,
    },
  ];
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

/** What a host says of a worker's life, where that is no plain `running`. */
export function troubleOf(values: Values): string | undefined {
  const { state, detail } = fieldsOf(jsonIn(values.get("status/runstate")?.text ?? ""));
  if (typeof state !== "string" || state === "running") return undefined;
  const why = wordsOf(detail, LONGEST_WORDS);
  return why === undefined ? state.slice(0, LONGEST_LABEL) : `${state.slice(0, LONGEST_LABEL)}: ${why}`;
}

/** What is wrong with an id, worst first, in words. */
export function wrongWith(values: Values): string[] {
  const lockOut = values.get("status/lock_out")?.text;
  return [
    troubleOf(values),
    availabilityOf(values)?.online === false ? "offline" : undefined,
    lockOut === undefined ? undefined : `locked out: ${lockOut}`,
    values.get("status/error")?.text,
    values.get("status/warn")?.text,
  ].filter((why) => why !== undefined);
}

/** Why all-stop can't hold an id that is there, in words; `undefined` where it can. A host stops its own workers. */
export function whyNotHeld(values: Values, { stops }: Portrait): string | undefined {
  if (values.has("status/runstate") || stops) return undefined;
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
  allStop: boolean;
}

/** Why a command can't be sent to a prop now, in words; `undefined` where it can. `stop` always can. */
export function whyNot(command: PropCommand, values: Values, { blocked, allStop }: Situation): string | undefined {
  if (blocked !== undefined || command.action === "stop") return blocked;
  const lockOut = values.get("status/lock_out")?.text;
  if (lockOut !== undefined) return `locked out: ${lockOut}`;
  const availability = availabilityOf(values);
  if (!availability) return "not heard of yet";
  if (!availability.online) return "offline";
  if (allStop && !command.safe) return "all-stop is engaged";
  const state = values.get("state")?.text;
  if (command.requiresState && !command.requiresState.includes(state ?? ""))
    return `only while ${command.requiresState.join(" or ").slice(0, LONGEST_WORDS)}`;
  return undefined;
}
