import { formatCommand } from "../contract/command.ts";
import { Topics } from "../contract/topics.ts";
import type { AllStopState } from "../host/all-stop.ts";
import type { Settings } from "../host/settings.ts";
import { CallError, Calls } from "../worker/calls.ts";
import { type ClientDependencies, connect } from "./client.ts";
import type { Outcome } from "./send.ts";

export interface AllStopOptions extends ClientDependencies {
  action: "all_stop" | "all_clear";
  reason?: string;
  newId: () => string;
}

/** How long the host has to say that it has done so. */
const ANSWER_MS = 3_000;

/** Engages or clears all-stop. Where no host answers, every prop and board is told to stop all the same. */
export async function allStop(settings: Settings, options: AllStopOptions): Promise<Outcome> {
  const { action, reason, clock, newId } = options;
  const client = await connect(settings, options);
  if ("problem" in client) return { code: 1, text: `nobody was told: ${client.problem}` };
  const { connection: wire } = client;
  const topics = new Topics(settings.prefix);
  const args = { by: "cli", ...(reason === undefined ? {} : { reason }) };
  const calls = new Calls({ id: "cli", topics, wire, clock, newId });
  try {
    const state = await calls.call({ target: topics.hostName, action, args, timeoutMs: ANSWER_MS });
    return { code: 0, text: describeAllStop(state as AllStopState) };
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    if (action === "all_clear") return { code: 1, text: `all-stop is not cleared: ${error.message}` };
    const sent = await wire.publish(topics.broadcast, formatCommand("stop", undefined, newId()), { qos: 1 });
    const told = sent === "dropped" ? "nobody was told" : "all props were told to stop, but nothing keeps them stopped";
    return { code: 1, text: `${told}: ${error.message}` };
  } finally {
    await wire.stop();
  }
}

/** What holds, for people. */
export function describeAllStop({ engaged, by, reason, since }: AllStopState): string {
  const why = reason === undefined ? "" : ` (${reason})`;
  return engaged
    ? `all-stop is engaged by ${by}${why} since ${since}: nothing moves until "worker-host all-clear"`
    : "all-stop is cleared: nothing starts by itself";
}
