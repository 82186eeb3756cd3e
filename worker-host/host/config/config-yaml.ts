import { type CST, LineCounter, Parser } from "yaml";
import { MOST_LEVELS } from "../../contract/payload.ts";

export const TOO_DEEP = `nested more than ${MOST_LEVELS} levels deep`;

/**
 * Line and column from where a text, YAML or JSON, is nested too deep. Looks without recursion: what composes a very deep
 * document runs out of stack, which can end the process.
 */
export function tooDeepAt(text: string): string | undefined {
  const lines = new LineCounter();
  for (const token of new Parser(lines.addNewLine).parse(text)) {
    const open: [CST.Token, number][] = token.type === "document" && token.value ? [[token.value, 1]] : [];
    for (let next = open.pop(); next; next = open.pop()) {
      const [outer, level] = next;
      if (!("items" in outer)) continue;
      if (level > MOST_LEVELS) {
        const { line, col } = lines.linePos(outer.offset);
        return `${line}:${col}`;
      }
      for (const { key, value } of outer.items) {
        if (key) open.push([key, level + 1]);
        if (value) open.push([value, level + 1]);
      }
    }
  }
  return undefined;
}
