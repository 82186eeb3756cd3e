import { isDeepStrictEqual } from "node:util";
import { type Document, isCollection, isMap, isNode, isPair, isScalar, isSeq, type Pair, visit } from "yaml";
import { parseJson } from "../../contract/payload.ts";
import type { Values } from "./config-file.ts";
import { keyOf, reshape } from "./config-reshape.ts";
import { type ReadYaml, readYaml } from "./config-yaml.ts";

/** Changes are made one by one, each with the file parsed and printed anew; after about so many letters, the rest at once. */
const MOST_LETTERS = 50_000;

/** A text and what it means. */
interface Meant {
  text: string;
  /** `undefined` where the text has a fault. */
  meaning: unknown;
}

/**
 * Makes the text of a config file mean `next`. What isn't changed stays as it is, down to the spaces; where a file is
 * written too oddly for that, more of it is printed anew. The caller has to compare the result's meaning with `next`.
 *
 * @param text YAML or JSON without faults and without a byte order mark
 */
export function rewriteText(text: string, json: boolean, next: Values): Meant {
  let now: Meant = { text, meaning: meaningOf(text, json) };
  const letters = Math.max(text.length, JSON.stringify(next).length);
  const singly = Math.min(Math.ceil(MOST_LETTERS / (letters + 1)), 40);
  for (let change = 0; change <= singly; change++) {
    if (now.meaning === undefined || isDeepStrictEqual(now.meaning, next)) break;
    now = rewriteOnce(now.text, json, next, change < singly ? 1 : Number.POSITIVE_INFINITY);
  }
  return now;
}

/** What a text means: `{}` where nothing is in it, `undefined` where it has a fault. */
export function meaningOf(text: string, json: boolean): unknown {
  if (text.trim() === "") return {};
  try {
    if (json) return parseJson(text) ?? {};
    const { document, fault } = read(text, json);
    return fault === undefined ? (document?.toJS() ?? {}) : undefined;
  } catch {
    // Not JSON, an alias to nowhere, or a merge key with what can't be merged.
    return undefined;
  }
}

/** compat: a new "on" or "12:30" in quotes, for what reads YAML 1.1. */
function read(text: string, json: boolean): ReadYaml {
  return readYaml(text, json, { compat: json ? null : "yaml-1.1" });
}

function rewriteOnce(text: string, json: boolean, next: Values, most: number): Meant {
  // A comment would keep its "\r".
  const source = text.replaceAll("\r\n", "\n");
  const { document } = read(source, json);
  if (!document) return { text, meaning: undefined };
  const print = json ? jsonPrinter(source) : yamlPrinter(source, document);
  const before = print(document);
  reshape(document, source, next, most);
  const after = print(document);
  const meaning = meaningOf(after, json);
  if (source.trim() === "") return { text: after, meaning };
  const eol = /^[^\n]*\r\n/.test(text) ? "\r\n" : "\n";
  for (const tight of [true, false]) {
    const merged = merge(wordsIn(text), wordsIn(before), wordsIn(after), eol, tight);
    if (isDeepStrictEqual(meaningOf(merged, json), meaning)) return { text: merged, meaning };
  }
  const printed = after.replaceAll("\n", eol);
  return { text: printed, meaning: meaningOf(printed, json) };
}

interface Word {
  space: string;
  text: string;
}

/** The last is empty, with the space at the end. */
function wordsIn(text: string): Word[] {
  const found = text.matchAll(/([ \t\r\n]*)([{}[\],:]|[^ \t\r\n{}[\],:]+|$)/g);
  const words = [...found].map(([, space = "", word = ""]) => ({ space, text: word }));
  return words.slice(0, words.findIndex((word) => word.text === "") + 1);
}

/**
 * Takes from `after` what differs from `before`, and the rest from `text`, of which `before` is a plain print.
 *
 * @param tight whether a list is printed as `[a, b]`, not `[ a, b ]`
 */
