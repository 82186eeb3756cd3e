import { EDIT_MS, HOST_BACK_MS } from "../bounds.ts";
import type { HappeningOf, Violation } from "./happenings.ts";

interface Pending {
  what: "code" | "config";
  edition: number;
  by: number;
}

/** What was edited and is yet to be seen: an edit that silently does nothing is a fault. */
export class Edits {
  readonly #pending = new Map<string, Pending[]>();

  constructor(private readonly violate: (violation: Violation) => void) {}

  made({ at, who, what, edition }: HappeningOf<"edited">): void {
    this.#pending.set(who, [...(this.#pending.get(who) ?? []), { what, edition, by: at + EDIT_MS }]);
  }

  /** Something was done to its worker, or to what that needs: it has to start again first. */
  delay(who: string, at: number): void {
    for (const pending of this.#pending.get(who) ?? []) pending.by = Math.max(pending.by, at + HOST_BACK_MS + EDIT_MS);
  }

  /** A worker said which code or config it has. */
  seen(who: string, has: { code?: number; config?: number }): void {
    const left = (this.#pending.get(who) ?? []).filter(({ what, edition }) => (has[what] ?? -1) < edition);
    this.#pending.set(who, left);
  }

  look(now: number): void {
    for (const [who, all] of this.#pending) {
      const overdue = all.filter(({ by }) => by < now);
      if (overdue.length === 0) continue;
      this.#pending.set(
        who,
        all.filter(({ by }) => by >= now),
      );
      for (const { what, edition } of overdue)
        this.violate({ rule: "edit", text: `${who}: expected it to run with its new ${what} ${edition}; it doesn't` });
    }
  }
}
