import { HIDDEN } from "../contract/bus.ts";

/** A shorter text is too likely to stand in a line by itself. */
const SHORTEST = 4;
/** How often JSON may stand in a text of JSON. */
const NESTED = 4;

/** How each line begins; what follows is what somebody said. */
const BEGIN = /^\{"level":\d+,"time":"[^"]*"(,"worker":"[A-Za-z0-9_-]+")?/;

/** Texts that no line of a log may hold, such as passwords. */
export class Secrets {
  readonly #texts = new Set<string>();

  add(text: string | undefined): void {
    if (text === undefined || text.length < SHORTEST) return;
    let form = text;
    this.#texts.add(encodeForUrl(text));
    for (let depth = 0; depth <= NESTED; depth++) {
      this.#texts.add(form);
      form = JSON.stringify(form).slice(1, -1);
    }
  }

  /** A text for people without them. */
  cleanText(text: string): string {
    let cleaned = text;
    for (const secret of this.#texts) cleaned = cleaned.replaceAll(secret, HIDDEN);
    return cleaned;
  }

  /** A line of JSON without them. */
  clean(line: string): string {
    let found = false;
    const [begin = ""] = BEGIN.exec(line) ?? [];
    let rest = line.slice(begin.length);
    for (const text of this.#texts) {
      if (!rest.includes(text)) continue;
      found = true;
      rest = rest.replaceAll(text, HIDDEN);
    }
    if (!found) return line;
    const cleaned = begin + rest;
    return isJson(cleaned) || begin === "" ? cleaned : `${begin},"msg":"a line with a secret is left out"}\n`;
  }
}

/** Half of a surrogate pair has no form in a URL. */
function encodeForUrl(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString());
}

/** A secret of digits may have stood in a number. */
function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
