import { boardIdOf } from "../../worker-host/contract/topics.ts";
import { ANSWER_MS, ENTER_MS, EXPIRY_GRAIN_MS, PROMPT_MS, STALE_MS } from "../bounds.ts";
import type { HappeningOf, Sent, Violation } from "./happenings.ts";

interface Entry {
  command: Sent;
  sentAt: number;
  /** Later than `sentAt` where it was sent again. */
  lastSentAt: number;
  /** Undefined before the broker's acknowledgement; `unsure` where the connection broke before that. */
  acked?: "heard" | "unheard" | "unsure";
  /** When the broker had certainly taken all that was sent of it, or would never. */
  takenAt?: number;
  ranAt?: number;
  /** When the life of the worker that ran it began. */
  lifeAt?: number;
  ok: boolean;
  /** What came instead of `ok`, in words, and when. */
  errors: { at: number; refused: boolean; error: string }[];
}

/** What the book has to know of the others. */
export interface Surroundings {
  violate: (violation: Violation) => void;
  /** Why somebody was disturbed in that time. */
  disturbed: (who: string, from: number, to: number) => string | undefined;
  /** Whether all-stop may have held in that time. */
  allStopMayHold: (from: number, to: number) => boolean;
  /** Whether it held then. */
  allStopHolds: (at: number) => boolean;
}

export interface CommandCounts {
  sent: number;
  ran: number;
  refused: number;
  /** Neither run nor answered, each explained by a fault. */
  unanswered: number;
}

/** How long a command is remembered that has been judged, in ms: a run after that is one of an id that nobody sent. */
const REMEMBERED_MS = 600_000;

/** Each command from its sending to its judgement. */
export class Commands {
  readonly #entries = new Map<string, Entry>();
  /** Those that are not judged yet, in the order in which they are due. */
  readonly #open = new Set<Entry>();
  readonly #counts: CommandCounts = { sent: 0, ran: 0, refused: 0, unanswered: 0 };
  #outage: { from: number; to: number } | undefined;

  constructor(private readonly around: Surroundings) {}

  get counts(): Readonly<CommandCounts> {
    return this.#counts;
  }

  get openCount(): number {
    return this.#open.size;
  }

  sent({ at, command }: HappeningOf<"sent">): void {
    const known = this.#entries.get(command.id);
    if (known) {
      known.lastSentAt = at;
      delete known.takenAt;
      return;
    }
    const entry: Entry = { command, sentAt: at, lastSentAt: at, ok: false, errors: [] };
    this.#entries.set(command.id, entry);
    this.#open.add(entry);
    this.#counts.sent++;
  }

