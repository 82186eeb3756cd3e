import { jsonIn } from "../contract/payload.ts";
import { LINE_BEGIN } from "./log-pipe.ts";

/** What stands where a secret was. */
export const HIDDEN = "[hidden]";
/** A shorter text is too likely to stand in a line by itself. */
const SHORTEST = 4;
/** A password that is one short word may also be a word of a message. */
const WORD = /^[a-z]{1,8}$/i;
/** What stands beside a word that is a value, and none of a message's words. */
const BESIDE = "[:=/@?&,;\"'`()\\\\]";
/** How often JSON may stand in a text of JSON. */
const NESTED = 4;

/** Texts that no line of a log may hold, such as passwords. */
export class Secrets {
  readonly #texts = new Set<string>();

  constructor(texts: Iterable<string> = []) {
    for (const text of texts) this.add(text);
  }

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
    for (const secret of this.#texts) cleaned = hide(secret, cleaned);
    return cleaned;
  }

  /** A line of JSON without them. */
  clean(line: string): string {
    let found = false;
    const [begin = ""] = LINE_BEGIN.exec(line) ?? [];
    let rest = line.slice(begin.length);
    for (const text of this.#texts) {
      if (!rest.includes(text)) continue;
      const hidden = hide(text, rest);
      found ||= hidden !== rest;
      rest = hidden;
    }
    if (!found) return line;
    const cleaned = begin + rest;
    // A secret of digits may have stood in a number.
    return jsonIn(cleaned) !== undefined || begin === ""
      ? cleaned
      : `${begin},"msg":"a line with a secret is left out"}\n`;
  }
}

function hide(secret: string, text: string): string {
  if (!WORD.test(secret)) return text.replaceAll(secret, HIDDEN);
  return text.replace(new RegExp(`(?<=^|${BESIDE})${secret}(?=$|${BESIDE})|(?<==)${secret}(?=\\s)`, "g"), HIDDEN);
}

/** Half of a surrogate pair has no form in a URL. */
function encodeForUrl(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString());
}
