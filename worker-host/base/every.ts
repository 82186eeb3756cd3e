import type { Scope } from "./scope.ts";
import type { Task } from "./scope-owner.ts";
import { msOf, type Span } from "./span.ts";

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
