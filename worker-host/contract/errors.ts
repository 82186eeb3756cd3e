/** What went wrong, as a word that a program can compare; the message is for the person who has to mend it. */
export type ErrorCode =
  | "invalid_id"
  | "invalid_topic"
  | "invalid_value"
  | "invalid_settings"
  | "reserved_topic"
  | "load_failed"
  | "invalid_config"
  | "not_written"
  | "not_allowed"
  | "port_in_use"
  | "port_refused"
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

/** `TypeError: message`, whatever was thrown. */
export function describeError(error: unknown): string {
  if (error instanceof WorkerHostError) return error.message;
  if (error instanceof Error) return `${error.name}: ${error.message}`;
  return `thrown: ${textOf(error)}`;
}

/** Of an object, what is in it; `String` would say "[object Object]", or throw. */
function textOf(thrown: unknown): string {
  if (typeof thrown !== "object" || thrown === null) return String(thrown);
  try {
    return JSON.stringify(thrown) ?? "an object";
  } catch (cause) {
    return `an object (${(cause as Error).message})`;
  }
}
