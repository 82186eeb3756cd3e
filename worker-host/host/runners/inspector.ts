import { WebSocket } from "ws";

/** A call that a process is in; line and column from 0. */
export interface Call {
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
