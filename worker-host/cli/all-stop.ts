import { formatCommand, STOP } from "../contract/command.ts";
import { describeHeard, readHeard } from "../contract/heard.ts";
import { decodeText } from "../contract/payload.ts";
import { Topics } from "../contract/topics.ts";
import type { AllStopAnswer, AllStopState } from "../host/safety/all-stop.ts";
import type { Settings } from "../host/settings/settings.ts";
import type { Connection } from "../mqtt/connection.ts";
import type { ClientDependencies } from "./client.ts";
import { lineFor } from "./options.ts";
import type { Outcome } from "./send.ts";
import { tellHost } from "./tell-host.ts";

export interface AllStopOptions extends ClientDependencies {
  action: "all_stop" | "all_clear";
  reason?: string;
  newId: () => string;
  /** Tells the person at once, before it is known who has heard. */
  say: (text: string) => void;
}

/** Engages or clears all-stop. Where no host answers, every prop and board is told to stop all the same. */
export function allStop(settings: Settings, options: AllStopOptions): Promise<Outcome> {
  const { action, reason, newId, say } = options;
  const topics = new Topics(settings.prefix, settings.name);
  let engaged = false;
  return tellHost(settings, {
    ...options,
    args: { by: "cli", ...(reason === undefined ? {} : { reason }) },
    before: async (connection) => {
      if (action === "all_stop")
        await whenEngaged(connection, topics, () => {
          if (!engaged) say("all-stop is engaged");
          engaged = true;
        });
    },
    describe: (answer) => describeAnswer(answer as AllStopAnswer, settings.name).join("\n"),
    otherwise: async (error, connection) => {
      if (action === "all_clear") return `all-stop is not cleared: ${error.message}`;
      if (engaged) return `all-stop is engaged, but who has heard it is not known: ${error.message}`;
      const sent = await connection.publish(topics.broadcast, formatCommand(STOP, undefined, newId()), { qos: 1 });
      const told = "all props were told to stop, but nothing keeps them stopped";
      return `${sent === "dropped" ? "nobody was told" : told}: ${error.message}`;
    },
  });
}

/** What is retained says nothing of whether the host has heard us. */
async function whenEngaged(connection: Connection, topics: Topics, onEngaged: () => void): Promise<void> {
  await connection.subscribe(topics.allStop, ({ payload, retain }) => {
    if (!retain && decodeText(payload) === "engaged") onEngaged();
  });
}

/** What a host answered, for people: what holds, who has heard, and what a restart would undo. */
function describeAnswer(answer: AllStopAnswer, name: string): string[] {
  const heard = answer.engaged ? readHeard(answer) : undefined;
  return [describeAllStop(answer, name), ...(heard ? describeHeard(heard) : []), ...describeUnsaved(answer)];
}

/** A warning that what was told would not outlive a restart, where that is so. */
export function describeUnsaved({ unsaved }: { unsaved?: string }): string[] {
  return unsaved === undefined ? [] : [`it would not outlive a restart of the host: ${unsaved}`];
}

/** What holds at the host of that name, for people. */
export function describeAllStop({ engaged, by, reason, since }: AllStopState, name: string): string {
  const why = reason === undefined ? "" : ` (${reason})`;
  return engaged
    ? `all-stop is engaged by ${by}${why} since ${since}: only stop and safe commands run until ${lineFor("all-clear", name)}`
    : "all-stop is cleared: nothing starts by itself";
}
