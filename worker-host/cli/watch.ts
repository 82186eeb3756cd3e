import type { Command } from "commander";
import { HIDDEN, Secrets } from "../base/log.ts";
import { parseCommand } from "../contract/command.ts";
import { describesHost, parseRunstate } from "../contract/description.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { decodeText, jsonIn, jsonOf, printable, printableJson } from "../contract/payload.ts";
import { assertTopicFilter, matchesFilter, Topics } from "../contract/topics.ts";
import type { Message } from "../mqtt/wire.ts";
import { brokerOf, connect } from "./client.ts";
import { asUsage, type Edges, type Flags, forConnecting, withSettings } from "./options.ts";
import { payloadInJson, RecordingWriter } from "./recording.ts";

/** Whose topic it is, and what follows the id; `undefined` for one that isn't under the prefix. */
export interface Place {
  id: string;
  key: string;
}

export function placeOf(prefix: string, topic: string): Place | undefined {
  if (!topic.startsWith(`${prefix}/`)) return undefined;
  const [id = "", ...rest] = topic.slice(prefix.length + 1).split("/");
  return { id, key: rest.join("/") };
}

/** The topic at a place under another prefix. */
export function topicAt(prefix: string, { id, key }: Place): string {
  return `${prefix}/${id}/${key}`;
}

/**
 * The MQTT filter that a person means: an id (`fogger`), an id and what follows it (`fogger/telemetry`), or a whole
 * filter, which has a wildcard or begins with the prefix or with `$`; without a word, all under the prefix.
 *
 * @throws WorkerHostError `invalid_topic`
 */
