import { isDeepStrictEqual } from "node:util";
import {
  type Alias,
  type Document,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  visit,
  YAMLMap,
  type YAMLSeq,
} from "yaml";
import { isValues, type Values } from "./config-file.ts";

/**
 * Changes a document until it means `next`, or until `most` changes are done: each sets, adds or removes one key or
 * item. A list is changed item by item, so that the comments in it stay.
 *
 * @param source what the document was parsed from
 */
export function reshape(document: Document, source: string, next: Values, most: number): void {
  const { contents } = document;
  if (isMap(contents)) new Reshaper(document, source, most).map(contents, document.toJS() as Values, next, [contents]);
  else document.contents = document.createNode(next, { aliasDuplicateObjects: false });
}

/** A key as it is in the values; `undefined` for the merge key `<<`. */
export function keyOf({ key }: Pair): string | undefined {
  if (!isScalar(key) || typeof key.value === "symbol") return undefined;
  return key.value === null ? "" : String(key.value);
}

class Reshaper {
  readonly #document: Document;
  readonly #source: string;
  #left: number;
  /** The aliases of each node with an anchor, and what holds them. */
  readonly #aliases = new Map<Node, { alias: Alias; holder: unknown }[]>();

  constructor(document: Document, source: string, most: number) {
    this.#document = document;
    this.#source = source;
    this.#left = most;
    const anchors = new Map<string, Node>();
    visit(document, {
      Node: (_, node, path) => {
        if (!isAlias(node)) {
          if (node.anchor) anchors.set(node.anchor, node);
          return;
        }
        const named = anchors.get(node.source);
        const aliases = named && this.#aliasesOf(named);
        if (aliases) this.#aliases.set(named, aliases);
        aliases?.push({ alias: node, holder: path.at(-1) });
      },
    });
  }

