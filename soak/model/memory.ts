import type { HappeningOf, Violation } from "./happenings.ts";

type Sample = Omit<HappeningOf<"memory">, "type" | "pid" | "role"> & { reloads: number };

interface Life {
  role: string;
  samples: Sample[];
}

/** A process that lived for less says nothing about growth, in ms. */
const LONG_LIFE_MS = 90_000;
/** Node never frees a module: some 46 KB for each reload (docs/performance.md). */
const RELOAD_MB = 0.05;

/** By how many MB each may differ between two times of which neither is the warm-up. */
const MEASURES: { what: string; of: (sample: Sample) => number | undefined; allowedMb: number }[] = [
  { what: "on its heap after a collection", of: ({ heapMb }) => heapMb, allowedMb: 4 },
  // V8 gives what is young up to 48 MB while there is much to do, and takes it back when it likes.
  { what: "to itself", of: ({ mb }) => mb, allowedMb: 48 },
];

/** What each process has of memory to itself, from its start to its end. */
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

  sample({ pid, role, ...weighed }: HappeningOf<"memory">): void {
    const { at, mb } = weighed;
    const life = this.#lives.get(pid) ?? { role, samples: [] };
    life.samples.push({ ...weighed, reloads: this.#reloads });
    this.#lives.set(pid, life);
    this.#totals.set(at, (this.#totals.get(at) ?? 0) + mb);
  }

  /** The median of all processes together in each third of the run, in MB. */
  get thirds(): number[] {
    return inThirds([...this.#totals]).map((third) => median(third.map(([, mb]) => mb)) ?? 0);
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
      for (const { what, of, allowedMb } of MEASURES) {
        const weigh = (part: Sample[]) => part.flatMap((sample) => of(sample) ?? []);
        const [before, after] = [median(weigh(middle)), median(weigh(last))];
        const allowed = allowedMb + RELOAD_MB * reloads;
        if (before === undefined || after === undefined || after - before <= allowed) continue;
        const found = `${before.toFixed(1)} MB in the middle third of its life, ${after.toFixed(1)} MB in the last`;
        const expected = `expected at most ${allowed.toFixed(1)} MB more ${what}, with ${reloads} reloads`;
        const series = weigh(samples).map((mb) => mb.toFixed(0));
        const text = `${role} (process ${pid}): ${expected}; ${found} (${series.join(" ")})`;
        this.violate({ rule: "memory", text });
      }
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

function median(numbers: number[]): number | undefined {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
