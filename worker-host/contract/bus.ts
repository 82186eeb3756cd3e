import { parseCommand } from "./command.ts";
import { parseRunstate } from "./description.ts";
import { jsonIn, jsonOf } from "./payload.ts";
import { assertTopicFilter, matchesFilter, type Topics } from "./topics.ts";

/** What stands where a secret was. */
export const HIDDEN = "[hidden]";

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
export function filterMeant({ prefix }: Topics, word: string | undefined): string {
  const isWhole = word !== undefined && (/[+#]/.test(word) || /^\$/.test(word) || `${word}/`.startsWith(`${prefix}/`));
  const filter = word === undefined ? `${prefix}/#` : isWhole ? word : `${prefix}/${word}/#`;
  assertTopicFilter(filter);
  return filter;
}

/** The payload of a message without the config that a `configure` command brings, in which there may be secrets. */
export function withoutConfig(topic: string, payload: Uint8Array): Uint8Array {
  if (!/\/cmd$/.test(topic)) return payload;
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
export type ReplayFate = "said" | "command" | "never";

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
  if (key === "status/runstate") return [parseRunstate(payload)?.host ?? ""];
  if (key === "description")
    return Array.isArray((jsonOf(payload) as { workers?: unknown } | null)?.workers) ? [id] : [];
  return ["uptime", "claim", "status/all_stop"].some((own) => matchesFilter(own, key)) ? [id] : [];
}
