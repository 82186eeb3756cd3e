import { WorkerHostError } from "../contract/errors.ts";
import { AT_LATE_MS } from "../contract/limits.ts";
import { msOf, nextAt, type Span } from "./clock.ts";
import { deferred } from "./promises.ts";
import type { Scope } from "./scope.ts";
import type { Task } from "./scope-owner.ts";

/** Calls `callback` once, `ms` from now, unless `scope` ends before; the function that it gives back calls that off. */
export function timer(scope: Scope, ms: number, callback: () => void): () => void {
  if (scope.ended) return () => {};
  const cancel = scope.clock.after(ms, () => {
    forget();
    callback();
  });
  const forget = scope.whenEnded(cancel);
  return () => {
    forget();
    cancel();
  };
}

/** Calls `fn` every `ms`, first after `ms`, never while its last call still runs; an error in it ends nothing. */
export function every(scope: Scope, span: Span, fn: () => unknown, where = "every"): Task {
  const ms = msOf("every(%)", span);
  const { clock } = scope;
  return scope.spawn(async (own) => {
    let due = clock.monotonic() + ms;
    for (;;) {
      await own.sleep(Math.max(0, due - clock.monotonic()));
      await own.spawn(fn, where, "run").done;
      due = Math.max(due + ms, clock.monotonic());
    }
  }, where);
}

/**
 * What an author without types may give for a function fails where it is given, not at its time.
 *
 * @throws WorkerHostError `invalid_value`
 */
export function assertFunction(where: string, fn: unknown): void {
  if (typeof fn !== "function")
    throw new WorkerHostError("invalid_value", `${where}: expected a function, found ${JSON.stringify(fn)}`);
}

/** How often the clock on the wall is looked at: somebody may set it. */
const LOOK_MS = 60_000;
/** No day is longer. */
const LONGEST_DAY_MS = 26 * 3_600_000;

/** Calls `fn` every day at a time of day, never while its last call still runs; an error in it ends nothing. */
export function at(scope: Scope, timeOfDay: string, fn: () => unknown, warn: (text: string) => void): Task {
  const { clock } = scope;
  const where = `at("${timeOfDay}")`;
  let due = nextAt(clock.now(), timeOfDay);
  return scope.spawn(async (own) => {
    for (;;) {
      const left = due - clock.now();
      if (left > LONGEST_DAY_MS) due = nextAt(clock.now(), timeOfDay);
      else if (left > 0) await own.sleep(Math.min(left, LOOK_MS));
      else {
        if (left > -AT_LATE_MS) await own.spawn(fn, where, "run").done;
        else warn(`${where} was left out: the clock went past it by ${Math.round(-left / 60_000)} min at once`);
        due = nextAt(Math.max(due, clock.now()), timeOfDay);
      }
    }
  }, where);
}

/** Calls each step so long after now, whatever the others take; one that throws ends the others. */
export async function timeline(scope: Scope, steps: readonly (readonly [Span, () => unknown])[]): Promise<void> {
  const timed = steps
    .map(([span, step]) => ({ ms: msOf("timeline: a step at %", span, Number.MAX_VALUE), step }))
    .sort((one, other) => one.ms - other.ms);
  if (scope.ended) return scope.refuse();
  const { clock } = scope;
  const began = clock.monotonic();
  const own = scope.child();
  const failed = deferred<never>();
  const run = async () => {
    const running: Promise<unknown>[] = [];
    for (const { ms, step } of timed) {
      await Promise.race([own.sleep(Math.max(0, began + ms - clock.monotonic())), failed.promise]);
      const ended = own.track(step);
      ended.catch(failed.reject);
      running.push(ended);
    }
    await Promise.race([Promise.all(running), failed.promise]);
  };
  try {
    await own.track(run);
  } finally {
    own.end();
  }
}

/**
 * What `work` gives. In a scope that has ended it isn't called.
 *
 * @throws AbortError when the scope ends before that; as of `Scope.sleep`
 */
export function unlessEnded<T>(scope: Scope, work: () => Promise<T>): Promise<T> {
  if (scope.ended) return scope.sleep(0).then(work);
  let forget = () => {};
  const ended = new Promise<never>((_, reject) => {
    forget = scope.whenEnded(() => reject(scope.signal.reason));
  });
  return Promise.race([work(), ended]).finally(forget);
}
