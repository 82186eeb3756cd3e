import type { Readable } from "node:stream";
/** More than a machine needs that is merely busy. */
export const PATIENCE_MS = 15_000;

/** What `work` gives; rejects with `what` when that takes too long for a machine that is merely busy. */
export async function patiently<T>(work: Promise<T>, what: () => string, ms = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const giveUp = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms in vain for ${what()}`)), ms);
  });
  try {
    return await Promise.race([work, giveUp]);
  } finally {
    clearTimeout(timer);
  }
}

/** Things that happen one after the other, to be waited for. */
export class Happenings<T> {
  readonly all: T[] = [];
  readonly #listeners = new Set<(item: T) => void>();

  add(item: T): void {
    this.all.push(item);
    for (const listener of [...this.#listeners]) listener(item);
  }

  /** The first that `matches`, of those that were or are to come. */
  find(matches: (item: T) => boolean, what: string, ms?: number): Promise<T> {
    const known = this.all.find(matches);
    if (known !== undefined) return Promise.resolve(known);
    return this.next(matches, what, ms);
  }

  /** The first that `matches`, of those that are to come. */
  next(matches: (item: T) => boolean, what: string, ms?: number): Promise<T> {
    let listener: (item: T) => void = () => {};
    const found = new Promise<T>((resolve) => {
      listener = (item) => {
        if (matches(item)) resolve(item);
      };
      this.#listeners.add(listener);
    });
    const seen = () =>
      this.all
        .slice(-20)
        .map((item) => JSON.stringify(item))
        .join("\n");
    return patiently(found, () => `${what}; the last seen:\n${seen()}`, ms).finally(() =>
      this.#listeners.delete(listener),
    );
  }
}

/** Calls `take` with each line that is whole: what a process was in the middle of saying when it was killed is none. */
export function eachLine(source: Readable, take: (line: string) => void): void {
  let rest = "";
  source.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  });
}
