import type { Readable } from "node:stream";

/**
 * Has all other work take its turn between two chunks of a stream, to be called with each. Node reads up to 32 of them in
 * one go, and so a flood of short lines would hold up the event loop for seconds.
 */
export function letOthersWork(source: Readable): void {
  source.pause();
  setImmediate(() => source.resume());
}

/** A longer line is cut. */
const LONGEST_LINE = 1_048_576;

/** Hands on what a source brings, by whole lines, each with its end. Fulfils when no more can come. */
export function followLines(source: Readable, take: (lines: string) => void): Promise<void> {
  let rest = "";
  source.setEncoding("utf8");
  source.on("data", (chunk: string) => {
    const text = rest + chunk;
    const end = text.lastIndexOf("\n") + 1;
    rest = text.slice(end);
    if (end > 0) take(text.slice(0, end));
    if (rest.length > LONGEST_LINE) takeRest();
    letOthersWork(source);
  });
  const takeRest = () => {
    if (rest !== "") take(`${rest}\n`);
    rest = "";
  };
  return new Promise((resolve) => {
    source.once("close", () => {
      takeRest();
      resolve();
    });
    // The process is gone; `close` follows.
    source.on("error", () => source.destroy());
  });
}
