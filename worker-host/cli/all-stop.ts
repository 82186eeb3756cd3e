import { formatCommand } from "../contract/command.ts";
import { Topics } from "../contract/topics.ts";
import type { AllStopState } from "../host/all-stop.ts";
import type { Settings } from "../host/settings.ts";
import type { ClientDependencies } from "./client.ts";
import { lineFor } from "./options.ts";
import type { Outcome } from "./send.ts";
import { tellHost } from "./tell-host.ts";

export interface AllStopOptions extends ClientDependencies {
  action: "all_stop" | "all_clear";
  reason?: string;
  newId: () => string;
}

/** Engages or clears all-stop. Where no host answers, every prop and board is told to stop all the same. */
export function allStop(settings: Settings, options: AllStopOptions): Promise<Outcome> {
  const { action, reason, newId } = options;
  const { broadcast } = new Topics(settings.prefix);
  return tellHost(settings, {
    ...options,
    args: { by: "cli", ...(reason === undefined ? {} : { reason }) },
    describe: (state) => describeAllStop(state as AllStopState, settings.name),
    otherwise: async (error, connection) => {
      if (action === "all_clear") return `all-stop is not cleared: ${error.message}`;
      const sent = await connection.publish(broadcast, formatCommand("stop", undefined, newId()), { qos: 1 });
      const told = "all props were told to stop, but nothing keeps them stopped";
      return `${sent === "dropped" ? "nobody was told" : told}: ${error.message}`;
    },
  });
}

/** What holds at the host of that name, for people. */
export function describeAllStop({ engaged, by, reason, since }: AllStopState, name: string): string {
  const why = reason === undefined ? "" : ` (${reason})`;
  return engaged
    ? `all-stop is engaged by ${by}${why} since ${since}: nothing moves until ${lineFor("all-clear", name)}`
    : "all-stop is cleared: nothing starts by itself";
}
