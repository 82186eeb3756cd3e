import { Topics } from "../contract/topics.ts";
import type { Settings } from "../host/settings/settings.ts";
import { CallError, Calls } from "../mqtt/calls.ts";
import type { Connection } from "../mqtt/connection.ts";
import { type ClientDependencies, connect } from "./client.ts";
import type { Outcome } from "./send.ts";

export interface TellHostOptions extends ClientDependencies {
  action: string;
  args: unknown;
  newId: () => string;
  /** Called before it is told. */
  before?: (connection: Connection) => Promise<void>;
  /** What is said of what the host answered. */
  describe: (result: unknown) => string;
  /** What is said where it did not do so; it may do something else instead. */
  otherwise: (error: CallError, connection: Connection) => string | Promise<string>;
}

/** How long the host has to say that it has done so; of a stop it says for 2 s who has heard it. */
const HOST_ANSWER_MS = 5_000;

/** Tells the running host to do something, and waits until it has. */
export async function tellHost(settings: Settings, options: TellHostOptions): Promise<Outcome> {
  const { action, args, clock, newId, describe, otherwise } = options;
  const client = await connect(settings, options);
  if ("problem" in client) return { code: 1, text: `nobody was told: ${client.problem}` };
  const { connection: wire } = client;
  const topics = new Topics(settings.prefix, settings.name);
  const calls = new Calls({ id: "cli", topics, wire, clock, newId });
  try {
    await options.before?.(wire);
    const result = await calls.call({ target: topics.hostName, action, args, timeoutMs: HOST_ANSWER_MS });
    return { code: 0, text: describe(result) };
  } catch (error) {
    if (error instanceof CallError) return { code: 1, text: await otherwise(error, wire) };
    throw error;
  } finally {
    await wire.stop();
  }
}
