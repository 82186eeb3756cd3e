import { CLOSED_MS, HALF_OPEN_MS } from "../bounds.ts";
import type { Ending, Violation } from "./happenings.ts";

interface Standing {
  /** What the broker says; undefined where it says nothing. */
  shown?: boolean;
  /** Since when it is shown online. */
  onlineSince: number;
  /** Since when it is not. */
  notOnlineSince: number;
  /** Its connection has ended, and it has no other yet. */
  gone?: { at: number; ending: Ending; checked: boolean };
  /** From then on it has to be shown online. */
  dueAt: number;
  /** Whether it has been told of already. */
  told: boolean;
}

const LIMITS: Record<Ending, number> = { closed: CLOSED_MS, half_open: HALF_OPEN_MS };

/** What the broker says of who is there, against who is. */
export class Availability {
  readonly #standings = new Map<string, Standing>();
  readonly #worst: Record<Ending | "missing", number> = { closed: 0, half_open: 0, missing: 0 };
  #connectedAt: number | undefined;

  /** @param expected whose availability is looked at, and from when on each has to be shown online */
  constructor(
    expected: readonly string[],
    dueAt: number,
    private readonly violate: (violation: Violation) => void,
  ) {
    for (const who of expected) this.#standings.set(who, { onlineSince: 0, notOnlineSince: dueAt, dueAt, told: false });
  }

  /** The longest that it was wrong, in ms: online after an ending, and not online from when it had to be. */
  get worst(): Readonly<Record<Ending | "missing", number>> {
    return this.#worst;
  }

  /** Who is not as they have to be, at the end. */
  get missing(): string[] {
    return [...this.#standings].filter(([, { shown, gone }]) => gone !== undefined || !shown).map(([who]) => who);
  }

  /** @param wasThere it had a connection to the broker that is there now */
  gone(who: string, at: number, ending: Ending, wasThere: boolean): void {
    const standing = this.#standings.get(who);
    // Who had none yet, or dies while the broker is away, has no will there. What the broker had kept of them is put
    // right by the host's roll call a minute later (docs/protocol.md, "Shown online, and isn't"); here all are back
    // before that.
    if (standing && standing.gone?.ending !== "closed")
      standing.gone = { at, ending, checked: wasThere && this.#connectedAt !== undefined };
  }

  /** It has a connection again, or may have. */
  back(who: string, at: number): void {
    const standing = this.#standings.get(who);
    if (!standing?.gone) return;
    this.#count(standing, at);
    delete standing.gone;
  }

  due(who: string, by: number): void {
    const standing = this.#standings.get(who);
    if (standing) standing.dueAt = Math.max(standing.dueAt, by);
  }

  show(who: string, online: boolean, at: number): void {
    const standing = this.#standings.get(who);
    if (!standing) return;
    if (!online) this.#count(standing, at);
    else if (!standing.shown && !standing.gone) this.#keepWorst("missing", this.#missingMs(standing, at));
    if (standing.shown && !online) standing.notOnlineSince = at;
    if (!standing.shown && online) standing.onlineSince = at;
    standing.shown = online;
    standing.told = false;
  }

  connected(at: number): void {
    this.#connectedAt = at;
    for (const standing of this.#standings.values()) {
      delete standing.shown;
      standing.notOnlineSince = at;
    }
  }

  disconnected(): void {
    this.#connectedAt = undefined;
    for (const { gone } of this.#standings.values()) if (gone) gone.checked = false;
  }

  look(now: number): void {
    if (this.#connectedAt === undefined) return;
    for (const [who, standing] of this.#standings) {
      const { gone, shown, told } = standing;
      if (told) continue;
      if (gone) this.#lookGone(who, standing, gone, now);
      else if (!shown) this.#lookBack(who, standing, now);
    }
  }

  #lookGone(who: string, { shown, onlineSince }: Standing, gone: NonNullable<Standing["gone"]>, now: number): void {
    const { at, ending, checked } = gone;
    const wrongMs = now - Math.max(at, onlineSince);
    if (!shown || !checked || wrongMs <= LIMITS[ending]) return;
    const found = `shown online for ${wrongMs} ms, ${now - at} ms after its connection was ${ending}`;
    this.#say(who, `${who}: expected offline within ${LIMITS[ending]} ms; ${found}`);
  }

  #lookBack(who: string, standing: Standing, now: number): void {
    const { notOnlineSince, shown } = standing;
    if (this.#missingMs(standing, now) <= CLOSED_MS) return;
    const found = shown === undefined ? "nothing is shown of it" : `shown offline for ${now - notOnlineSince} ms`;
    this.#say(who, `${who}: expected online, since nothing has been done to it, or it should be back; ${found}`);
  }

  #say(who: string, text: string): void {
    const standing = this.#standings.get(who);
    if (standing) standing.told = true;
    this.violate({ rule: "availability", text });
  }

  /** The wrong time that ends now. */
  #count({ gone, shown, onlineSince }: Standing, at: number): void {
    if (gone?.checked && shown) this.#keepWorst(gone.ending, at - Math.max(gone.at, onlineSince));
  }

  #missingMs({ dueAt, notOnlineSince }: Standing, now: number): number {
    return now - Math.max(dueAt, notOnlineSince, this.#connectedAt ?? now);
  }

  #keepWorst(kind: Ending | "missing", ms: number): void {
    this.#worst[kind] = Math.max(this.#worst[kind], ms);
  }
}
