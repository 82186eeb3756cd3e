import { formatCommand } from "../contract/command.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { assertTarget, Topics } from "../contract/topics.ts";
import type { Settings } from "../host/settings.ts";
import { type ClientDependencies, connect } from "./client.ts";

export interface SendOptions extends ClientDependencies {
  id: string;
  action: string;
  args: string[];
  /** The args as one JSON value. */
  json?: string;
  newId: () => string;
}

export interface Outcome {
  ok: boolean;
  text: string;
}

/** Publishes one command, and waits until the broker has it. */
export async function send(settings: Settings, options: SendOptions): Promise<Outcome> {
  const { id, action } = options;
  const topic = new Topics(settings.prefix).command(checkedId(id));
  const payload = formatCommand(checkedAction(action), argsOf(options), options.newId());
  const client = await connect(settings, options);
  if ("problem" in client) return { ok: false, text: `not sent: ${client.problem}` };
  const result = await client.connection.publish(topic, payload, { qos: 1, expiryS: 5 });
  await client.connection.stop();
  if (result === "sent") return { ok: true, text: `${topic} ${payload}` };
  if (result === "unheard")
    return { ok: false, text: `nobody is subscribed to ${topic}: "worker-host list" says what runs` };
  return { ok: false, text: "not sent: the broker did not take it" };
}

function checkedId(id: string): string {
  try {
    assertTarget(id);
  } catch (error) {
    throw asUsage(error);
  }
  return id;
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
      return JSON.parse(json);
    } catch (error) {
      throw new WorkerHostError(
        "invalid_settings",
        `--json ${json}: not JSON (${(error as Error).message}); in a shell, put it in single quotes`,
      );
    }
  }
  if (args.length === 0) return undefined;
  const text = args.join(" ");
  try {
    const value: unknown = JSON.parse(text);
    // The digits of a tag or a phone are no number that survives.
    return typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER ? text : value;
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}

function asUsage(error: unknown): unknown {
  return error instanceof WorkerHostError ? new WorkerHostError("invalid_settings", error.message) : error;
}
