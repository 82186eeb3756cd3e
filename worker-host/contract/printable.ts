/**
 * What a terminal would obey, or show elsewhere than it stands: controls (C0, DEL, C1), signs that turn the direction of
 * writing or can't be seen, separators of lines, and halves of surrogate pairs.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Surrogate}]/gu;

const SHORT: ReadonlyMap<string, string> = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

/** A text from outside on one line, with what a terminal would obey written out: `\u001b[2J`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (sign) => SHORT.get(sign) ?? escaped(sign));
}

/** The same for a text of several lines. */
export function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

/** The same for a text of JSON: it stays JSON, and means the same. */
export function printableJson(json: string): string {
  return json.replace(UNPRINTABLE, escaped);
}

function escaped(sign: string): string {
  return Array.from({ length: sign.length }, (_, index) => {
    return `\\u${sign.charCodeAt(index).toString(16).padStart(4, "0")}`;
  }).join("");
}
