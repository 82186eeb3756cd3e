/** A shorter text is too likely to stand in a line by itself. */
const SHORTEST = 4;

/** What stands where a secret was. */
export const HIDDEN = "[hidden]";

/** How each line begins; what follows is what somebody said. */
const BEGIN = /^\{"level":\d+,"time":"[^"]*"(,"worker":"[A-Za-z0-9_-]+")?/;

/** Texts that no line of a log may hold, such as passwords. */
export class Secrets {
  readonly #texts = new Set<string>();
  readonly #raw = new Set<string>();

  add(text: string | undefined): void {
    if (text === undefined || text.length < SHORTEST) return;
    const inJson = JSON.stringify(text).slice(1, -1);
    const twice = JSON.stringify(inJson).slice(1, -1);
    this.#raw.add(text);
    for (const form of [twice, inJson, encodeForUrl(text)]) this.#texts.add(form);
  }

  /** A text for people without them. */
  cleanText(text: string): string {
    let cleaned = text;
    for (const secret of this.#raw) cleaned = cleaned.replaceAll(secret, HIDDEN);
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
