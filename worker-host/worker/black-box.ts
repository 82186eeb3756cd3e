import childProcess from "node:child_process";
import crypto from "node:crypto";
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";

/** What a process was last doing, as it noted itself. */
interface LastEntered {
  /** Of the worker whose code was entered. */
  id: string;
  /** What of it: `do_fire`, `ticker`; `""` where that has no name. */
  where: string;
  /** The file and line, where it is known. */
  place: string;
}

const MAX_CHARS = 300;
/** Of three lines, in UTF-8. */
const MOST_BYTES = 3 * (4 * MAX_CHARS + 1);

/**
 * Notes whose code a process enters, in a file that outlives it, since who hangs in native code or is killed can't be
 * asked any more. A note takes a microsecond or two, and none is made while the same goes on.
 */
export class BlackBox {
  #file: number | undefined;
  #id = "";
  #where = "";

  /** @param onError told once where nothing can be noted any more */
  constructor(
    path: string,
    private readonly onError: (error: unknown) => void,
  ) {
    this.#file = openSync(path, "w");
  }

  enter(id: string, where: string, place = ""): void {
    if ((id === this.#id && where === this.#where && place === "") || this.#file === undefined) return;
    this.#id = id;
    this.#where = where;
    try {
      writeSync(this.#file, `${[id, where, place].map(oneLine).join("\n")}\n`, 0);
    } catch (error) {
      this.#file = undefined;
      this.onError(error);
    }
  }
}

/**
 * What a process noted last; `undefined` where it never entered a worker's code, or its file can't be read: it died before
 * it could begin, or the file was removed.
 */
function readBlackBox(path: string): LastEntered | undefined {
  const [id = "", where = "", place = ""] = readBegin(path).split("\n");
  return id === "" ? undefined : { id, where, place };
}

/** What stands behind that is none of ours. */
function readBegin(path: string): string {
  const begin = Buffer.alloc(MOST_BYTES);
  try {
    const file = openSync(path, "r");
    try {
      return begin.toString("utf8", 0, readSync(file, begin));
    } finally {
      closeSync(file);
    }
  } catch {
    return "";
  }
}

function oneLine(text: string): string {
  return text.slice(0, MAX_CHARS).replaceAll("\n", " ");
}

/** Functions that hold up a whole process where nobody can look into it. */
const BLOCKING: readonly [holder: object, names: readonly string[]][] = [
  [childProcess, ["execSync", "execFileSync", "spawnSync"]],
  [crypto, ["pbkdf2Sync", "scryptSync", "generateKeyPairSync", "generatePrimeSync", "checkPrimeSync"]],
  [Atomics, ["wait"]],
];

/** Has `note` called with its name before each such function runs, however it was imported. */
export function noteBlockingCalls(note: (name: string) => void): void {
  for (const [holder, names] of BLOCKING) {
    for (const name of names) {
      const original = Reflect.get(holder, name) as (...args: unknown[]) => unknown;
      Reflect.set(holder, name, function (this: unknown, ...args: unknown[]) {
        note(name);
        return Reflect.apply(original, this, args);
      });
    }
  }
  syncBuiltinESMExports();
}

/** Whose code a process is in. */
export interface StuckCode {
  id: string;
  /** For people: `at props/coffin_jumper/backend/worker.ts:42 (do_fire)`, or `in do_fire`. */
  where: string;
}

/** Whose code a process entered last, as it noted itself; `undefined` also where that can't be read. */
export function lastNoted(blackBox: string): StuckCode | undefined {
  const noted = readBlackBox(blackBox);
  if (!noted) return undefined;
  const { id, where, place } = noted;
  return { id, where: place === "" ? (where === "" ? "" : `in ${where}`) : `at ${place} (${where})` };
}
