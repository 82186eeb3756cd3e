import { assertDelay } from "./delay.ts";
import type { Scope, Task } from "./scope.ts";

/** Calls `fn` every `ms`, first after `ms`, never while its last call still runs; an error in it ends nothing. */
export function every(scope: Scope, ms: number, fn: () => unknown, where = "every"): Task {
  assertDelay("every", ms);
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
