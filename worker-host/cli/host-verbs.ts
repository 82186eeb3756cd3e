import { formatCommand, STOP } from "../contract/command.ts";
import { describeHeard, readHeard } from "../contract/heard.ts";
import { decodeText, defined } from "../contract/payload.ts";
import { Topics } from "../contract/topics.ts";
import type { AllStopAnswer, AllStopState } from "../host/safety/all-stop.ts";
import type { Settings } from "../host/settings/settings.ts";
import { CallError, Calls } from "../mqtt/calls.ts";
import type { Connection } from "../mqtt/connection.ts";
import { type ClientDependencies, connect } from "./client.ts";
import { lineFor } from "./options.ts";
import type { Outcome } from "./send.ts";

/** What the host is told, and what is said when it has done so. */
export interface Told {
  action: string;
  args: unknown;
  /** What is said of what the host answered. */
  describe: (result: unknown) => string;
}

/** A command line that tells the host to do something. */
interface HostVerb {
  line: string;
  what: string;
  example: string;
  /** @param name the host's */
  tell: (args: string[], name: string) => Told;
}

export const HOST_VERBS: HostVerb[] = [
  {
    line: "show <on|off>",
    what: "while the show is on, edits wait and nothing is reloaded",
    example: "show on",
    tell: ([word]) => ({
      action: "show",
      args: word,
      describe: () => (word === "on" ? "the show is on: edits wait" : "the show is off: edits are taken in"),
    }),
  },
  {
    line: "lock-out <id> [reason...]",
    what: "have a prop take no command but stop until it is released",
    example: "lock-out fogger the hose leaks",
    tell: ([id, ...words], name) => ({
      action: "lock_out",
      args: { id, ...(words.length > 0 ? { reason: words.join(" ") } : {}) },
      describe: (result) => {
        const heard = readHeard(result);
        // What can't be held may jump all the same.
        const held = heard?.not_held.length === 0 ? "is locked out" : "is told to take no command";
        const more = [...(heard ? describeHeard(heard) : []), ...describeUnsaved(result as { unsaved?: string })];
        return [`${id} ${held} until ${lineFor(`release ${id}`, name)}`, ...more].join("\n");
      },
    }),
  },
  {
    line: "release <id>",
    what: "end a prop's lock-out",
    example: "release fogger",
    tell: ([id]) => ({ action: "release", args: id, describe: () => `${id} takes commands again` }),
  },
];

export const ALL_STOP_COMMANDS = [
  { name: "all-stop", action: "all_stop", what: "stop every prop, and let nothing move until all-clear" },
  { name: "all-clear", action: "all_clear", what: "end all-stop; starts nothing by itself" },
] as const;

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
    args: { by: "cli", ...defined({ reason }) },
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
function describeUnsaved({ unsaved }: { unsaved?: string }): string[] {
  return unsaved === undefined ? [] : [`it would not outlive a restart of the host: ${unsaved}`];
}

/** What holds at the host of that name, for people. */
export function describeAllStop({ engaged, by, reason, since }: AllStopState, name: string): string {
  const why = reason === undefined ? "" : ` (${reason})`;
  return engaged
    ? `all-stop is engaged by ${by}${why} since ${since}: only stop and safe commands run until ${lineFor("all-clear", name)}`
    : "all-stop is cleared: nothing starts by itself";
}

interface TellHostOptions extends ClientDependencies {
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
