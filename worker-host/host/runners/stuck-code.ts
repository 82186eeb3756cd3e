import { readFile } from "node:fs/promises";
import { SourceMap, type SourceMapPayload } from "node:module";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Logger } from "pino";
import { type Clock, within } from "../../base/clock.ts";
import { readBlackBox } from "../../worker/black-box.ts";
import { workerOf } from "../plan/bundle.ts";
import type { Call } from "./inspector.ts";
import type { RunnerProcess } from "./runner-process.ts";

/** Whose code a process is in. */
export interface StuckCode {
  id: string;
  /** For people: `at props/coffin_jumper/backend/worker.ts:42 (do_fire)`, or `in do_fire`. */
  where: string;
}

export interface LookOptions {
  clock: Clock;
  log: Logger;
  /** How a path is shown to people. */
  show: (path: string) => string;
  /** Whether a worker of that id runs in the process. */
  has: (id: string) => boolean;
  /** How long the process has to show what it is in. */
  lookMs: number;
}

const INLINE_MAP = /\/\/# sourceMappingURL=data:application\/json;base64,(\S+)\s*$/;

/**
 * Looks into a process that is held up: by its inspector, else by what it noted last. `debugged`: somebody has it at a
 * breakpoint.
 */
export async function findStuckCode(
  runner: RunnerProcess,
  blackBox: string,
  { clock, show, log, has, lookMs }: LookOptions,
): Promise<StuckCode | "debugged" | undefined> {
  const over = new AbortController();
  const isTheirs = (script: string) => has(workerOf(script) ?? "");
  // Its WebSocket, with the fourth of Node that this needs, is loaded while the process opens its inspector.
  const looking = Promise.all([runner.inspect(), import("./inspector.ts")]).then(([url, { callsOf }]) =>
    callsOf(url, isTheirs, over.signal),
  );
  try {
    const looked = await within(clock, lookMs, looking);
    if (looked && looked.value === undefined) return "debugged";
    for (const frame of looked?.value ?? []) {
      const id = workerOf(frame.url);
      if (id !== undefined && has(id)) return { id, where: await describe(frame, looked?.value ?? [], show) };
    }
  } catch (error) {
    // Who died while we looked left its note all the same.
    log.debug({ err: error }, "can't look into the process of the workers");
  } finally {
    over.abort(new Error("enough seen"));
  }
  return lastNoted(blackBox);
}

/** Whose code a process entered last, as it noted itself; `undefined` also where that can't be read. */
export function lastNoted(blackBox: string): StuckCode | undefined {
  const noted = readBlackBox(blackBox);
  if (!noted) return undefined;
  const { id, where, place } = noted;
  return { id, where: place === "" ? (where === "" ? "" : `in ${where}`) : `at ${place} (${where})` };
}

async function describe(frame: Call, all: Call[], show: (path: string) => string): Promise<string> {
  const named = all.find(({ functionName, url }) => url === frame.url && functionName !== "");
  const place = await placeOf(frame, show);
  return named ? `at ${place} (${named.functionName})` : `at ${place}`;
}

/** The file and line of the source. */
async function placeOf({ url, lineNumber, columnNumber }: Call, show: (path: string) => string): Promise<string> {
  const bundle = fileURLToPath(url);
  const [, encoded = ""] = INLINE_MAP.exec(await readFile(bundle, "utf8")) ?? [];
  const payload = JSON.parse(Buffer.from(encoded, "base64").toString()) as SourceMapPayload;
  const entry = new SourceMap(payload).findEntry(lineNumber, columnNumber);
  if (!("originalSource" in entry)) return show(bundle);
  return `${show(resolve(dirname(bundle), entry.originalSource))}:${entry.originalLine + 1}`;
}