function filterMeant({ prefix }: Topics, word: string | undefined): string {
  const isWhole = word !== undefined && (/[+#]/.test(word) || /^\$/.test(word) || `${word}/`.startsWith(`${prefix}/`));
  const filter = word === undefined ? `${prefix}/#` : isWhole ? word : `${prefix}/${word}/#`;
  assertTopicFilter(filter);
  return filter;
}

/** The payload of a message without the config that a `configure` command brings, in which there may be secrets. */
function withoutConfig(topic: string, payload: Uint8Array): Uint8Array {
  if (topic.split("/").at(-1) !== "cmd") return payload;
  const { command } = parseCommand(payload);
  const hidden = (text: string) => new TextEncoder().encode(text);
  if (!command) {
    const begin = new TextDecoder("latin1").decode(payload);
    return /configure/i.test(begin) ? hidden(`${HIDDEN}: a configure command that can't be read`) : payload;
  }
  if (command.action.toLowerCase() !== "configure") return payload;
  const args = command.text ? jsonIn(String(command.args ?? "")) : command.args;
  const { id } = (args ?? {}) as { id?: unknown };
  const kept = { ...(typeof id === "string" ? { id } : {}), config: HIDDEN };
  const sender = command.id === undefined ? {} : { id: command.id };
  return hidden(JSON.stringify({ action: command.action, args: kept, ...sender }));
}

/** Of a status: what only a host, a will or a connection may say. */
const NEVER: ReadonlySet<string> = new Set(["availability", "runstate", "lock_out", "all_stop", "all_stop_heard"]);

/** What hosts, and boards, are told and would do: not every host in a recording can be known for one. */
const NOT_AGAIN: ReadonlySet<string> = new Set([
  ...["all_clear", "operator_alive", "lock_out", "release", "configure", "rename"],
  ...["restart_worker", "start_worker", "stop_worker"],
]);

/** Whether a recorded command may be sent to a prop once more. */
export function maySendAgain(action: string): boolean {
  return !NOT_AGAIN.has(action.toLowerCase());
}

/** What may become of a recorded message when it is played back: `command` only where that is asked for. */
type ReplayFate = "said" | "command" | "never";

/** @param hosts the ids that are hosts: what they say, and what they are told, is never repeated */
export function replayFateOf({ id, key }: Place, hosts: ReadonlySet<string>): ReplayFate {
  const [kind, first, ...more] = key.split("/");
  if (hosts.has(id)) return "never";
  if (key === "cmd") return "command";
  if (id === "broadcast") return "never";
  if (kind === "state") return first === undefined ? "said" : "never";
  if (first === undefined || first === "") return "never";
  if (kind === "status") return more.length === 0 && NEVER.has(first) ? "never" : "said";
  return kind === "telemetry" ? "said" : "never";
}

/** The names of hosts that a message gives away. */
export function hostsSeenIn({ id, key }: Place, payload: Uint8Array): string[] {
  const [kind, first] = key.split("/");
  if (kind === "status" && first === "runstate") return [parseRunstate(payload)?.host ?? ""];
  if (key === "description") return describesHost(jsonOf(payload), id) ? [id] : [];
  return ["uptime", "claim", "status/all_stop"].some((own) => matchesFilter(own, key)) ? [id] : [];
}

interface BusLineOptions {
  prefix: string;
  /** Of the terminal, if it is one. */
  columns: number | undefined;
  colors: boolean;
}

/** Where it isn't a terminal. */
const LONGEST = 4_096;
/** More bytes are not looked at. */
const MOST_BYTES = 65_536;
const BYTES_SHOWN = 32;

/** White space between the parts of a JSON text; the texts in it are taken as they are. */
const SPACE_IN_JSON = /("(?:[^"\\]|\\.)*")|\s+/g;
const WIDE =
  /[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{20000}-\u{3fffd}]/u;

/** A message on one line for people: when, who, what, and the value. */
export function busLine(message: Message, at: Date, { prefix, columns = LONGEST, colors }: BusLineOptions): string {
  const place: Place = placeOf(prefix, message.topic) ?? { id: message.topic, key: "" };
  const paint = (code: number, text: string) => (colors ? `\u001b[${code}m${text}\u001b[0m` : text);
  const parts: [number, string][] = [
    [2, timeOf(at)],
    [36, printable(place.id).padEnd(16)],
    [colorOf(place), printable(place.key).padEnd(24)],
    [0, `${message.retain ? "(retained) " : ""}${shownValue(message.payload)}`],
  ];
  let room = columns;
  const line = parts.map(([code, text]) => {
    const part = cut(text, room);
    room -= widthOf(part) + 1;
    return code === 0 ? part : paint(code, part);
  });
  return line.join(" ").trimEnd();
}

function timeOf(at: Date): string {
  const two = (number: number) => String(number).padStart(2, "0");
  const ms = String(at.getMilliseconds()).padStart(3, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${ms}`;
}

function colorOf({ key }: Place): number {
  return (
    new Map([
      ["status/error", 31],
      ["status/warn", 33],
      ["cmd", 35],
    ]).get(key) ?? 32
  );
}

function shownValue(payload: Uint8Array): string {
  if (payload.length === 0) return "(empty)";
  if (payload.length > MOST_BYTES) return `(${payload.length} bytes)`;
  const text = decodeText(payload);
  if (text === undefined) {
    const hex = Buffer.from(payload.subarray(0, BYTES_SHOWN)).toString("hex");
    return `(${payload.length} bytes: ${hex}${payload.length > BYTES_SHOWN ? "…" : ""})`;
  }
  const folded = /^\s*[[{]/.test(text) && jsonIn(text) !== undefined ? text.trim().replace(SPACE_IN_JSON, "$1") : text;
  return printable(folded);
}

function widthOf(text: string): number {
  let width = 0;
  for (const sign of text) width += signWidth(sign);
  return width;
}

function signWidth(sign: string): number {
  if (sign < "\u0300") return 1;
  return WIDE.test(sign) ? 2 : /\p{Mark}/u.test(sign) ? 0 : 1;
}

/** The begin of a text that has room, with a sign that says where more was there. */
function cut(text: string, width: number): string {
  if (width < 1) return "";
  // Signs without a width of their own are few.
  const begin = text.slice(0, 4 * width);
  if (begin === text && widthOf(text) <= width) return text;
  let room = width - 1;
  let kept = "";
  for (const sign of begin) {
    room -= signWidth(sign);
    if (room < 0) break;
    kept += sign;
  }
  return `${kept}…`;
}

export function addWatch(program: Command, edges: Edges): void {
  withSettings(program.command("watch"), forConnecting)
    .description("print what is said on the broker, until stopped")
    .argument("[filter]", "an id (fogger), an id and a key (fogger/telemetry), or an MQTT filter (zigbee2mqtt/#)")
    .option("--json", "an object of JSON on each line")
    .option("--record <file>", "write it into a new file too, for worker-host replay")
    .addHelpText("after", "\nExample:\n  worker-host watch fogger/telemetry")
    .action((filter: string | undefined, flags: Flags) => watch(filter, flags, edges));
}

async function watch(word: string | undefined, flags: Flags, edges: Edges): Promise<void> {
  const { clock, env, forPeople, sayShown, note, exit, fail } = edges;
  const settings = edges.settingsFrom(flags);
  const { prefix } = settings;
  const filter = asUsage(() => filterMeant(new Topics(prefix, settings.name), word));
  const secrets = new Secrets();
  secrets.add(brokerOf(settings, clock).password);
  const client = await connect(settings, {
    ...edges,
    onDown: (text) => note(`${text}; trying again until it works`),
    onUp: () => note("connected again"),
  });
  if ("problem" in client) throw new WorkerHostError("timeout", client.problem);
  const { connection } = client;
  const path = typeof flags.record === "string" ? flags.record : undefined;
  const recording = path === undefined ? undefined : new RecordingWriter(path, prefix, clock);
  const end = () => {
    recording?.close();
    if (recording) note(`${recording.count} messages are recorded in ${path}`);
    exit(0);
  };
  edges.onSignal(end);
  edges.onClosedOutput(end);
  const colors = forPeople && !env.NO_COLOR;
  const take = (raw: Message) => {
    const message = cleaned(raw, secrets);
    const now = clock.now();
    recording?.add(message);
    sayShown(
      flags.json === true
        ? inJson(message, now)
        : busLine(message, new Date(now), { prefix, columns: edges.columns(), colors }),
    );
  };
  await connection.subscribe(filter, (message) => {
    try {
      take(message);
    } catch (error) {
      fail(error);
    }
  });
  note(`watching ${printable(filter)}; Ctrl-C ends it`);
}

/** A message without what nobody is to see. */
function cleaned(message: Message, secrets: Secrets): Message {
  const payload = withoutConfig(message.topic, message.payload);
  const text = decodeText(payload) ?? Buffer.from(payload).toString("latin1");
  const clean = secrets.cleanText(text);
  const isText = decodeText(payload) !== undefined;
  const shown = clean === text ? payload : Buffer.from(isText ? clean : HIDDEN);
  return { ...message, topic: secrets.cleanText(message.topic), payload: shown };
}

function inJson({ topic, payload, qos, retain }: Message, now: number): string {
  const time = new Date(now).toISOString();
  return printableJson(JSON.stringify({ time, topic, ...payloadInJson(payload), qos, retain }));
}