function merge(text: Word[], before: Word[], after: Word[], eol: string, tight: boolean): string {
  const source = before.length === text.length ? (at: number) => text[at] : aligned(before, text);
  const stays = aligned(
    after,
    before.map((word, at) => ({ ...word, at })),
  );
  const find = (at: number) => {
    const printed = stays(at);
    const written = printed && source(printed.at);
    // Behind the colon of a new key, which may have no quotes, YAML wants its space.
    const glued = written?.space === "" && after[at - 1]?.text === ":" && stays(at - 2) === undefined;
    return { written, space: printed?.space === after[at]?.space && !glued ? written?.space : undefined };
  };
  // The lines that the next one may stand in: how far in each is printed, and how far it is in the text.
  const open: [printed: string, written: string][] = [["", ""]];
  const parts = after.map((word, at) => {
    const { written, space } = find(at);
    const text = (written ?? word).text;
    const indentation = indentationIn(word.space);
    if (indentation === undefined) {
      const inBrackets = tight && word.space === " " && (word.text === "]" || after[at - 1]?.text === "[");
      return (space ?? (inBrackets ? "" : word.space)) + text;
    }
    while (open.length > 1 && (open.at(-1)?.[0].length ?? 0) > indentation.length) open.pop();
    const [outer, given] = open.at(-1) ?? ["", ""];
    let found = space === undefined ? undefined : indentationIn(space);
    for (let next = at + 1; found === undefined && outer.length < indentation.length && next < after.length; next++) {
      const ahead = indentationIn(after[next]?.space ?? "");
      if (ahead === indentation) found = indentationIn(find(next).space ?? "");
      else if (ahead !== undefined && ahead.length < indentation.length) break;
    }
    found ??= given + indentation.slice(outer.length);
    open.push([indentation, found]);
    const lines = word.space.slice(0, word.space.length - indentation.length).replaceAll("\n", eol);
    return (space ?? lines + found) + text;
  });
  return parts.join("");
}

/** How far in a line starts; `undefined` where none does. */
function indentationIn(space: string): string | undefined {
  return /\n([ \t]*)$/.exec(space)?.[1];
}

/** For the words that two texts start and end with alike, the one of `others` that a word of `words` is. */
function aligned<Other extends Word>(words: Word[], others: Other[]): (at: number) => Other | undefined {
  const most = Math.min(words.length, others.length);
  let [front, back] = [0, 0];
  while (front < most && words[front]?.text === others[front]?.text) front++;
  // A line that starts like another may be that which comes after it.
  while (front > 0 && front < words.length && !words[front]?.space.includes("\n")) front--;
  while (front + back < most && words.at(-1 - back)?.text === others.at(-1 - back)?.text) back++;
  while (front + back < most && words[front]?.text === others[front]?.text) front++;
  return (at) => {
    if (at < front) return others[at];
    return at >= words.length - back ? others[at - words.length + others.length] : undefined;
  };
}

/** Prints with the indentation that `source` has. */
function yamlPrinter(source: string, document: Document.Parsed): (document: Document) => string {
  const start = (node: unknown) => (isNode(node) ? (node.range?.[0] ?? 0) : 0);
  const column = (node: unknown) => start(node) - (source.lastIndexOf("\n", start(node) - 1) + 1);
  let [indent, indentSeq, padded]: [number?, boolean?, boolean?] = [];
  visit(document, {
    Pair(_, { key, value }) {
      if (!isCollection(value) || value.flow) return;
      const deeper = column(value) - column(key);
      if (isMap(value) && deeper > 0) indent ??= deeper;
      if (isSeq(value)) indentSeq ??= deeper > 0;
    },
    Map(_, map) {
      if (map.flow && map.items.length > 0) padded ??= /\s/.test(source[start(map) + 1] ?? "");
    },
  });
  const options = {
    lineWidth: 0,
    doubleQuotedMinMultiLineLength: Number.MAX_SAFE_INTEGER,
    indent: indent ?? 2,
    indentSeq: indentSeq ?? true,
    flowCollectionPadding: padded ?? true,
  };
  return (document) => document.toString(options);
}

/** Prints with the indentation that `source` has, and on one line what is on one line there. */
function jsonPrinter(source: string): (document: Document) => string {
  const unit = /\n([ \t]+)\S/.exec(source)?.[1] ?? "  ";
  const compact = /":\S/.test(source) && !/":\s/.test(source);
  const written = (node: unknown) => (isNode(node) && node.range ? source.slice(node.range[0], node.range[1]) : "");
  const print = (node: unknown, newline: string): string => {
    if (isPair(node))
      return `${JSON.stringify(keyOf(node as Pair))}:${compact ? "" : " "}${print(node.value, newline)}`;
    if (!isCollection(node)) return JSON.stringify(isScalar(node) ? node.value : null);
    const [open, close] = isMap(node) ? ["{", "}"] : ["[", "]"];
    if (node.items.length === 0) return open + close;
    // What was empty says nothing about lines.
    const isNew = !/[^[\]{}\s]/.test(written(node));
    const many = isNew ? isMap(node) || !node.items.every(isScalar) : written(node).includes("\n");
    const oneLine = newline === "" || !many;
    const flat = isSeq(node) && node.items.some((item) => isCollection(item) && /^.{3,}$/.test(written(item)));
    const [inner, outer] = oneLine ? ["", ""] : [`${newline}${unit}`, newline];
    const items = node.items.map((item) => print(item, flat && written(item) === "" ? "" : inner));
    const comma = oneLine && !compact ? ", " : ",";
    return `${open}${inner}${items.join(comma + inner)}${outer}${close}`;
  };
  const end = source.trim() === "" || source.endsWith("\n") ? "\n" : "";
  return (document) => print(document.contents, "\n") + end;
}
