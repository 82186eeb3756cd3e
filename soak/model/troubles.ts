import type { Need } from "./happenings.ts";

interface Trouble {
  why: string;
  since: number;
  need: Need;
  /** From when on a sign of life counts; not yet known while what is needed has not come. */
  signsFrom?: number;
  /** When it was over. */
  until?: number;
}

/** How long a trouble that is over is remembered, in ms: longer than any command is open. */
const KEPT_MS = 60_000;

/**
 * Who was disturbed, when, and until when. From a fault until the first sign of life after it, nothing is certain of
 * what is sent to somebody: it may have run, or not, and its reply may have been lost.
 */
export class Troubles {
  readonly #of = new Map<string, Trouble[]>();

  begin(who: string, at: number, why: string, need: Need): void {
    const known = (this.#of.get(who) ?? []).filter(({ until }) => until === undefined || until > at - KEPT_MS);
    known.push({ why, since: at, need, ...(need.kind === "sign" ? { signsFrom: at } : {}) });
    this.#of.set(who, known);
  }

  /** Somebody's process or connection was started by the soak. */
  started(who: string, at: number): void {
    for (const trouble of this.#open(who)) if (trouble.need.kind === "start") trouble.signsFrom ??= at;
  }

  /** The broker is there again. */
  brokerReturned(who: string, at: number): void {
    for (const trouble of this.#open(who)) if (trouble.need.kind === "broker") trouble.signsFrom ??= at;
  }

  /** A worker began a life. */
  life(who: string, { at, pid, code, config }: { at: number; pid: number; code: number; config: number }): void {
    for (const trouble of this.#open(who)) {
      const { need } = trouble;
      if (need.kind === "life" && need.notPid !== pid && at >= trouble.since) trouble.signsFrom ??= at;
      if (need.kind === "code" && code >= need.edition) trouble.signsFrom ??= at;
      if (need.kind === "config" && config >= need.edition) trouble.signsFrom ??= at;
    }
  }

  /** Somebody said something at `at`, in answer to what was sent at `sentAt`. */
  sign(who: string, at: number, sentAt = at): void {
    for (const trouble of this.#open(who)) {
      if (trouble.signsFrom !== undefined && sentAt > trouble.signsFrom) trouble.until = at;
    }
  }

  /** Why somebody was disturbed in that time; undefined where nothing was. */
  during(who: string, from: number, to: number): string | undefined {
    return this.#of.get(who)?.find(({ since, until }) => since <= to && (until === undefined || until >= from))?.why;
  }

  /** Whether anybody was disturbed in that time. */
  any(from: number, to: number): boolean {
    return [...this.#of.keys()].some((who) => this.during(who, from, to) !== undefined);
  }

  /** Whether somebody is yet to be heard since the broker was back, or since it was started itself. */
  isUnheard(who: string): boolean {
    return this.#open(who).some(({ need }) => need.kind === "broker" || need.kind === "start");
  }

  /** Who is now. */
  get disturbed(): string[] {
    return [...this.#of.keys()].filter((who) => this.#open(who).length > 0);
  }

  /** Who is now, with what they wait for. */
  get open(): string[] {
    return [...this.#of].flatMap(([who, all]) =>
      all.filter(({ until }) => until === undefined).map(({ why, need }) => `${who}: ${why} (${need.kind})`),
    );
  }

  #open(who: string): Trouble[] {
    return (this.#of.get(who) ?? []).filter(({ until }) => until === undefined);
  }
}
