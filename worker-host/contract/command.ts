import { messageOf, textOf } from "./errors.ts";
import { MAX_COMMAND_BYTES, MAX_COMMAND_ID_CHARS, MOST_JSON_LEVELS } from "./limits.ts";
import { decodeText, defined, encodePayload, isDeeperThan, jsonOf, parseJson as parseExactly } from "./payload.ts";

/** What somebody asks a prop to do. */
export interface Command {
  /** `fire` calls `do_fire`. */
  action: string;
  /** Text for a text command; any JSON value for a JSON one; `undefined` for none. */
  args: unknown;
  /** It was sent as text, so that `args` is to be read as the action expects it. */
  text?: true;
  /** The sender's own name for this command. */
  id?: string;
  /** The topic to which its sender wants the reply. */
  replyTo?: string;
  /** When it is no longer to be run, in ms since 1970. */
  expiresAt?: number;
  /** Of a `stop` that a host sends, what it is for. */
  reason?: HaltReason;
}

/** What holds a prop still until it is ended: all-stop, or a lock-out. */
export type HaltReason = "all_stop" | "lock_out";

/** A command, or why there is none, in words for its sender; `forgiven` is what of a stop was wrong, and left out. */
export type ParsedCommand =
  | { command: Command; forgiven?: string; refusal?: never }
  | { command?: never; forgiven?: never; refusal: string };

/** What every worker, board and host obeys, whatever else is wrong with the command. */
export const STOP = "stop";
/** The host's: `stop` for everything, until it is cleared. */
export const ALL_STOP = "all_stop";

/** What may stand around a stop: ASCII and general punctuation, controls, and what was no UTF-8. */
const MARK = String.raw`[^\w\s\x80-\xa0\xc0-\u200a\u2070-\ufffc\ufffe-\uffff]`;
const stopAfter = (before: string) =>
  new RegExp(String.raw`^${MARK}*(?:(${before})[-_ ]?)?stop(?:[=\0]\S*|${MARK}*)(?:\s|$)`, "i");
