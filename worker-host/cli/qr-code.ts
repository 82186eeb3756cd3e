import { renderUnicodeCompact } from "uqr";

/** A QR code for a terminal, two rows to a line: dark on light, whatever the terminal has. */
export function qrCode(text: string): string {
  // Inverted, it draws what is dark, in black on a white ground.
  const lines = renderUnicodeCompact(text, { border: 2, invert: true }).split("\n");
  return lines.map((line) => `\x1b[30;107m${line}\x1b[0m`).join("\n");
}
