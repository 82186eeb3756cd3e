/** What went wrong, as a word that a program can compare; the message is for the person who has to mend it. */
export type ErrorCode =
  | "invalid_id"
  | "invalid_topic"
  | "invalid_value"
  | "invalid_settings"
  | "reserved_topic"
  | "load_failed"
  | "invalid_config"
  | "not_built"
  | "not_written"
  | "not_allowed"
  | "outside"
  | "port_in_use"
  | "port_refused"
  | "name_held"
  | "data_held"
  | "timeout";

/** An error of ours: its message names what was found and says what to write instead. */
export class WorkerHostError extends Error {
  override readonly name = "WorkerHostError";

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** How many causes of an error are told. */
const MOST_CAUSES = 3;

/** `TypeError: message`, whatever was thrown, and what caused it: `TypeError: fetch failed: connect ECONNREFUSED …`. */
export function describeError(error: unknown): string {
  // Ours say all.
  if (error instanceof WorkerHostError) return error.message;
  if (!(error instanceof Error)) return `thrown: ${textOf(error)}`;
  let text = `${error.name}: ${error.message}`;
  let cause = causeOf(error);
  for (let count = 0; cause instanceof Error && count < MOST_CAUSES; count++) {
    if (!text.includes(cause.message)) text += `: ${cause.message}`;
    cause = causeOf(cause);
  }
  return text;
}

/** Of several errors at once, such as those of each address of a host, the first. */
function causeOf({ cause }: Error): unknown {
  return cause instanceof AggregateError && cause.message === "" ? cause.errors[0] : cause;
}

/** The message of an error; what was thrown may be none. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : `thrown: ${typeof thrown}`;
}

/** Of an object, what is in it; `String` would say "[object Object]", or throw. */
export function textOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  try {
    return JSON.stringify(value) ?? "an object";
  } catch (cause) {
    return `an object (${messageOf(cause)})`;
  }
}