/** As a person, a button or a program may send them: `Stop`, `ALL-STOP`, `"stop!"`, `stop;`, `["stop"]`, `stop=1`. */
const STOP_TEXT = stopAfter("all");
const EMERGENCY_TEXT = stopAfter("e|emergency");
/** The first field of what looks like JSON that may name the action. */
const ACTION_FIELD = /["' \t\r\n{,](?:action|command|cmd)["']?[ \t\r\n]*[:=][ \t\r\n]*["']?([^"'},\]\r\n]*)/i;

const loose = new TextDecoder();

/**
 * Reads a command: text, `action` or `action rest of line`, or a JSON object. What would be refused and means a stop is
 * one all the same. Never throws, whatever the bytes.
 */
export function parseCommand(payload: Uint8Array): ParsedCommand {
  const parsed = parseWhole(payload);
  if (parsed.refusal === undefined) return parsed;
  const text = loose.decode(payload.subarray(0, MAX_COMMAND_BYTES)).trim();
  const stop = readStop(text.startsWith("{") ? (ACTION_FIELD.exec(text)?.[1] ?? "").trim() : text);
  if (!stop) return parsed;
  const fault = parsed.refusal.slice(parsed.refusal.indexOf(REFUSED) + REFUSED.length);
  return { command: { action: stop.action, args: undefined }, forgiven: fault };
}

/** What stands before the fault in each refusal. */
const REFUSED = "refused: ";

/** The stop that a text means, and what follows it; `undefined` where it means something else. */
function readStop(text: string): { action: string; rest: string } | undefined {
  const found = STOP_TEXT.exec(text);
  return found
    ? { action: found[1] === undefined ? STOP : ALL_STOP, rest: text.slice(found[0].length).trim() }
    : undefined;
}

/** Whether a command is `emergency_stop`, `e-stop` or the like, which stops what has no command of that name. */
export function isEmergencyStop({ action, args }: Command): boolean {
  return EMERGENCY_TEXT.exec(typeof args === "string" ? `${action} ${args}` : action)?.[1] !== undefined;
}

function parseWhole(payload: Uint8Array): ParsedCommand {
  if (payload.byteLength > MAX_COMMAND_BYTES) {
    return { refusal: `command of ${payload.byteLength} bytes refused: a command has at most ${MAX_COMMAND_BYTES}` };
  }
  const decoded = decodeText(payload);
  if (decoded === undefined) return { refusal: "command refused: its bytes are not UTF-8 text" };
  const text = decoded.trim();
  if (text === "") return { refusal: 'empty command refused: send an action, such as "ping"' };
  return text.startsWith("{") ? parseJson(text) : { command: parseText(text) };
}

function parseText(text: string): Command {
  const stop = readStop(text);
  if (stop) return { action: stop.action, args: stop.rest || undefined, text: true };
  const space = text.search(/\s/);
  if (space === -1) return { action: text, args: undefined, text: true };
  return { action: text.slice(0, space), args: text.slice(space).trim(), text: true };
}

function parseJson(text: string): ParsedCommand {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(text);
  } catch (error) {
    return {
      refusal: `command refused: it starts with "{" but is not JSON (${(error as Error).message}); in a shell, put it in single quotes`,
    };
  }
  if (isDeeperThan(fields, MOST_JSON_LEVELS)) {
    return { refusal: `command refused: it is nested more than ${MOST_JSON_LEVELS} levels deep` };
  }
  const { args } = parseExactly(text, fields) as Record<string, unknown>;
  const { action, id, reply_to: replyTo, expires_at: expiresAt, reason } = fields;
  if (action === undefined) return { refusal: 'command refused: no "action" in it; write {"action": "ping"}' };
  const stop = typeof action === "string" ? readStop(action.trim()) : undefined;
  if (typeof action !== "string" || (!stop && !/^\S+$/.test(action.trim()))) {
    return {
      refusal: `command refused: "action" is ${quote(action)}; expected one word, such as "ping"; what follows it goes into "args"`,
    };
  }
  const command: Command = { action: stop?.action ?? action.trim(), args: args ?? undefined };
  if (command.action === STOP && (reason === "all_stop" || reason === "lock_out")) command.reason = reason;
  const faults: string[] = [];
  const idFault = faultOfCommandId(id);
  if (idFault !== undefined) faults.push(idFault);
  else if (typeof id === "string") command.id = id;
  if (typeof replyTo === "string") command.replyTo = replyTo;
  else if (isGiven(replyTo)) faults.push(`"reply_to" is ${quote(replyTo)}; expected a topic`);
  if (typeof expiresAt === "number" && Number.isFinite(expiresAt)) command.expiresAt = expiresAt;
  else if (isGiven(expiresAt)) faults.push(`"expires_at" is ${quote(expiresAt)}; expected ms since 1970`);
  const [first] = faults;
  if (first === undefined) return { command };
  const isStop = command.action === STOP || command.action === ALL_STOP;
  return isStop ? { command, forgiven: faults.join("; ") } : { refusal: `command refused: ${first}` };
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function faultOfCommandId(id: unknown): string | undefined {
  if (!isGiven(id)) return undefined;
  if (typeof id !== "string") return `"id" is ${quote(id)}; expected a text`;
  if (id.length <= MAX_COMMAND_ID_CHARS) return undefined;
  return `"id" has ${id.length} characters; expected ${MAX_COMMAND_ID_CHARS} at most`;
}

/**
 * The JSON payload of a command that we send; `id` lets its receiver refuse a second delivery.
 *
 * @throws WorkerHostError `invalid_value` for args that have no JSON
 */
export function formatCommand(action: string, args: unknown, id: string, replyTo?: string, expiresAt?: number): string {
  const payload = { action, args: args ?? null, id, ...defined({ reply_to: replyTo, expires_at: expiresAt }) };
  return encodePayload(payload) as string;
}

/** The payload of a `stop` that the host sends, for all-stop or for a lock-out; who obeys it answers to `replyTo`. */
export function formatStop(reason: HaltReason, id: string, replyTo: string): string {
  return JSON.stringify({ action: STOP, args: null, id, reply_to: replyTo, reason });
}

/** A value from outside, short enough to stand in a message. */
export function quote(value: unknown): string {
  const text = typeof value === "object" ? textOf(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** How a payload begins, in quotes, for people. */
export function quoteBytes(payload: Uint8Array): string {
  return quote(new TextDecoder().decode(payload.subarray(0, 60)));
}

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

const TOO_DEEP = `its result is nested more than ${MOST_JSON_LEVELS} levels deep`;

/** Reads a reply, of which a result that can't be passed on is an error; `undefined` where a payload is none. */
export function parseReply(payload: Uint8Array): Reply | undefined {
  const reply = jsonOf(payload) as Partial<Reply> | null | undefined;
  if (reply?.status !== "ok" && reply?.status !== "error") return undefined;
  const { result, refused, id, from, ms } = reply;
  const isTooDeep = isDeeperThan(result, MOST_JSON_LEVELS);
  const status = isTooDeep ? "error" : reply.status;
  const error = isTooDeep ? TOO_DEEP : reply.error;
  return {
    status,
    ms: typeof ms === "number" ? ms : 0,
    ...(typeof id === "string" ? { id } : {}),
    ...(typeof from === "string" ? { from } : {}),
    ...(typeof error === "string" ? { error } : {}),
    ...(refused === true ? { refused } : {}),
    ...(isTooDeep ? {} : defined({ result })),
  };
}
