import type { Happening } from "./model/happenings.ts";

interface Entry {
  at: number;
  text: string;
  /** The command that it is about. */
  command?: string;
}

/** Enough for half a minute, commands included. */
const KEPT = 20_000;
const SHOWN = 200;
const WARN = 40;
/** What a refusal says on its other ways; as a reply it is recorded with its command. */
const REFUSAL = /refused: (a command with the id|it expired|all-stop is engaged)/;

/** What happened last, for whoever has to find out why. */
export class Recorder {
  readonly #entries: Entry[] = [];

  constructor(private readonly startedAt: number) {}

  take(happening: Happening): void {
    const text = textOf(happening);
    if (text !== undefined) this.note(happening.at, text, commandOf(happening));
  }

  note(at: number, text: string, command?: string): void {
    if (command === undefined && REFUSAL.test(text)) return;
    this.#entries.push({ at, text, ...(command === undefined ? {} : { command }) });
    if (this.#entries.length > 2 * KEPT) this.#entries.splice(0, KEPT);
  }

  /** The last events; of commands, those that the violations name. */
  last(violations: string): string[] {
    const named = new Set(violations.match(/\b[cp]\d+\b/g));
    return this.#entries
      .filter(({ command }) => command === undefined || named.has(command))
      .slice(-SHOWN)
      .map(({ at, text }) => `${((at - this.startedAt) / 1000).toFixed(3).padStart(9)}  ${text}`);
  }
}

function commandOf(happening: Happening): string | undefined {
  if (happening.type === "sent") return happening.command.id;
  return "id" in happening ? happening.id : undefined;
}

function textOf(happening: Happening): string | undefined {
  switch (happening.type) {
    case "memory":
      return undefined;
    case "log":
      return happening.level < WARN ? undefined : `log ${happening.level} ${happening.worker ?? ""} ${happening.text}`;
    case "fault": {
      const who = happening.hits.map((hit) => hit.who);
      const few = who.length > 4 ? `${who.length} of them` : who.join(", ") || (happening.about ?? "");
      return `FAULT ${happening.what} ${few}`;
    }
    case "shown":
      return `${happening.who} is ${happening.online ? "online" : "offline"}${happening.live ? "" : " (retained)"}`;
    case "failed":
      return `${happening.who} failed: ${happening.how}`;
    default: {
      const { at: _, type, ...rest } = happening;
      return `${type} ${JSON.stringify(rest)}`;
    }
  }
}
