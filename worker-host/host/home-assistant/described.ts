import { LONGEST_DESCRIPTION } from "../../contract/description.ts";
import { isDeeperThan, jsonOf, MOST_LEVELS } from "../../contract/payload.ts";
import { assertKey } from "../../contract/topics.ts";
import { type Args, argsOf, type Fields, fieldsOf } from "./args.ts";

/** What a description says of a command. */
export interface DescribedCommand {
  action: string;
  label: string;
  icon?: string;
  args: Args;
}

/** What a description says of a telemetry key. */
export interface DescribedValue {
  key: string;
  label: string;
  icon?: string;
  type?: string;
  unit?: string;
}

/** What a description says, of which nothing is believed that Home Assistant would stumble over. */
export interface Described {
  name?: string;
  area?: string;
  kind?: string;
  version?: string;
  /** What kind of board it says it is. */
  board?: string;
  commands: DescribedCommand[];
  values: DescribedValue[];
  /** How many of them there are besides that nobody could send or subscribe to, or that are too many. */
  leftOut: number;
}

/** A description, or why it is none. */
export type ReadDescription = { described: Described; fault?: never } | { described?: never; fault: string };

/** What is said under a name. */
type Entry = readonly [name: string, said: Fields];

/** More commands, or values, are not shown. */
const MOST_ENTRIES = 100;
const LONGEST_NAME = 100;
const LONGEST_UNIT = 20;

/** Reads what matters of a description, whoever published it. Never throws. */
export function readDescription(payload: Uint8Array): ReadDescription {
  if (payload.length > LONGEST_DESCRIPTION) return { fault: `it has ${payload.length} bytes` };
  const value = jsonOf(payload);
  if (typeof value !== "object" || value === null || isDeeperThan(value, MOST_LEVELS))
    return { fault: "it is no JSON" };
  const fields = value as Fields;
  if (fields.contract !== 1) return { fault: 'it has no "contract": 1' };
  const actions = entriesOf(fields.commands);
  // Every worker and board knows it, described or not.
  if (!Object.hasOwn(fieldsOf(fields.commands), "stop")) actions.unshift(["stop", {}]);
  const shownActions = actions.filter(isShown);
  const shownKeys = entriesOf(fields.telemetry).filter(isShown);
  const commands = shownActions.filter(([action]) => /^\S{1,100}$/u.test(action)).slice(0, MOST_ENTRIES);
  const values = shownKeys.filter(([key]) => isKey(key)).slice(0, MOST_ENTRIES);
  return {
    described: {
      ...named("name", fields.name),
      ...named("area", fields.area),
      ...named("kind", fields.class),
      ...named("version", fields.version),
      ...named("board", fields.board),
      commands: commands.map(commandOf),
      values: values.map(telemetryOf),
      leftOut: shownActions.length + shownKeys.length - commands.length - values.length,
    },
  };
}

function isShown([, { widget }]: Entry): boolean {
  return fieldsOf(widget).hidden !== true;
}

function commandOf([action, entry]: Entry): DescribedCommand {
  return { action, ...shownAs(action, entry), args: argsOf(entry.args, entry.args_optional === true) };
}

function telemetryOf([key, entry]: Entry): DescribedValue {
  const unit = printable(entry.unit)?.slice(0, LONGEST_UNIT);
  return {
    key,
    ...shownAs(key, entry),
    ...(typeof entry.type === "string" ? { type: entry.type } : {}),
    ...(unit === undefined ? {} : { unit }),
  };
}

function isKey(key: string): boolean {
  try {
    assertKey(key);
    return true;
  } catch {
    // It can't be a topic, so that nothing is published there.
    return false;
  }
}

/** How a page would show it. */
function shownAs(name: string, { widget }: Fields): { label: string; icon?: string } {
  const { label, icon } = fieldsOf(widget);
  return {
    label: printable(label) ?? labelOf(name),
    // Home Assistant refuses an entity whose icon it can't read.
    ...(typeof icon === "string" && /^[a-z0-9]{1,20}:[a-z0-9-]{1,80}$/.test(icon) ? { icon } : {}),
  };
}

/** `set_mode` as "Set mode". */
function labelOf(name: string): string {
  const words = name.replaceAll(/[_/-]+/g, " ").trim();
  return printable(words.charAt(0).toUpperCase() + words.slice(1)) ?? "?";
}

function named<K extends string>(key: K, value: unknown): { [P in K]?: string } {
  const text = printable(value);
  return text === undefined ? {} : ({ [key]: text } as { [P in K]?: string });
}

/** A text on one line that isn't empty, and not too long. */
function printable(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  const text = value
    .slice(0, LONGEST_NAME)
    .replaceAll(/[\p{Control}\p{Surrogate}]/gu, " ")
    .trim();
  return text === "" ? undefined : text;
}

function entriesOf(value: unknown): Entry[] {
  return Object.entries(fieldsOf(value)).map(([name, entry]) => [name, fieldsOf(entry)]);
}
