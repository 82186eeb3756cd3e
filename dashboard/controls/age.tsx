import type { Said } from "../../worker-host/contract/bus.ts";
import type { Store } from "../store.ts";

/** How old a value is. What the broker had kept is at least so old. */
export function Age({ said, store }: { said: Said; store: Store }) {
  const ms = store.ageOf(said);
  return <span class="age">{ms === undefined ? "–" : `${said.retained ? "over " : ""}${spanOf(ms)}`}</span>;
}

/** A span of time for people: `12 s`, `3:05`, `2 h 10 min`. */
export function spanOf(ms: number): string {
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}
