import type { Scope } from "../base/scope.ts";
import { timer } from "../base/timer.ts";
import { type CommandEntry, endOf } from "./command-table.ts";

/** How long what commands switched on has been on, for those that say how long it may be. */
export class OnTimes<Entry extends CommandEntry> {
  readonly #running = new Map<string, { end: string; callOff: () => void }>();

  /** @param onLongest called when it has been on for so long */
  constructor(
    private readonly scope: Scope,
    private readonly onLongest: (entry: Entry) => void,
  ) {}

  /** A run begins: its command's time runs anew. */
  begin(entry: Entry): void {
    const { action, spec } = entry;
    const { maxOnMs } = spec;
    if (maxOnMs === undefined) return;
    this.#running.get(action)?.callOff();
    const cancel = timer(this.scope, maxOnMs, () => {
      this.#running.delete(action);
      this.onLongest(entry);
    });
    const time = {
      end: endOf(spec),
      callOff: () => {
        cancel();
        if (this.#running.get(action) === time) this.#running.delete(action);
      },
    };
    this.#running.set(action, time);
  }

  /** What calls off the times that run now and that `action` is the end of. */
  endedBy(action: string): (() => void)[] {
    if (this.#running.size === 0) return [];
    return [...this.#running.values()].filter(({ end }) => end === action).map(({ callOff }) => callOff);
  }

  callOff(): void {
    for (const { callOff } of [...this.#running.values()]) callOff();
  }
}
