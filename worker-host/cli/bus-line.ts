import { type Place, placeOf } from "../contract/bus.ts";
import { decodeText, jsonIn } from "../contract/payload.ts";
import { printable } from "../contract/printable.ts";
import type { Message } from "../mqtt/wire.ts";

export interface BusLineOptions {
  prefix: string;
  /** Of the terminal, if it is one. */
  columns: number | undefined;
  colors: boolean;
}

/** Where it isn't a terminal. */
const LONGEST = 4_096;
/** More bytes are not looked at. */
const MOST_BYTES = 65_536;
const BYTES_SHOWN = 32;

/** White space between the parts of a JSON text; the texts in it are taken as they are. */
const SPACE_IN_JSON = /("(?:[^"\\]|\\.)*")|\s+/g;
const WIDE =
  /[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{20000}-\u{3fffd}]/u;

/** A message on one line for people: when, who, what, and the value. */
export function busLine(message: Message, at: Date, { prefix, columns = LONGEST, colors }: BusLineOptions): string {
  const place: Place = placeOf(prefix, message.topic) ?? { id: message.topic, key: "" };
  const paint = (code: number, text: string) => (colors ? `\u001b[${code}m${text}\u001b[0m` : text);
  const parts: [number, string][] = [
    [2, timeOf(at)],
    [36, printable(place.id).padEnd(16)],
    [colorOf(place), printable(place.key).padEnd(24)],
    [0, `${message.retain ? "(retained) " : ""}${shownValue(message.payload)}`],
  ];
  let room = columns;
  const line = parts.map(([code, text]) => {
    const part = cut(text, room);
    room -= widthOf(part) + 1;
    return code === 0 ? part : paint(code, part);
  });
  return line.join(" ").trimEnd();
}

function timeOf(at: Date): string {
  const two = (number: number) => String(number).padStart(2, "0");
  const ms = String(at.getMilliseconds()).padStart(3, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${ms}`;
}

function colorOf({ key }: Place): number {
  return (
    new Map([
      ["status/error", 31],
      ["status/warn", 33],
      ["cmd", 35],
    ]).get(key) ?? 32
  );
}

function shownValue(payload: Uint8Array): string {
  if (payload.length === 0) return "(empty)";
  if (payload.length > MOST_BYTES) return `(${payload.length} bytes)`;
  const text = decodeText(payload);
  if (text === undefined) {
    const hex = Buffer.from(payload.subarray(0, BYTES_SHOWN)).toString("hex");
    return `(${payload.length} bytes: ${hex}${payload.length > BYTES_SHOWN ? "…" : ""})`;
  }
  const folded = /^\s*[[{]/.test(text) && jsonIn(text) !== undefined ? text.trim().replace(SPACE_IN_JSON, "$1") : text;
  return printable(folded);
}

function widthOf(text: string): number {
  let width = 0;
  for (const sign of text) width += signWidth(sign);
  return width;
}

function signWidth(sign: string): number {
  if (sign < "\u0300") return 1;
  return WIDE.test(sign) ? 2 : /\p{Mark}/u.test(sign) ? 0 : 1;
}

/** The begin of a text that has room, with a sign that says where more was there. */
function cut(text: string, width: number): string {
  if (width < 1) return "";
  // Signs without a width of their own are few.
  const begin = text.slice(0, 4 * width);
  if (begin === text && widthOf(text) <= width) return text;
  let room = width - 1;
  let kept = "";
  for (const sign of begin) {
    room -= signWidth(sign);
    if (room < 0) break;
    kept += sign;
  }
  return `${kept}…`;
}
