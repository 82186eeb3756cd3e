import { WorkerHostError } from "./errors.ts";

/**
 * A value as it goes over the wire: text as it is, numbers and booleans as text, bytes as they are, dates as ISO 8601,
 * all else as JSON.
 *
 * @throws WorkerHostError `invalid_value` where the value has no such form (a function, a circular object).
 */
export function encodePayload(value: unknown): string | Uint8Array {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
    case "boolean":
    case "bigint":
      return String(value);
    case "undefined":
      return "null";
    case "function":
    case "symbol":
      throw new WorkerHostError(
        "invalid_value",
        `a ${typeof value} can't be published: give a text, number, boolean or object`,
      );
    default:
      return encodeObject(value as object | null);
  }
}

function encodeObject(value: object | null): string | Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (value instanceof Date) return value.toISOString();
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw new WorkerHostError("invalid_value", `an object can't be published as JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The text of a payload, `undefined` where its bytes are not UTF-8. */
export function decodeText(payload: Uint8Array): string | undefined {
  try {
    return utf8.decode(payload);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
