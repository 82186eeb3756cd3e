/** The upper bounds of the times that commands are counted by, in ms; what took longer has a place after the last. */
export const COMMAND_BOUNDS_MS: readonly number[] = [
  1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000,
];

/** What one worker, or a host's own connection, has done: plain numbers, since they are counted where it has to be fast. */
export interface Counts {
  /** Messages from the broker. */
  received: number;
  /** Messages handed to the broker. */
  sent: number;
  /** Messages that went nowhere: the broker was away, or didn't take them fast enough. */
  dropped: number;
  /** Commands that were not run. */
  refused: number;
  /** Errors in its own code. */
  errors: number;
  /** How many of its commands ended in which time; as long as the bounds, and one more. */
  commands: number[];
  /** How long they took together, in ms. */
  commandMs: number;
}

export function noCounts(): Counts {
  const commands = new Array<number>(COMMAND_BOUNDS_MS.length + 1).fill(0);
  return { received: 0, sent: 0, dropped: 0, refused: 0, errors: 0, commands, commandMs: 0 };
}

/** Counts a command that ran. */
export function countCommand(counts: Counts, ms: number): void {
  let place = 0;
  while (ms > (COMMAND_BOUNDS_MS[place] ?? Number.POSITIVE_INFINITY)) place++;
  counts.commands[place] = (counts.commands[place] ?? 0) + 1;
  // A clock may be set back.
  counts.commandMs += Math.max(0, ms);
}

/** Adds what was counted to `to`. */
function addCounts(to: Counts, counts: Counts): void {
  for (const key of ["received", "sent", "dropped", "refused", "errors", "commandMs"] as const) to[key] += counts[key];
  for (const [place, count] of counts.commands.entries()) to.commands[place] = (to.commands[place] ?? 0) + count;
}

/** Gives what was counted since it was last taken. */
export function takeCounts(counts: Counts): Counts {
  const taken = { ...counts, commands: [...counts.commands] };
  Object.assign(counts, noCounts());
  return taken;
}

/** What the host has counted since its start, of itself and of the workers that it knows. */
export class HostCounts {
  /** Of the host's own connection. */
  readonly own = noCounts();
  /** How often a process of workers was found to be held up, and how often one was ended for that. */
  stallWarnings = 0;
  stalls = 0;
  /** How often a process of workers died. */
  deaths = 0;
  readonly #workers = new Map<string, Counts>();
  readonly #restarts = new Map<string, number>();

  /** Takes what a process says that its workers have done since it was last asked. */
  take(counts: [id: string, counts: Counts][]): void {
    for (const [id, more] of counts) {
      const known = this.#workers.get(id) ?? noCounts();
      addCounts(known, more);
      this.#workers.set(id, known);
    }
  }

  /** A worker is started again by itself. */
  restarted(id: string): void {
    this.#restarts.set(id, this.restartsOf(id) + 1);
  }

  of(id: string): Counts {
    return this.#workers.get(id) ?? noCounts();
  }

  restartsOf(id: string): number {
    return this.#restarts.get(id) ?? 0;
  }

  /** Its prop is gone. */
  forget(id: string): void {
    this.#workers.delete(id);
    this.#restarts.delete(id);
  }
}
