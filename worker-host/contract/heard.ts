import { MOST_HEARD } from "./limits.ts";
import { defined, printable } from "./payload.ts";
import { isPeer } from "./topics.ts";

/** Who has confirmed a stop: the payload of `<p>/<host>/status/all_stop_heard`. */
export interface Heard {
  /** When it was told; ISO 8601. */
  since: string;
  /** Who confirmed it, and after how many ms. */
  heard: { id: string; ms: number }[];
  /** Who should have, and did not. */
  not_heard: { id: string; why?: string }[];
  /** Who is there, and can't be held. */
  not_held: { id: string; why: string }[];
  /** How many more there are of the three. */
  left_out?: number;
}

const LONGEST_WHY = 200;

/** The same with no list longer than can be published. */
export function boundHeard({ since, heard, not_heard, not_held }: Heard): Heard {
  const lists = [heard, not_heard, not_held];
  const left = lists.reduce((sum, list) => sum + Math.max(0, list.length - MOST_HEARD), 0);
  return {
    since,
    heard: heard.slice(0, MOST_HEARD),
    not_heard: not_heard.slice(0, MOST_HEARD),
    not_held: not_held.slice(0, MOST_HEARD),
    ...(left > 0 ? { left_out: left } : {}),
  };
}

/** Reads what came over the wire; `undefined` where it is none. */
export function readHeard(value: unknown): Heard | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { since, heard, not_heard, not_held, left_out } = value as Partial<Record<keyof Heard, unknown>>;
  if (typeof since !== "string") return undefined;
  return {
    since,
    heard: entriesOf(heard).map(({ id, ms }) => ({ id, ms: typeof ms === "number" ? ms : 0 })),
    not_heard: entriesOf(not_heard).map(({ id, why }) => ({ id, ...defined({ why }) })),
    not_held: entriesOf(not_held).map(({ id, why = "no reason given" }) => ({ id, why })),
    ...(typeof left_out === "number" ? { left_out } : {}),
  };
}

function entriesOf(list: unknown): { id: string; ms?: unknown; why?: string }[] {
  if (!Array.isArray(list)) return [];
  return list.slice(0, MOST_HEARD).flatMap((entry: unknown) => {
    const { id, ms, why } = (entry ?? {}) as Partial<Record<string, unknown>>;
    if (typeof id !== "string" || !isPeer(id)) return [];
    return [{ id, ms, ...(typeof why === "string" ? { why: why.slice(0, LONGEST_WHY) } : {}) }];
  });
}

/** Whether somebody has to go and look. */
export function isAllHeard({ not_heard, not_held, left_out = 0 }: Heard): boolean {
  return not_heard.length === 0 && not_held.length === 0 && left_out === 0;
}

/** Who has heard, in lines for people. */
export function describeHeard({ heard, not_heard, not_held, left_out = 0 }: Heard): string[] {
  const slowest = Math.max(...heard.map(({ ms }) => ms));
  const named = (list: { id: string; why?: string }[]) =>
    list.map(({ id, why }) => (why === undefined ? id : `${id} (${printable(why)})`)).join(", ");
  return [
    ...(heard.length === 0 ? [] : [`heard: ${heard.map(({ id }) => id).join(", ")}, in ${slowest} ms`]),
    ...(not_heard.length === 0 ? [] : [`not heard: ${named(not_heard)}, go and look`]),
    ...(not_held.length === 0 ? [] : [`can't be held: ${named(not_held)}, go and look`]),
    ...(left_out === 0 ? [] : [`and ${left_out} more`]),
  ];
}
