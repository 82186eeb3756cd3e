import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./host.ts";

/** A payload, and how both our parsers read it: this one and the firmware's. */
export interface CommandVector {
  text?: string;
  /** For bytes that are no text. */
  hex?: string;
  /** Why it is no command. */
  refused?: string;
  action?: string;
  /** What follows the action, in a text. */
  rest?: string;
  /** In JSON. */
  args?: unknown;
  id?: string;
  reply_to?: string;
}

export const VECTORS: CommandVector[] = JSON.parse(
  readFileSync(join(ROOT, "test/contract/command-vectors.json"), "utf8"),
);

export function bytesOf({ text, hex = "" }: CommandVector): Uint8Array {
  return text === undefined ? Uint8Array.from(Buffer.from(hex, "hex")) : new TextEncoder().encode(text);
}

/** As it arrives where UTF-8 is read: half of a surrogate pair as U+FFFD. */
export function wellFormed(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value ?? null), (_, each) =>
    typeof each === "string" ? Buffer.from(each, "utf8").toString("utf8") : each,
  );
}
