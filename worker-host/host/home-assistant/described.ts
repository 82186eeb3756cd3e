import { type Fields, fieldsOf, readShape, type Shape } from "../../contract/json-check.ts";
import { MAX_DESCRIPTION_BYTES, MOST_JSON_LEVELS } from "../../contract/limits.ts";
import { defined, isDeeperThan, jsonOf } from "../../contract/payload.ts";
import { assertKey } from "../../contract/topics.ts";
import { MOST_ENTITIES } from "../limits.ts";

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
type ReadDescription = { described: Described; fault?: never } | { described?: never; fault: string };

/** What is said under a name. */
type Entry = readonly [name: string, said: Fields];

const LONGEST_NAME = 100;
const LONGEST_UNIT = 20;

/** Reads what matters of a description, whoever published it. Never throws. */
export function readDescription(payload: Uint8Array): ReadDescription {
  if (payload.length > MAX_DESCRIPTION_BYTES) return { fault: `it has ${payload.length} bytes` };
  const value = jsonOf(payload);
  if (typeof value !== "object" || value === null || isDeeperThan(value, MOST_JSON_LEVELS))
    return { fault: "it is no JSON" };
  const fields = value as Fields;
  if (fields.contract !== 1) return { fault: 'it has no "contract": 1' };
  const actions = entriesOf(fields.commands);
  // Every worker and board knows it, described or not.
  if (!Object.hasOwn(fieldsOf(fields.commands), "stop")) actions.unshift(["stop", {}]);
  const shownActions = actions.filter(isShown);
  const shownKeys = entriesOf(fields.telemetry).filter(isShown);
  const commands = shownActions.filter(([action]) => /^\S{1,100}$/u.test(action)).slice(0, MOST_ENTITIES);
  const values = shownKeys.filter(([key]) => isKey(key)).slice(0, MOST_ENTITIES);
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
    ...defined({ unit }),
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

/** What a command's arguments are, as far as Home Assistant has something to enter them with. */
export interface Args {
  /** What is sent to run it with what its author takes for usual; none where it can't be run so. */
  usual?: { args?: Record<string, never> };
  /** What a person can enter. */
  entry?:
    | { kind: "number"; min: number; max: number; step: number }
    | { kind: "select"; options: string[] }
    | { kind: "switch" }
    | { kind: "text"; min: number; max: number };
}

/** Nobody looks through more. */
const MOST_OPTIONS = 200;

/** Home Assistant's states are no longer than this. */
const LONGEST_STATE = 255;

/** Home Assistant's numbers have no finer step. */
const FINEST_STEP = 0.001;

/** Reads the JSON Schema of a command's args, whoever wrote it; `optional` where it may be sent without. */
export function argsOf(schema: unknown, optional: boolean): Args {
  if (schema === undefined) return { usual: {} };
  const root = readShape(schema);
  const all = alternatives(root).filter(({ types }) => types?.[0] !== "null");
  const usual =
    optional || root.default !== undefined || all.length === 0 ? {} : all.every(isFilledIn) ? { args: {} } : undefined;
  const entry = entryFor(all);
  return { ...(usual ? { usual } : {}), ...(entry ? { entry } : {}) };
}

/** The alternatives that a value may satisfy, each of one type at most. */
function alternatives({ anyOf, ...own }: Shape): Shape[] {
  return anyOf?.flatMap(alternatives) ?? own.types?.map((type) => ({ ...own, types: [type] })) ?? [own];
}

/** Whether it is an object that may be empty, since each of its properties has a default. */
function isFilledIn({ types, properties, required = [] }: Shape): boolean {
  if (types?.[0] !== "object" || required.length > 0) return false;
  return [...(properties?.values() ?? [])].every((property) => property.default !== undefined);
}

function entryFor(all: Shape[]): Args["entry"] {
  const options = all.flatMap((one) => one.enum ?? [undefined]);
  if (options.length <= MOST_OPTIONS && options.length > 0 && options.every(isOption))
    return { kind: "select", options: [...new Set(options)] };
  const [one] = all;
  if (!one || all.length > 1 || options.some((option) => option !== undefined)) return undefined;
  const [type] = one.types ?? [];
  if (type === "boolean") return { kind: "switch" };
  if (type === "string") return textEntry(one);
  return type === "number" || type === "integer" ? numberEntry(one, type) : undefined;
}

function isOption(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= LONGEST_STATE;
}

function textEntry({ minLength, maxLength }: Shape): Args["entry"] {
  const max = Math.min(LONGEST_STATE, whole(maxLength) ?? LONGEST_STATE);
  const min = whole(minLength) ?? 0;
  return min < max ? { kind: "text", min, max } : undefined;
}

function whole(value: number | undefined): number | undefined {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** None without both bounds: a slider needs them. */
function numberEntry(one: Shape, type: string): Args["entry"] {
  const low = bound(one.minimum) ?? bound(one.exclusiveMinimum);
  const high = bound(one.maximum) ?? bound(one.exclusiveMaximum);
  if (low === undefined || high === undefined) return undefined;
  const step = stepOf(one, type, high - low);
  const min = bound(one.minimum) === undefined ? low + step : low;
  const max = bound(one.maximum) === undefined ? high - step : high;
  return min < max ? { kind: "number", min, max, step } : undefined;
}

/** A bound that somebody set: a whole number's own ends are none. */
function bound(value: number | undefined): number | undefined {
  return value !== undefined && Math.abs(value) < Number.MAX_SAFE_INTEGER ? value : undefined;
}

/** About a hundred steps from end to end, and 1 at most. */
function stepOf({ multipleOf = 0 }: Shape, type: string, range: number): number {
  if (multipleOf >= FINEST_STEP && multipleOf <= range) return multipleOf;
  if (type === "integer" || range >= 100) return 1;
  return Number(Math.max(FINEST_STEP, 10 ** Math.floor(Math.log10(range / 100))).toFixed(3));
}
