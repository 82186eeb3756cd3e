import { describeHeard, readHeard } from "../contract/heard.ts";
import { describeUnsaved } from "./all-stop.ts";
import { lineFor } from "./options.ts";

/** What the host is told, and what is said when it has done so. */
export interface Told {
  action: string;
  args: unknown;
  /** What is said of what the host answered. */
  describe: (result: unknown) => string;
}

/** A command line that tells the host to do something. */
export interface HostVerb {
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