  /**
   * @param now what the map means before any change
   * @param trail the map, and all that it is in
   */
  map(map: YAMLMap, now: Values, next: Values, trail: Node[]): void {
    const places = new Map(map.items.map((pair, at) => [keyOf(pair), at]));
    for (const [key, value] of Object.entries(next)) {
      const at = places.get(key) ?? -1;
      const pair = map.items[at];
      const old = Object.hasOwn(now, key) ? now[key] : undefined;
      if (pair) this.#value(pair.value, old, value, trail, at, (node) => Object.assign(pair, { value: node }));
      // What `<<` brings in needs no key of its own.
      else if (!isDeepStrictEqual(old, value)) {
        this.#act(trail, undefined, () => {
          if (map.items.length === 0) map.flow = false;
          map.items.push(this.#document.createPair(this.#create(key, map.flow), this.#create(value, map.flow)));
        });
      }
    }
    let at = 0;
    for (const pair of [...map.items]) {
      const key = keyOf(pair);
      if (key === undefined) this.#narrow(map, at, pair, next, trail);
      else if (!Object.hasOwn(next, key)) this.#act(trail, pair.value, () => this.#remove(map, at));
      if (map.items[at] === pair) at++;
    }
  }

  #seq(seq: YAMLSeq, old: unknown[], next: unknown[], trail: Node[]): void {
    const most = Math.min(old.length, next.length);
    let [front, back] = [0, 0];
    while (front < most && isDeepStrictEqual(old[front], next[front])) front++;
    while (front + back < most && isDeepStrictEqual(old.at(-1 - back), next.at(-1 - back))) back++;
    const upTo = most - back;
    for (let at = front; at < upTo; at++) {
      this.#value(seq.items[at], old[at], next[at], trail, at, (node) => seq.items.splice(at, 1, node));
    }
    for (let at = old.length - back - 1; at >= upTo; at--) {
      this.#act(trail, seq.items[at], () => this.#remove(seq, at));
    }
    const model = seq.items[Math.max(upTo - 1, 0)];
    const flow = seq.items.length > 0 && (seq.flow || (isCollection(model) && model.flow));
    for (const [at, value] of next.slice(upTo, next.length - back).entries()) {
      this.#act(trail, undefined, () => {
        if (seq.items.length === 0) seq.flow = false;
        seq.items.splice(upTo + at, 0, this.#create(value, flow));
      });
    }
  }

  /**
   * Changes the value of a key, or an item, that `put` can replace.
   *
   * @param now what it means before any change
   * @param at its place in the innermost of `trail`
   */
  #value(old: unknown, now: unknown, next: unknown, trail: Node[], at: number, put: (node: Node) => void): void {
    if (isDeepStrictEqual(now, next)) return;
    const isEmpty = typeof next === "object" && next !== null && Object.keys(next).length === 0;
    if (isMap(old) && isValues(next) && !isEmpty) this.map(old, now as Values, next, [...trail, old]);
    else if (isSeq(old) && Array.isArray(next) && !isEmpty) this.#seq(old, now as unknown[], next, [...trail, old]);
    else {
      this.#act(trail, old, () => {
        const node = this.#create(next, isCollection(old) && old.flow && old.items.length > 0);
        // Without, its comment would push it down to a line of its own.
        if (isCollection(node) && node.items.length === 0) node.flow = true;
        if (isNode(old)) this.#keepComments(old, node, trail.at(-1), at);
        const type = isScalar(old) ? old.type : undefined;
        if (isScalar(node) && typeof next === "string" && type?.startsWith("QUOTE")) node.type = type;
        put(node);
      });
    }
  }

  /** Where `<<` brings in a key that has to go, it gets the others as a map of its own. */
  #narrow(map: YAMLMap, at: number, pair: Pair, next: Values, trail: Node[]): void {
    const alone = new YAMLMap(this.#document.schema);
    alone.items = [pair];
    const brought = Object.entries(this.#js(alone) as Values);
    const kept = brought.filter(([key]) => Object.hasOwn(next, key));
    if (kept.length === brought.length) return;
    this.#act(trail, pair.value, () => {
      if (kept.length === 0) this.#remove(map, at);
      else pair.value = this.#create(Object.fromEntries(kept), true);
    });
  }

  /** Does one change, if one is left. The aliases of what becomes another by it get the value that they have now. */
  #act(trail: Node[], old: unknown, change: () => void): void {
    if (this.#left === 0) return;
    this.#left--;
    this.#keepAliases(trail, old);
    change();
  }

  #keepAliases(trail: Node[], old: unknown): void {
    // Most documents have none.
    if (this.#aliases.size === 0) return;
    const touched = new Set(trail);
    if (isNode(old)) visit(old, { Node: (_, node) => void touched.add(node) });
    for (const node of touched) {
      const aliases = this.#aliasesOf(node).filter(({ alias }) => alias !== old);
      if (aliases.length === 0) continue;
      const value = this.#js(node);
      for (const { alias, holder } of aliases) replaceIn(holder, alias, this.#create(value, true));
      this.#aliases.delete(node);
    }
  }

  #aliasesOf(node: Node): { alias: Alias; holder: unknown }[] {
    return this.#aliases.get(node) ?? [];
  }

  #create(value: unknown, flow: boolean | undefined): Node {
    const node = this.#document.createNode(value, { flow: flow === true, aliasDuplicateObjects: false }) as Node;
    visit(node, {
      Scalar: (_, scalar) => {
        // Over several lines, these are hard to read, or to get right.
        const { value: text } = scalar;
        if (typeof text === "string" && (flow ? /\n/ : /^\s|\s\n$|\r/).test(text)) scalar.type = "QUOTE_DOUBLE";
      },
    });
    return node;
  }

  /** Gives a node the comments of the one it replaces. */
  #keepComments(old: Node, node: Node, parent: unknown, at: number): void {
    const isItem = isSeq(parent);
    const isBlock = isCollection(node) && !node.flow && node.items.length > 0;
    const comment = this.#commentsOf(old);
    // What stands behind a value on its line would come after all of a block.
    const beside = joined("\n", [isItem ? null : old.commentBefore, comment.beside]);
    node.commentBefore = joined("\n", [isItem ? old.commentBefore : null, isBlock ? beside : null]);
    node.comment = isBlock ? null : beside;
    node.spaceBefore = isItem && old.spaceBefore === true;
    if (!isMap(parent) && !isItem) return;
    this.#handOn(parent, at + 1, [], old);
  }

  /** Removes an entry and the comment right above it; what stands further up is likely a heading, and stays. */
  #remove(from: YAMLMap | YAMLSeq, index: number): void {
    const [first, value] = endsOf(from.items[index]);
    const paragraphs = first?.commentBefore?.split("\n\n") ?? [];
    const heads = index === 0 && paragraphs.length === 1;
    from.items.splice(index, 1);
    const [heir] = endsOf(from.items[index]);
    if (heir) heir.spaceBefore = index > 0 && (first?.spaceBefore || heir.spaceBefore) === true;
    this.#handOn(from, index, heads ? paragraphs : paragraphs.slice(0, -1), value);
  }

  /** Puts comments, and that under a value that goes, above the entry at `index`, or where there is none, at the end. */
  #handOn(collection: YAMLMap | YAMLSeq, index: number, comments: string[], gone: unknown): void {
    const { under } = this.#commentsOf(gone);
    const [heir] = endsOf(collection.items[index]);
    if (!heir) {
      const field = collection.items.length > 0 ? "comment" : "commentBefore";
      collection[field] = joined("\n\n", [...comments, under, collection[field]]);
      return;
    }
    heir.commentBefore = joined("\n\n", [...comments, under, heir.commentBefore]);
    if (isScalar(gone) && gone.source === "" && gone.comment && gone.range && heir.range) {
      // The parser sees a blank line in any comment behind a key without a value.
      heir.spaceBefore = /\n[ \t]*\n/.test(this.#source.slice(gone.range[0], heir.range[0]));
    }
  }

  /** The comment of a value's line, and what comes under it: to the parser, that above the next key is part of that. */
  #commentsOf(node: unknown): { beside?: string | null | undefined; under?: string | null | undefined } {
    if (isScalar(node) && node.source === "" && node.range) {
      const [first, ...others] = node.comment?.split("\n") ?? [];
      const onLine = /^[ \t]*#/.test(this.#source.slice(node.range[0], node.range[0] + 200));
      return onLine ? { beside: first, under: others.join("\n") } : { under: node.comment };
    }
    if (!isCollection(node) || node.flow) return { beside: isNode(node) ? node.comment : null };
    return { under: node.comment || this.#commentsOf(endsOf(node.items.at(-1))[1]).under };
  }

  #js(node: unknown): unknown {
    return isNode(node) ? node.toJS(this.#document) : (node ?? null);
  }
}

/** Puts a node in the place of an alias. */
function replaceIn(holder: unknown, alias: Alias, node: Node): void {
  if (isSeq(holder)) holder.items[holder.items.indexOf(alias)] = node;
  if (!isPair(holder)) return;
  if (holder.key === alias) holder.key = node;
  if (holder.value === alias) holder.value = node;
}

/** The key and the value of a pair; of an item, twice itself. */
function endsOf(entry: unknown): [first: Node | undefined, value: unknown] {
  if (!isPair(entry)) return isNode(entry) ? [entry, entry] : [undefined, entry];
  return isNode(entry.key) ? [entry.key, entry.value] : [undefined, entry.value];
}

function joined(between: string, comments: (string | null | undefined)[]): string | null {
  return comments.filter((comment) => comment).join(between) || null;
}
