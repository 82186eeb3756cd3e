import type { Scope } from "./scope.ts";

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