  acked(id: string, at: number, acked: NonNullable<Entry["acked"]>): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    entry.acked ??= acked;
    entry.takenAt = at;
  }

  reply({ at, id, status, refused, error }: HappeningOf<"reply">): (Sent & { sentAt: number }) | undefined {
    const entry = this.#entries.get(id);
    if (!entry) return undefined;
    if (status === "ok") entry.ok = true;
    else entry.errors.push({ at, refused, error });
    return { ...entry.command, sentAt: entry.sentAt };
  }

  /** The broker was away in that time. */
  outage(from: number, to: number): void {
    this.#outage = { from, to };
  }

  ran({ id, worker, ranAt, lifeAt }: HappeningOf<"ran">): void {
    const entry = this.#entries.get(id);
    if (!entry || entry.command.target !== worker) {
      const whose = entry ? `was sent to ${entry.command.target}` : "was never sent";
      this.#violate("stale", `${worker} ran the command ${id}, which ${whose}`);
      return;
    }
    if (entry.ranAt !== undefined) {
      const apart = `at ${entry.ranAt} and at ${ranAt}, ${ranAt - entry.ranAt} ms apart`;
      this.#violate("twice", `expected ${describe(entry)} to run once at most; it ran twice, ${apart}`);
      return;
    }
    entry.ranAt = ranAt;
    entry.lifeAt = lifeAt;
    this.#counts.ran++;
    for (const why of this.#staleness(entry, ranAt))
      this.#violate("stale", `${describe(entry)} ran ${ranAt - entry.sentAt} ms after it was sent: ${why}`);
    if (!entry.command.safe && this.around.allStopHolds(ranAt))
      this.#violate("all_stop", `${describe(entry)} is not safe, and ran while all-stop was engaged`);
  }

  #staleness({ command, sentAt: first, lastSentAt }: Entry, ranAt: number): string[] {
    const { expiresAt, expiryMs } = command;
    const sentAt = lastSentAt <= ranAt ? lastSentAt : first;
    const out: string[] = [];
    if (expiresAt !== undefined && ranAt > expiresAt + ENTER_MS)
      out.push(`it expired ${ranAt - expiresAt} ms before that`);
    if (expiryMs !== undefined && ranAt > sentAt + expiryMs + EXPIRY_GRAIN_MS + STALE_MS)
      out.push(`its expiry in MQTT 5 was ${expiryMs} ms`);
    if (ranAt > sentAt + STALE_MS) out.push(`nothing may wait for more than ${STALE_MS} ms`);
    const outage = this.#outage;
    // What had arrived before the broker went may be on its way through the worker's process.
    if (outage && sentAt < outage.from && ranAt > Math.max(outage.to, outage.from + STALE_MS))
      out.push("the broker was restarted since");
    return out;
  }

  /** Judges what is due. */
  look(now: number): void {
    for (const entry of this.#open) {
      const dueAt = entry.lastSentAt + entry.command.workMs + ANSWER_MS;
      if (now < dueAt) continue;
      this.#open.delete(entry);
      this.#judge(entry, now);
    }
    for (const [id, { sentAt }] of this.#entries) {
      if (sentAt > now - REMEMBERED_MS) break;
      this.#entries.delete(id);
    }
  }

  #judge(entry: Entry, now: number): void {
    const { command, sentAt, lastSentAt, acked, takenAt = now, ranAt, lifeAt = 0, ok, errors } = entry;
    const ran = ranAt !== undefined;
    const trouble = this.around.disturbed(command.target, sentAt, lastSentAt + command.workMs + PROMPT_MS);
    // Always: no fault makes a worker say what is not so.
    if (ok && command.journaled && !ran) this.#violate("lost", `${describe(entry)} was answered "ok", and never ran`);
    if (lifeAt > takenAt)
      this.#violate(
        "stale",
        `${describe(entry)} ran in a life that began ${lifeAt - takenAt} ms after the broker had taken it`,
      );
    for (const each of errors) this.#judgeError(entry, each, trouble);
    if (errors.some(({ refused }) => refused) && !ran) this.#counts.refused++;
    if (ran || ok || errors.length > 0) {
      if (ran && !ok && errors.length === 0 && trouble === undefined && acked === "heard")
        this.#violate("lost", `${describe(entry)} ran, and was never answered; nothing was done to its target`);
      return;
    }
    if (trouble !== undefined || acked === "unsure" || acked === undefined) {
      this.#counts.unanswered++;
      return;
    }
    const found = acked === "heard" ? "acknowledged by the broker" : "found nobody subscribed";
    this.#violate(
      "lost",
      `${describe(entry)} was ${found}, and neither ran nor was refused in ${now - sentAt} ms; nothing was done to its target`,
    );
  }

  #judgeError(entry: Entry, { at, refused, error }: Entry["errors"][number], trouble: string | undefined): void {
    const { command, sentAt, ranAt } = entry;
    const { expiresAt, resent } = command;
    if (refused && ranAt !== undefined && !resent) {
      this.#violate("twice", `${describe(entry)} was refused ("${error}"), and ran`);
    } else if (/all-stop/.test(error) || (!refused && /^aborted/.test(error))) {
      if (trouble === undefined && !this.around.allStopMayHold(sentAt, at))
        this.#violate("all_stop", `${describe(entry)} was not done ("${error}"), while all-stop was clear`);
    } else if (/ expired /.test(error)) {
      if (expiresAt === undefined || expiresAt > at)
        this.#violate("lost", `${describe(entry)} was refused as expired, and was not: ${error}`);
    } else if (/ is not there: /.test(error)) {
      // Without its board a prop does nothing, and says so.
      if (!this.around.disturbed(boardIdOf(command.target), sentAt - PROMPT_MS, at))
        this.#violate("error", `${describe(entry)} was answered, while its board was there: ${error}`);
    } else if (!(resent && /has run already/.test(error)) && !isOvertaken(command, error)) {
      this.#violate("error", `${describe(entry)} was answered: ${error}`);
    }
  }

  #violate(rule: Violation["rule"], text: string): void {
    this.around.violate({ rule, text });
  }
}

/** On a board, a stop overtakes what waits (docs/firmware.md); all-stop and workers send it. */
function isOvertaken({ journaled }: Sent, error: string): boolean {
  return !journaled && /a stop came after it/.test(error);
}

function describe({ command: { id, target } }: Entry): string {
  return `the command ${id} to ${target}`;
}
