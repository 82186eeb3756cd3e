type Values = Record<string, unknown>;

/** A config file in either syntax, and a patch for it. */
export interface ConfigCase {
  yaml: string;
  json: string;
  /** What both files mean. */
  old: Values;
  patch: Values;
  /** What they mean with the patch, by RFC 7396. */
  merged: Values;
}

const KEYS = [
  "a",
  "b",
  "interval",
  "__proto__",
  "constructor",
  "on",
  "1",
  "a b",
  "x: y",
  "#k",
  "",
  "<",
  "größe",
  "k\nl",
];

const TEXTS = [
  ...["", "x", "on", "12:30", "a: b", "#c", "a #b", " lead", "trail ", "x\ny", "x\ny\n", "x\n\n", "\n", "\n x", "a, b"],
  ...[
    "[x",
    "{y}",
    "$".concat("{ENV}"),
    "\t",
    "\u0000",
    "\ud800",
    "\u2028é😀",
    "null",
    "~",
    "5",
    "0x1",
    "- x",
    "*a",
    "&a",
  ],
  ...["!t", "%d", "@q", "'", '"', "it's", "\\", "\r\n", "x\r", "\ufeff", "---", "...", "? k", "|", ">", "=", "<<"],
  ...["a\n  b\n c", "a text so long that whoever folds its lines at eighty columns would have to fold this one too"],
];

/** A case of its own for each seed, always the same: odd keys and texts, in a file with odd spaces and comments. */
export function configCase(seed: number): ConfigCase {
  const random = new Random(seed);
  const old = values(random, 3);
  const patch = patchFor(random, old, 2);
  const json = JSON.stringify(old, null, random.pick([0, 2, 4, "\t"])) + random.pick(["", "\n"]);
  return { yaml: new YamlWriter(random).file(old), json, old, patch, merged: merge(old, patch) };
}

/** Mulberry32. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** From 0 on. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(of: number): boolean {
    return this.next() < of;
  }

  pick<Item>(from: readonly [Item, ...Item[]] | readonly Item[]): Item {
    return from[this.below(from.length)] as Item;
  }
}

function values(random: Random, depth: number): Values {
  return Object.fromEntries(Array.from({ length: random.below(5) }, () => [random.pick(KEYS), value(random, depth)]));
}

function value(random: Random, depth: number): unknown {
  const kind = depth === 0 ? random.below(6) : random.below(10);
  if (kind < 3) return random.pick(TEXTS);
  if (kind < 6) return random.pick([0, 1, -1, 1.5, 1e21, 3000, -0.25, 1e-7, true, false, null]);
  if (kind < 8) return values(random, depth - 1);
  return Array.from({ length: random.below(4) }, () => value(random, depth - 1));
}

function patchFor(random: Random, old: Values, depth: number): Values {
  const patch = new Map<string, unknown>();
  for (const [key, item] of Object.entries(old)) {
    const kind = random.next();
    if (kind < 0.15) patch.set(key, null);
    else if (kind < 0.35) patch.set(key, value(random, depth));
    else if (kind < 0.6 && Array.isArray(item)) patch.set(key, changedList(random, item, depth));
    else if (kind < 0.6 && isValues(item)) patch.set(key, patchFor(random, item, Math.max(depth - 1, 0)));
  }
  for (let more = random.below(3); more > 0; more--) patch.set(random.pick(KEYS), value(random, depth));
  return Object.fromEntries(patch);
}

function changedList(random: Random, old: unknown[], depth: number): unknown[] {
  const list = [...old];
  for (let more = random.below(3); more >= 0; more--) {
    const at = random.below(list.length + 1);
    const item = list[at];
    const put = isValues(item) ? { ...item, a: value(random, depth - 1) } : value(random, depth - 1);
    list.splice(at, random.below(2), ...(random.chance(0.7) ? [put] : []));
  }
  return list;
}

/** The pseudocode of RFC 7396, section 2. */
function merge(target: unknown, patch: Values): Values {
  const merged = new Map(isValues(target) ? Object.entries(target) : []);
  for (const [key, item] of Object.entries(patch)) {
    if (item === null) merged.delete(key);
    else merged.set(key, isValues(item) ? merge(merged.get(key), item) : item);
  }
  return Object.fromEntries(merged);
}

