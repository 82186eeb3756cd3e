import { AsyncLocalStorage } from "node:async_hooks";
import { afterAll, onTestFinished } from "vitest";

type Ending = () => unknown;

const endings = new AsyncLocalStorage<Ending[]>();

/** Has `end` called when the test is over; of what a `shared` start makes, when the last that share it are. */
export function atEnd(end: Ending): void {
  const shared = endings.getStore();
  if (shared) shared.push(end);
  else onTestFinished(async () => void (await end()));
}

/**
 * What `start` makes, once, for all tests of a file or `describe` that ask for it: those that don't disturb each other.
 * It starts with the first of them, and ends after the last.
 */
export function shared<T>(start: () => Promise<T>): () => Promise<T> {
  const toEnd: Ending[] = [];
  let started: Promise<T> | undefined;
  afterAll(async () => {
    for (const end of toEnd.reverse()) await end();
  });
  return () => {
    started ??= endings.run(toEnd, start);
    return started;
  };
}
