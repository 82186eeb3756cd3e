/** Rejects what was waiting in a scope when it ended; named as Node names it, so that `error.name` can tell. */
export class AbortError extends Error {
  override readonly name = "AbortError";
}
