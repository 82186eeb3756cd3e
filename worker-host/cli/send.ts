import type { Clock } from "../base/clock.ts";
import { rightsFor } from "../contract/access.ts";
import { formatCommand } from "../contract/command.ts";
import { parseRunstate } from "../contract/description.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { numberIn } from "../contract/json-schema.ts";
import { COMMAND_EXPIRY_S } from "../contract/limits.ts";
import { defined, jsonIn, parseJson } from "../contract/payload.ts";
import { assertTarget, Topics } from "../contract/topics.ts";
import type { Settings } from "../host/settings/settings.ts";
import { CallError, type CallRequest, Calls } from "../mqtt/calls.ts";
import type { Connection } from "../mqtt/connection.ts";
import { Peers } from "../mqtt/peers.ts";
import { type ClientDependencies, connect, RETAINED_MS, retained } from "./client.ts";
import { asUsage } from "./options.ts";

export interface SendOptions extends ClientDependencies {
  id: string;
  action: string;
  args: string[];
  /** The args as one JSON value. */
  json?: string;
  /** For the reply: so many seconds, or not at all. As long as the target gives that command if not given, else 30 s. */
  wait?: string | boolean;
  newId: () => string;
}

export interface Outcome {
  /** The exit code: 1 for an error, 3 where there was no reply in time. */
  code: 0 | 1 | 3;
  text: string;
}

/** Publishes one command, and waits for the reply, or until the broker has it. */
export async function send(settings: Settings, options: SendOptions): Promise<Outcome> {
  asUsage(() => assertTarget(options.id));
  const command = { target: options.id, action: checkedAction(options.action), args: argsOf(options) };
  const topics = new Topics(settings.prefix, settings.name);
  const isBroadcast = topics.command(options.id) === topics.broadcast;
  const timeoutMs = waitOf(options.wait, isBroadcast);
  const client = await connect(settings, options);
  if ("problem" in client) return { code: 1, text: `not sent: ${client.problem}` };
  const { connection } = client;
  const peers = new Peers({ topics, wire: connection, clock: options.clock, patienceMs: RETAINED_MS });
  try {
    const absence = isBroadcast
      ? Promise.resolve(undefined)
      : whyAbsent(connection, topics, peers, command.target, options.clock);
    const topic = await peers.topicOf(command.target, command.action);
    if (options.wait === false || isBroadcast)
      return await publish(connection, topic, command, options.newId(), absence);
    const timeoutOf = (target: string, action: string) => peers.timeoutOf(target, action);
    const { clock, newId } = options;
    const calls = new Calls({ id: "cli", topics, wire: connection, clock, newId, timeoutOf });
    return await call(calls, { ...command, topic, ...defined({ timeoutMs }) }, absence);
  } finally {
    await connection.stop();
  }
}

/** Why nothing runs a command to this target, in words; `undefined` where something does. */
async function whyAbsent(
  connection: Connection,
  topics: Topics,
  peers: Peers,
  target: string,
  clock: Clock,
): Promise<string | undefined> {
  const kept = retained(connection, clock, topics.runstate(target));
  const presence = await peers.presence(target);
  if (presence === "online") return undefined;
  const payload = await kept;
  const runstate = payload && parseRunstate(payload);
  if (runstate?.state === "starting") return undefined;
  if (presence === "offline") {
    const { state = "offline", detail = "" } = runstate ?? {};
    return `${target} is ${state}${detail && `: ${detail}`}`;
  }
  return `nothing has the id "${target}": "npx worker-host list" says what runs`;
}

async function publish(
  connection: Connection,
  topic: string,
  { action, args }: CallRequest,
  id: string,
  absence: Promise<string | undefined>,
): Promise<Outcome> {
  const payload = formatCommand(action, args, id);
  const result = await connection.publish(topic, payload, { qos: 1, expiryS: COMMAND_EXPIRY_S });
  if (result === "dropped") return { code: 1, text: `not sent: the broker did not take it${rightsFor(action)}` };
  const why = await absence;
  if (why !== undefined) return { code: 1, text: why };
  if (result === "sent") return { code: 0, text: `${topic} ${payload}` };
  return { code: 1, text: `nobody is subscribed to ${topic}: "npx worker-host list" says what runs` };
}

/** Sends it, and prints what its handler returned, as JSON where it is no text. */
async function call(calls: Calls, request: CallRequest, absence: Promise<string | undefined>): Promise<Outcome> {
  const absent = absence.then((why) => {
    if (why !== undefined) throw new CallError("nobody", why);
    return new Promise<never>(() => {});
  });
  try {
    const result = await Promise.race([calls.call(request), absent]);
    return { code: 0, text: typeof result === "string" ? result : (JSON.stringify(result) ?? "ok") };
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    if (error.code !== "timeout") return { code: 1, text: error.message };
    return { code: 3, text: `${error.message}; it may still run: --wait <seconds> waits longer, --no-wait not at all` };
  }
}

function waitOf(wait: string | boolean | undefined, isBroadcast: boolean): number | undefined {
  if (typeof wait !== "string") return undefined;
  if (isBroadcast)
    throw new WorkerHostError("invalid_settings", "--wait: a broadcast has no reply; all-stop says who has heard it");
  const seconds = numberIn(wait) ?? 0;
  if (seconds > 0) return seconds * 1000;
  throw new WorkerHostError("invalid_settings", `--wait ${wait}: expected seconds, such as 5`);
}

function checkedAction(action: string): string {
  if (/^\S+$/.test(action)) return action;
  throw new WorkerHostError(
    "invalid_settings",
    `"${action}" is no action: expected one word, such as "start"; its arguments follow as words of their own`,
  );
}

function argsOf({ args, json }: SendOptions): unknown {
  if (json !== undefined) {
    if (args.length > 0) throw new WorkerHostError("invalid_settings", "either arguments or --json, not both");
    try {
      return parseJson(json);
    } catch (error) {
      throw new WorkerHostError(
        "invalid_settings",
        `--json ${json}: not JSON (${(error as Error).message}); in a shell, put it in single quotes`,
      );
    }
  }
  if (args.length === 0) return undefined;
  const text = args.join(" ");
  return jsonIn(text) ?? (text === "null" ? null : text);
}
