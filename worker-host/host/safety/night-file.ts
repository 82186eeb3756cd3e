import { rename } from "node:fs/promises";
import { readJsonFile } from "../../base/durable-file.ts";
import { quote } from "../../contract/command.ts";
import { describeError } from "../../contract/errors.ts";
import { faultOfId } from "../../contract/topics.ts";

/** One prop's lock-out; a second one of the same prop is another. */
export interface LockOut {
  reason: string;
}

/** What holds for the night. */
export interface Night {
  /** Edits wait. */
  show: boolean;
  /** Why a prop takes no command, by its id. */
  lockOuts: ReadonlyMap<string, LockOut>;
}

/** What a file of the night says, and what of it can't be read. */
interface Read {
  night: Night;
  faults: string[];
}

/** A longer reason is cut. */
export const LONGEST_REASON = 200;

const NOTHING: Night = { show: false, lockOuts: new Map() };

/** What the file of a night holds, as JSON. */
export function encodeNight({ show, lockOuts }: Night): unknown {
  return { show, lockOuts: Object.fromEntries([...lockOuts].map(([id, { reason }]) => [id, reason])) };
}

/**
 * Reads the file of a night. What can't be read of it restrains: edits wait, and who has no readable reason is locked
 * out. A damaged file is set aside, and `damage` tells of it.
 */
export async function readNight(file: string, now: number): Promise<{ night: Night; damage?: string }> {
  const { night, faults } = await read(file);
  if (faults.length === 0) return { night };
  const kept = await setAside(file, now);
  const held = [...night.lockOuts.keys()].join(", ") || "none";
  const edits = night.show ? 'Edits wait until "show off"' : "Edits are taken in";
  const damage =
    `${file} is damaged (${faults.join("; ")}): ${kept}. Locked out by it: ${held}; and of this host's ids those ` +
    `whose topic says so. ${edits}. Look at it, and lock out anew who is missing`;
  return { night, damage };
}

async function read(file: string): Promise<Read> {
  try {
    return (await readJsonFile(file, parseNight)) ?? { night: NOTHING, faults: [] };
  } catch (error) {
    return { night: { ...NOTHING, show: true }, faults: [describeError(error)] };
  }
}

function parseNight(value: unknown): Read {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { night: { ...NOTHING, show: true }, faults: ["it is no JSON object"] };
  }
  const { show, lockOuts } = value as Partial<Record<string, unknown>>;
  const faults: string[] = [];
  if (typeof show !== "boolean") faults.push(`"show" is ${quote(show)}; expected true or false`);
  const night = { show: show !== false, lockOuts: lockOutsIn(lockOuts, faults) };
  return { night, faults };
}

function lockOutsIn(value: unknown, faults: string[]): Map<string, LockOut> {
  const lockOuts = new Map<string, LockOut>();
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    faults.push(`"lockOuts" is ${quote(value)}; expected an object`);
    return lockOuts;
  }
  for (const [id, reason] of Object.entries(value)) {
    const fault = faultOfId(id);
    if (fault !== undefined) faults.push(fault);
    else if (typeof reason === "string" && reason !== "") lockOuts.set(id, { reason: reason.slice(0, LONGEST_REASON) });
    else {
      faults.push(`the reason of ${id} is ${quote(reason)}; expected a text`);
      lockOuts.set(id, { reason: "its reason can't be read" });
    }
  }
  return lockOuts;
}

/** Gives a file another name, so that it can be looked at; says in words what became of it. */
async function setAside(file: string, now: number): Promise<string> {
  const aside = `${file}.damaged-${new Date(now).toISOString().replaceAll(":", "-")}`;
  try {
    await rename(file, aside);
    return `it is kept as ${aside}`;
  } catch (error) {
    return `it can't be kept as ${aside} (${describeError(error)}), and is written anew`;
  }
}
