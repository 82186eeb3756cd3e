import type { HappeningOf, Violation } from "./happenings.ts";

interface Life {
  role: string;
  samples: { at: number; mb: number; reloads: number }[];
}

/** A process that lived for less says nothing about growth, in ms. */
const LONG_LIFE_MS = 90_000;
/** What V8 may make of the same heap, in MB. */
const ALLOWED_MB = 8;
/** Node never frees a module: some 46 KB for each reload (docs/performance.md). */
const RELOAD_MB = 0.05;

/** The memory of each process from its start to its end. */
export class Memory {
  readonly #lives = new Map<number, Life>();
  /** All processes together, in MB, by the time of the sample. */
  readonly #totals = new Map<number, number>();
  #reloads = 0;

  constructor(private readonly violate: (violation: Violation) => void) {}

  get reloads(): number {
    return this.#reloads;
  }

  reloaded(): void {
    this.#reloads++;
  }

  sample({ at, pid, role, mb }: HappeningOf<"memory">): void {
    const life = this.#lives.get(pid) ?? { role, samples: [] };
    life.samples.push({ at, mb, reloads: this.#reloads });
    this.#lives.set(pid, life);
    this.#totals.set(at, (this.#totals.get(at) ?? 0) + mb);
  }

  /** The median of all processes together in each third of the run, in MB. */
  get thirds(): number[] {
    return inThirds([...this.#totals]).map((third) => median(third.map(([, mb]) => mb)));
  }

  /** How many lives were long enough to be judged. */
  get judged(): number {
    return this.#long.length;
  }

  /** At the end: whether a process that lived long has grown, its first third being its warm-up. */
  judge(): void {
    for (const [pid, { role, samples }] of this.#long) {
      const [, middle = [], last = []] = inThirds(samples);
      const reloads = (last.at(-1)?.reloads ?? 0) - (middle[0]?.reloads ?? 0);
      const allowed = ALLOWED_MB + RELOAD_MB * reloads;
      const [before, after] = [middle, last].map((third) => median(third.map(({ mb }) => mb))) as [number, number];
      if (after - before <= allowed) continue;
      const found = `${before.toFixed(1)} MB in the middle third of its life, ${after.toFixed(1)} MB in the last`;
      const text = `${role} (process ${pid}): expected at most ${allowed.toFixed(1)} MB more with ${reloads} reloads; ${found}`;
      this.violate({ rule: "memory", text });
    }
  }

  get #long(): [number, Life][] {
    return [...this.#lives].filter(([, { samples }]) => {
      const [first, last] = [samples[0], samples.at(-1)];
      return first !== undefined && last !== undefined && last.at - first.at >= LONG_LIFE_MS;
    });
  }
}

function inThirds<T>(items: T[]): T[][] {
  const size = Math.ceil(items.length / 3);
  return [0, 1, 2].map((third) => items.slice(third * size, (third + 1) * size));
}

function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
