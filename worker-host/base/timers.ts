import { msOf, type Span } from "./clock.ts";
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
