import { readFile } from "node:fs/promises";
import { SourceMap, type SourceMapPayload } from "node:module";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Logger } from "pino";
import { WebSocket } from "ws";
import { type Clock, within } from "../../base/clock.ts";
import { lastNoted, type StuckCode } from "../../worker/black-box.ts";
import { workerOf } from "../plan/bundle.ts";
import type { RunnerProcess } from "./runner-process.ts";

interface LookOptions {
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
  const looking = runner.inspect().then((url) => callsOf(url, isTheirs, over.signal));
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

/** A call that a process is in; line and column from 0. */
interface Call {
  functionName: string;
  /** Of the script. */
  url: string;
  lineNumber: number;
  columnNumber: number;
}

/** A message of the Chrome DevTools Protocol. */
type Answer =
  | { id: number; method?: undefined }
  | { id?: undefined; method: "Debugger.scriptParsed"; params: { scriptId: string; url: string } }
  | { id?: undefined; method: "Debugger.paused"; params: { callFrames: CallFrame[] } };

interface CallFrame {
  functionName: string;
  location: { scriptId: string; lineNumber: number; columnNumber: number };
}

const ENABLE = 1;
const PAUSE = 2;
const STEP = 3;
const NUDGE = 4;
/** It is halted between two calls of a worker's code now and then, in Node's own: a step or two further is the next. */
const MAX_STEPS = 200;

/**
 * Halts a process by its inspector, and gives the calls that it is in, the innermost first, once a call of a script
 * that is `wanted` is among them; `undefined` where it is at a breakpoint already. Settles when it has come to a place
 * where it can be halted, which in native code is never.
 */
export function callsOf(
  url: string,
  wanted: (script: string) => boolean,
  signal: AbortSignal,
): Promise<Call[] | undefined> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    const send = (id: number, method: string) => socket.send(JSON.stringify({ id, method }));
    let asked = false;
    let steps = 0;
    let nudging = false;
    // Node's inspector leaves Nagle's algorithm on (RFC 896): each thing that it says would wait 44 ms for the system's
    // acknowledgement of the one before, unless that goes out at once with something that is sent.
    const nudge = () => {
      if (nudging) return;
      nudging = true;
      queueMicrotask(() => {
        nudging = false;
        if (socket.readyState === WebSocket.OPEN) send(NUDGE, "Runtime.getIsolateId");
      });
    };
    const urls = new Map<string, string>();
    const take = (answer: Answer) => {
      if (asked) nudge();
      if (answer.id === ENABLE) {
        asked = true;
        send(PAUSE, "Debugger.pause");
      } else if (answer.method === "Debugger.scriptParsed") urls.set(answer.params.scriptId, answer.params.url);
      else if (answer.method === "Debugger.paused") {
        const calls = answer.params.callFrames.map(({ functionName, location: { scriptId, ...place } }) => ({
          functionName,
          url: urls.get(scriptId) ?? "",
          ...place,
        }));
        if (!asked) resolve(undefined);
        else if (steps++ === MAX_STEPS || calls.some((call) => wanted(call.url))) resolve(calls);
        else send(STEP, "Debugger.stepInto");
      }
    };
    socket.once("open", () => send(ENABLE, "Debugger.enable"));
    socket.on("message", (data) => {
      try {
        take(JSON.parse(String(data)) as Answer);
      } catch (error) {
        // A worker may have named another address than that of the inspector.
        reject(error);
      }
    });
    socket.on("error", reject);
    socket.once("close", () => reject(new Error("the inspector closed the connection")));
    signal.addEventListener("abort", () => {
      reject(signal.reason as Error);
      socket.terminate();
    });
  });
}
