import type { Scope } from "./scope.ts";

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
