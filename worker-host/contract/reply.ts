import { messageOf } from "./errors.ts";
import { jsonOf } from "./payload.ts";

/** What came of a command. */
export interface Reply {
  /** The `id` that the command had. */
  id?: string;
  /** The id of the worker, board or host that answers. */
  from?: string;
  status: "ok" | "error";
  /** What the handler returned. */
  result?: unknown;
  /** Why not, in words. */
  error?: string;
  /** The handler was not called. */
  refused?: true;
  /** How long it took, in ms. */
  ms: number;
}

/** The payload of a reply. A result that has no JSON is left out, in words. */
export function formatReply(reply: Reply): string {
  try {
    return JSON.stringify(reply);
  } catch (error) {
    const { result: _, ...rest } = reply;
    return JSON.stringify({ ...rest, status: "error", error: `its result is not JSON: ${messageOf(error)}` });
  }
}

/** Reads a reply; `undefined` where a payload is none. */
export function parseReply(payload: Uint8Array): Reply | undefined {
  const reply = jsonOf(payload) as Partial<Reply> | null | undefined;
  if (reply?.status !== "ok" && reply?.status !== "error") return undefined;
  const { status, result, refused, id, from, error, ms } = reply;
  return {
    status,
    ms: typeof ms === "number" ? ms : 0,
    ...(typeof id === "string" ? { id } : {}),
    ...(typeof from === "string" ? { from } : {}),
    ...(typeof error === "string" ? { error } : {}),
    ...(refused === true ? { refused } : {}),
    ...(result === undefined ? {} : { result }),
  };
}
