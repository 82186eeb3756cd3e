import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type TransformFailure, transformSync } from "esbuild";
import { isCollection, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, visit } from "yaml";
import { isDeeperThan, MOST_LEVELS } from "../../contract/payload.ts";
import { TOO_DEEP, tooDeepAt } from "./config-depth.ts";

/** Keys and values, as JSON and YAML have them. */
export type Values = Record<string, unknown>;

export function isValues(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A config file's values, and what a person has to be told about them. */
export interface ParsedConfig {
  config: Values;
  /** Why there are no values, with file, line and column. */
  fault?: string;
  /** Each names the file, and line and column where there is one. */
  warnings: string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** `${NAME}`, `${NAME:-default}`, and `$${…}` for a dollar that stays. */
const VARIABLE = /\$?\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g;

/** A longer file is no config of a person's, and each look at any worker would parse it anew. */
export const LONGEST_CONFIG = 64 * 1024;

const EXTENSIONS = ["json", "yaml", "yml"];

/** Values are those of JSON, whatever tags and directives a file has: no sets, dates or bytes. */
export const PLAIN_YAML = { schema: "core", resolveKnownTags: false, logLevel: "error" } as const;

/** A worker's config file and what it holds. */
export interface ConfigFile extends ParsedConfig {
  /** `undefined` where there is none. */
  path?: string;
  /** The line of each key, by its keys, each after a `/`: `/targets/0/ms`. */
  lines: Record<string, number>;
}

export interface ReadOptions {
  env: Environment;
  /** How a path is shown to people. */
  show: (path: string) => string;
  /** What stands in for the text of a file, by its path. */
  overlay?: ReadonlyMap<string, string>;
}

/**
 * Reads the config file that stands beside a worker.
 *
 * @param dir the folder it is in
 * @param base its name without the extension: `config`, or `heartbeat.config` for a builtin
 */
export function findConfigFile(dir: string, base: string, options: ReadOptions): ConfigFile {
  const { show, overlay } = options;
  const paths = EXTENSIONS.map((extension) => join(dir, `${base}.${extension}`)).filter(
    (path) => overlay?.has(path) || existsSync(path),
  );
  const [path, ...others] = paths;
  if (path === undefined) return { config: {}, warnings: [], lines: {} };
  const file = readConfigFile(path, options);
  const unread = others.map(
    (other) => `${show(other)} is not read, since ${show(path)} is there too: keep one of them`,
  );
  return { ...file, warnings: [...unread, ...file.warnings] };
}

/** Reads a config file. One that can't be read or parsed has a fault, and gives `{}`. */
export function readConfigFile(path: string, { env, show, overlay }: ReadOptions): ConfigFile {
  const given = overlay?.get(path);
  const { text, fault: unread } = given === undefined ? read(path, show(path)) : { text: given };
  const parsed = parseConfigText(show(path), text, env);
  const fault = unread ?? parsed.fault;
  if (fault !== undefined) return { path, config: {}, fault, warnings: parsed.warnings, lines: {} };
  return { path, config: parsed.config, warnings: parsed.warnings, lines: linesOf(text) };
}

/** The lines of what stands below some keys, as from there. */
export function linesBelow(lines: Readonly<Record<string, number>>, keys: readonly string[]): Record<string, number> {
  const start = keys.map((key) => `/${key}`).join("");
  return Object.fromEntries(
    Object.entries(lines).flatMap(([pointer, line]) =>
      pointer.startsWith(`${start}/`) ? [[pointer.slice(start.length), line]] : [],
    ),
  );
}

function read(path: string, name: string): { text: string; fault?: string } {
  try {
    const { size } = statSync(path);
    return size > LONGEST_CONFIG ? { text: "", fault: tooLong(name, size) } : { text: readFileSync(path, "utf8") };
  } catch (error) {
    return { text: "", fault: `${name}: can't be read (${(error as Error).message})` };
  }
}

/** Says that a config file is too long. */
export function tooLong(name: string, bytes: number): string {
  return `${name}: it has ${bytes} bytes: expected ${LONGEST_CONFIG} at most`;
}

/** The line of each key and list item; YAML's parser reads JSON too. */
function linesOf(text: string): Record<string, number> {
  const counter = new LineCounter();
  const lines = new Map<string, number>();
  const walk = (node: unknown, pointer: string): void => {
    if (isMap(node)) {
      for (const { key, value } of node.items) {
        if (!isScalar(key)) continue;
        const inner = `${pointer}/${String(key.value)}`;
        lines.set(inner, counter.linePos(key.range?.[0] ?? 0).line);
        walk(value, inner);
      }
    } else if (isSeq(node)) {
      for (const [index, item] of node.items.entries()) {
        if (isNode(item)) lines.set(`${pointer}/${index}`, counter.linePos(item.range?.[0] ?? 0).line);
        walk(item, `${pointer}/${index}`);
      }
    }
  };
  walk(parseDocument(text, { lineCounter: counter }).contents, "");
  return Object.fromEntries(lines);
}

/** Parses JSON or YAML, by the name's extension, and puts in the environment's values. Never throws. */
export function parseConfigText(name: string, text: string, env: Environment): ParsedConfig {
  if (text.length > LONGEST_CONFIG) return { config: {}, fault: tooLong(name, text.length), warnings: [] };
  const source = text.replace(/^\uFEFF/, "");
  const deep = tooDeepAt(source);
  if (deep !== undefined) return { config: {}, fault: `${name}:${deep}: ${TOO_DEEP}`, warnings: [] };
  const parsed = name.endsWith(".json") ? parseJson(name, source) : parseYaml(name, source);
  const { value, fault, warnings = [] } = parsed;
  if (fault !== undefined) return { config: {}, fault, warnings };
  if (value === undefined || value === null) return { config: {}, warnings };
  if (!isValues(value)) {
    const found = Array.isArray(value) ? "a list" : `a ${typeof value}`;
    return { config: {}, fault: `${name}:1:1: expected keys and values, got ${found}`, warnings };
  }
  if (isDeeperThan(value, MOST_LEVELS)) {
    return { config: {}, fault: `${name}:1:1: its aliases make it ${TOO_DEEP}`, warnings };
  }
  return { config: substitute(value, env, name, warnings) as Values, warnings };
}

interface Parsed {
  value?: unknown;
  fault?: string;
  warnings?: string[];
}

function parseJson(name: string, text: string): Parsed {
  if (text.trim() === "") return {};
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { fault: `${name}:${explainJson(text) ?? `1:1: not JSON (${(error as Error).message})`}` };
  }
}

/** Line, column and what is wrong there, by esbuild: of most faults, V8 doesn't say where they are. */
function explainJson(text: string): string | undefined {
  try {
    transformSync(text, { loader: "json", logLevel: "silent" });
    return undefined;
  } catch (error) {
    const [first] = (error as Partial<TransformFailure>).errors ?? [];
    if (!first?.location) return undefined;
    const { line, column, lineText } = first.location;
    // esbuild counts bytes, an editor letters.
    const letters = Buffer.from(lineText).subarray(0, column).toString().length;
    return `${line}:${letters + 1}: ${first.text}`;
  }
}

function parseYaml(name: string, text: string): Parsed {
  const lines = new LineCounter();
  const document = parseDocument(text, { ...PLAIN_YAML, lineCounter: lines, prettyErrors: false, merge: true });
  const place = ({ pos, message }: { pos: [number, number]; message: string }) => {
    const { line, col } = lines.linePos(pos[0]);
    return `${name}:${line}:${col}: ${message}`;
  };
  const [error] = document.errors;
  if (error) return { fault: place(error) };
  const warnings = document.warnings.map(place);
  visit(document, {
    Pair: (_, { key }) => {
      if (!isCollection(key) || !key.range) return;
      const [start] = key.range;
      warnings.push(
        place({ pos: [start, start], message: "a list or map as a key is taken as a text: put it in quotes" }),
      );
    },
  });
  try {
    return { value: document.toJS(), warnings };
  } catch (cause) {
    // Too many aliases, or one to nowhere.
    return { fault: `${name}:1:1: ${(cause as Error).message}`, warnings };
  }
}

/** Puts the environment into every text. A text that is nothing but an unset variable becomes `undefined`. */
function substitute(value: unknown, env: Environment, name: string, warnings: string[]): unknown {
  if (Array.isArray(value)) return value.map((item) => substitute(item, env, name, warnings));
  if (typeof value === "string") return substituteText(value, env, name, warnings);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, substitute(item, env, name, warnings)]));
}

function substituteText(text: string, env: Environment, name: string, warnings: string[]): string | undefined {
  let unset = false;
  // Past the last "}", the pattern would look for one from each "${".
  const end = text.lastIndexOf("}") + 1;
  const replaced = text
    .slice(0, end)
    .replace(VARIABLE, (match: string, variable: string, fallback: string | undefined) => {
      if (match.startsWith("$$")) return match.slice(1);
      // As in a shell, ":-" stands in for an empty variable too.
      const given = Object.hasOwn(env, variable) ? env[variable] : undefined;
      const found = fallback === undefined ? given : given || fallback;
      if (found !== undefined) return found;
      unset = true;
      warnings.push(
        `${name}: \${${variable}} is not set in the environment: set it, or write \${${variable}:-default}`,
      );
      return "";
    });
  const whole = replaced + text.slice(end);
  return unset && whole === "" ? undefined : whole;
}