function isValues(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Writes YAML as people do: each value in another way, with comments and blank lines. */
class YamlWriter {
  readonly #random: Random;
  readonly #step: number;
  readonly #listStep: number;
  #comments = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#step = random.pick([2, 2, 3, 4]);
    this.#listStep = random.pick([0, 2, 4]);
  }

  file(root: Values): string {
    const random = this.#random;
    const body = Object.keys(root).length === 0 ? random.pick(["", "{}\n"]) : this.#block(root, 0);
    let text = `${random.pick(["", "# head\n\n"])}${body}${random.pick(["", "", "# end\n"])}`;
    if (random.chance(0.15)) text = text.replaceAll("\n", "\r\n");
    if (random.chance(0.1)) text = text.replace(/\r?\n$/, "");
    return random.chance(0.1) ? `\ufeff${text}` : text;
  }

  #block(value: unknown[] | Values, column: number): string {
    const pad = " ".repeat(column);
    if (Array.isArray(value)) {
      return value.map((item) => `${this.#above(pad)}${pad}-${this.#behind(item, column, this.#step)}`).join("");
    }
    const keys = Object.entries(value).map(([key, item]) => {
      const deeper = Array.isArray(item) ? this.#listStep : this.#step;
      return `${this.#above(pad)}${pad}${this.#text(key)}:${this.#behind(item, column, deeper)}`;
    });
    return keys.join("");
  }

  #behind(value: unknown, column: number, deeper: number): string {
    const random = this.#random;
    if (value === null && random.chance(0.5)) return `${this.#beside()}\n`;
    if (typeof value === "string" && /^[a-z]\n[a-z]\n?$/.test(value) && random.chance(0.7)) {
      const lines = value.trimEnd().split("\n");
      const pad = " ".repeat(column + this.#step);
      return ` |${value.endsWith("\n") ? "" : "-"}${this.#beside()}\n${lines.map((line) => `${pad}${line}\n`).join("")}`;
    }
    const isBlock = typeof value === "object" && value !== null && Object.keys(value).length > 0 && random.chance(0.75);
    if (isBlock) return `${this.#beside()}\n${this.#block(value as Values, column + deeper)}`;
    return `${random.pick([" ", "   "])}${this.#flow(value)}${this.#beside()}\n`;
  }

  #flow(value: unknown): string {
    const pad = this.#random.pick(["", " "]);
    const comma = this.#random.pick([", ", ",", " , "]);
    if (Array.isArray(value)) return `[${pad}${value.map((item) => this.#flow(item)).join(comma)}${pad}]`;
    if (typeof value === "string") return this.#text(value);
    if (!isValues(value)) return value === null ? this.#random.pick(["null", "~"]) : String(value);
    const pairs = Object.entries(value).map(([key, item]) => `${this.#text(key)}: ${this.#flow(item)}`);
    return `{${pad}${pairs.join(", ")}${pad}}`;
  }

  #text(text: string): string {
    if (/^[a-z]+$/i.test(text) && text !== "null" && this.#random.chance(0.7)) return text;
    if (/^[ -~]+$/.test(text) && this.#random.chance(0.4)) return `'${text.replaceAll("'", "''")}'`;
    return JSON.stringify(text).replaceAll(/[\u2028\ufeff]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16)}`);
  }

  #beside(): string {
    return this.#random.chance(0.2) ? `${this.#random.pick([" ", "   "])}# c${++this.#comments} x` : "";
  }

  #above(pad: string): string {
    let lines = "";
    while (this.#random.chance(0.2)) lines += this.#random.chance(0.5) ? "\n" : `${pad}# c${++this.#comments}\n`;
    return lines;
  }
}
