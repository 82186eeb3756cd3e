import {
  Composer,
  type CST,
  type Document,
  type DocumentOptions,
  isScalar,
  LineCounter,
  type ParseOptions,
  Parser,
  type ScalarTag,
  type SchemaOptions,
  type Tags,
  visit,
} from "yaml";
import { MOST_JSON_LEVELS } from "../../contract/limits.ts";
import { isExact } from "../../contract/payload.ts";

export const TOO_DEEP = `nested more than ${MOST_JSON_LEVELS} levels deep`;

/** A text that was read, in whole or up to a fault. */
export interface ReadYaml {
  /** `undefined` where the text is nested too deep. */
  document: Document.Parsed | undefined;
  /** The first fault, with its line and column: `3:5: …`. */
  fault?: string;
  /** Of JSON, which has faults of its own: that a key is there twice, and where. */
  again?: string;
  /** Line and column of an offset in the text: `3:5`. */
  place: (offset: number) => string;
  /** The line of an offset in the text. */
  lineOf: (offset: number) => number;
}

/** Values are those of JSON, whatever tags and directives a file has: no sets, dates or bytes. */
const PLAIN = {
  schema: "core",
  resolveKnownTags: false,
  logLevel: "error",
  prettyErrors: false,
  customTags: (tags: Tags) => tags.map(asWritten),
} as const;

const NUMBERS: ReadonlySet<string> = new Set(["tag:yaml.org,2002:int", "tag:yaml.org,2002:float"]);

/** A number that would come to be another one, such as the digits of a tag or of a phone, is their text. */
function asWritten(tag: Tags[number]): Tags[number] {
  if (typeof tag !== "object" || tag.collection || !NUMBERS.has(tag.tag)) return tag;
  const { resolve } = tag as ScalarTag;
  return {
    ...(tag as ScalarTag),
    resolve: (text: string, ...how: [(message: string) => void, ParseOptions & SchemaOptions]) => {
      const isDecimal = /^[-+]?[\d.]+(e[-+]?\d+)?$/i.test(text);
      const isLost = isDecimal ? !isExact(text) || /^[-+]?0\d/.test(text) : /^0[xo]/.test(text) && !isSafe(text);
      return isLost ? text : resolve(text, ...how);
    },
  };
}

function isSafe(text: string): boolean {
  return Number.isSafeInteger(Number(text));
}

/**
 * Parses YAML or JSON. The time grows as the length does.
 *
 * @param json true for JSON: there `<<` has no meaning of its own
 */
export function readYaml(
  text: string,
  json: boolean,
  options: ParseOptions & DocumentOptions & SchemaOptions = {},
): ReadYaml {
  const lines = new LineCounter();
  const lineOf = (offset: number) => lines.linePos(offset).line;
  const place = (offset: number) => `${lineOf(offset)}:${lines.linePos(offset).col}`;
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  const deep = tooDeepAt(tokens);
  if (deep !== undefined) return { document: undefined, fault: `${place(deep)}: ${TOO_DEEP}`, place, lineOf };
  // The package's own check for unique keys compares each key with all before it.
  const composer = new Composer({ ...PLAIN, ...options, merge: !json, uniqueKeys: false });
  const [document, second] = composer.compose(tokens, true, text.length);
  if (!document) throw new Error("unreachable: a text without a document");
  const again = secondOfAKey(document);
  const twice =
    again === undefined ? undefined : { at: again, text: "keys must be unique, and this one is there already" };
  const found = faultIn(document, second) ?? (json ? undefined : twice);
  return {
    ...{ document, place, lineOf },
    ...(found && { fault: `${place(found.at)}: ${found.text}` }),
    ...(json && twice && { again: `${place(twice.at)}: ${twice.text}` }),
  };
}

/** Where a text is nested too deep. Looks without recursion: what composes such a text runs out of stack. */
function tooDeepAt(tokens: readonly CST.Token[]): number | undefined {
  for (const token of tokens) {
    const open: [CST.Token, number][] = token.type === "document" && token.value ? [[token.value, 1]] : [];
    for (let next = open.pop(); next; next = open.pop()) {
      const [outer, level] = next;
      if (!("items" in outer)) continue;
      if (level > MOST_JSON_LEVELS) return outer.offset;
      for (const { key, value } of outer.items) {
        if (key) open.push([key, level + 1]);
        if (value) open.push([value, level + 1]);
      }
    }
  }
  return undefined;
}

function faultIn(
  document: Document.Parsed,
  second: Document.Parsed | undefined,
): { at: number; text: string } | undefined {
  const [error] = document.errors;
  if (error) return { at: error.pos[0], text: error.message };
  return second && { at: second.range[0], text: "expected one document, got several" };
}

/** Where a key stands that its map has already. */
function secondOfAKey(document: Document.Parsed): number | undefined {
  let found: number | undefined;
  visit(document, {
    Map(_, { items }) {
      const keys = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (keys.has(key.value)) {
          found = key.range?.[0] ?? 0;
          return visit.BREAK;
        }
        keys.add(key.value);
      }
      return undefined;
    },
  });
  return found;
}
