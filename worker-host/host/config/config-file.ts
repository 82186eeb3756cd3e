import { existsSync } from "node:fs";
import { join } from "node:path";
import { type TransformFailure, transformSync } from "esbuild";
import { isCollection, isMap, isScalar, isSeq, type Node, type Scalar, visit } from "yaml";
import { readRegularFile } from "../../base/paths.ts";
import { MOST_JSON_LEVELS } from "../../contract/limits.ts";
import { decodeText, isDeeperThan, parseJson } from "../../contract/payload.ts";
import type { KeyLines } from "../../worker/channel.ts";
import { MAX_CONFIG_BYTES } from "../limits.ts";
import { type ReadYaml, readYaml, TOO_DEEP } from "./config-yaml.ts";

/** What goes over a builtin worker's config, and that for people: a `${NAME}` in it stands as it was written. */
export interface BuiltinConfig {
  values: Values;
  shown: Values;
}

/** Keys and values, as JSON and YAML have them. */
export type Values = Record<string, unknown>;

export function isValues(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A config file's values, and what a person has to be told about them. */
export interface ParsedConfig {
  config: Values;
  /** The values for people, where they are others: a text in which a `${NAME}` stands is as the file has it. */
  shown?: Values;
  /** The texts that came from the environment: none may be shown. */
  filled?: string[];
  /** Why there are no values, with file, line and column. */
  fault?: string;
  /** Each names the file, and line and column where there is one. */
  warnings: string[];
  lines: KeyLines;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** `${NAME}`, `${NAME:-default}`, and `$${…}` for a dollar that stays. */
const VARIABLE = /\$?\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g;
/** The same without the dollar that stays. */
const BARE_VARIABLE = /\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?\}/g;

const EXTENSIONS = ["json", "yaml", "yml"];

/** A worker's config file and what it holds. */
export interface ConfigFile extends ParsedConfig {
  /** `undefined` where there is none. */
  path?: string;
  /** An editor may be in the middle of writing it: it is empty, or ends within a line. */
  unfinished?: true;
}

export interface ReadOptions {
  env: Environment;
  /** How a path is shown to people. */
  show: (path: string) => string;
  /** What stands in for the text of a file, by its path. */
  overlay?: ReadonlyMap<string, string>;
  /** Does what `parseConfigText` does, elsewhere. */
  parse?: (name: string, text: string, env: Environment) => Promise<ParsedConfig>;
}

/**
 * Reads the config file that stands beside a worker.
 *
 * @param dir the folder it is in
 * @param base its name without the extension: `config`, or `heartbeat.config` for a builtin
 */
export async function findConfigFile(dir: string, base: string, options: ReadOptions): Promise<ConfigFile> {
  const { show, overlay } = options;
  const paths = EXTENSIONS.map((extension) => join(dir, `${base}.${extension}`)).filter(
    (path) => overlay?.has(path) || existsSync(path),
  );
  const [path, ...others] = paths;
  if (path === undefined) return { config: {}, warnings: [], lines: {} };
  const file = await readConfigFile(path, options);
  const unread = others.map(
    (other) => `${show(other)} is not read, since ${show(path)} is there too: keep one of them`,
  );
  return { ...file, warnings: [...unread, ...file.warnings] };
}

/** Reads a config file. One that can't be read or parsed has a fault, and gives `{}`. */
export async function readConfigFile(path: string, { env, show, overlay, parse }: ReadOptions): Promise<ConfigFile> {
  const name = show(path);
  const { text, fault } = overlay?.has(path) ? { text: overlay.get(path) ?? "" } : read(path, name);
  if (fault !== undefined) return { path, ...without(fault) };
  const parsed = await (parse ?? parseConfigText)(name, text, env);
  const isWhole = text.endsWith("\n") || (path.endsWith(".json") && parsed.fault === undefined);
  return { path, ...parsed, ...(isWhole ? {} : { unfinished: true }) };
}

/** The lines of what stands below some keys. */
export function linesBelow(lines: KeyLines, keys: readonly string[]): KeyLines {
  return keys.reduce((outer, key) => (Object.hasOwn(outer, key) ? outer[key]?.in : undefined) ?? {}, lines);
}

/** Says of a file, such as one in Latin-1 or UTF-16, that it is not UTF-8, and where. */
export function notUtf8(name: string, bytes: Buffer): string {
  const lines = bytes.toString("utf8").split("\ufffd")[0]?.split("\n") ?? [];
  return `${name}:${lines.length}:${(lines.at(-1)?.length ?? 0) + 1}: it is not UTF-8: save it as that in your editor`;
}

function read(path: string, name: string): { text: string; fault?: string } {
  try {
    const bytes = readRegularFile(path, MAX_CONFIG_BYTES);
    const text = decodeText(bytes);
    return text === undefined ? { text: "", fault: notUtf8(name, bytes) } : { text };
  } catch (error) {
    return { text: "", fault: `${name}: can't be read (${(error as Error).message})` };
  }
}

/** Says that a config file is too long. */
export function tooLong(name: string, bytes: number): string {
  return `${name}: it has ${bytes} bytes: expected ${MAX_CONFIG_BYTES} at most`;
}

function linesOf(node: unknown, lineOf: (offset: number) => number): KeyLines {
  const entry = (start: Node | null, value: unknown) => {
    const line = lineOf(start?.range?.[0] ?? 0);
    return isCollection(value) ? { line, in: linesOf(value, lineOf) } : { line };
  };
  if (isMap<Node, Node | null>(node)) {
    const keys = node.items.filter(({ key }) => isScalar(key));
    return Object.fromEntries(keys.map(({ key, value }) => [String((key as Scalar).value), entry(key, value)]));
  }
  return isSeq<Node>(node) ? Object.fromEntries(node.items.map((item, index) => [index, entry(item, item)])) : {};
}

/** Parses JSON or YAML, by the name's extension, and puts in the environment's values. Never throws. */
export function parseConfigText(name: string, text: string, env: Environment): ParsedConfig {
  if (text.length > MAX_CONFIG_BYTES) return without(tooLong(name, text.length));
  const source = text.replace(/^\uFEFF/, "");
  const json = name.endsWith(".json");
  const yaml = readYaml(source, json);
  const parsed = yaml.document && json ? parseJsonFile(name, source) : composedValue(name, yaml);
  const { value = {}, fault, warnings = [] } = parsed;
  if (fault !== undefined) return without(fault, warnings);
  if (yaml.again !== undefined) return without(`${name}:${yaml.again}`, warnings);
  if (!isValues(value)) {
    const found = Array.isArray(value) ? "a list" : `a ${typeof value}`;
    return without(`${name}:1:1: expected keys and values, got ${found}`, warnings);
  }
  if (isDeeperThan(value, MOST_JSON_LEVELS)) return without(`${name}:1:1: its aliases make it ${TOO_DEEP}`, warnings);
  const filled = new Set<string>();
  const fill = (each: string) =>
    fillIn(each, env, {
      onFilled: (given) => filled.add(given),
      onUnset: (variable) =>
        warnings.push(
          `${name}: \${${variable}} is not set in the environment: set it, or write \${${variable}:-default}`,
        ),
    });
  return {
    config: mapTexts(value, fill) as Values,
    shown: mapTexts(value, textShown) as Values,
    filled: [...filled],
    warnings,
    lines: linesOf(yaml.document?.contents, yaml.lineOf),
  };
}

function without(fault: string, warnings: string[] = []): ParsedConfig & { fault: string } {
  return { config: {}, fault, warnings, lines: {} };
}

interface Parsed {
  value?: unknown;
  fault?: string;
  warnings?: string[];
}

function parseJsonFile(name: string, text: string): Parsed {
  if (text.trim() === "") return {};
  try {
    return { value: parseJson(text) ?? undefined };
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

function composedValue(name: string, { document, fault, place }: ReadYaml): Parsed {
  if (!document || fault !== undefined) return { fault: `${name}:${fault}` };
  const warnings = document.warnings.map(({ pos, message }) => `${name}:${place(pos[0])}: ${message}`);
  visit(document, {
    Pair: (_, { key }) => {
      if (!isCollection(key) || !key.range) return;
      warnings.push(`${name}:${place(key.range[0])}: a list or map as a key is taken as a text: put it in quotes`);
    },
  });
  try {
    return { value: document.toJS() ?? undefined, warnings };
  } catch (cause) {
    // Too many aliases, or one to nowhere.
    return { fault: `${name}:1:1: ${(cause as Error).message}`, warnings };
  }
}

/** A copy with other texts; keys stay as they are. */
function mapTexts(value: unknown, map: (text: string) => string | undefined): unknown {
  if (Array.isArray(value)) return value.map((item) => mapTexts(item, map));
  if (typeof value === "string") return map(value);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapTexts(item, map)]));
}

interface Filling {
  onFilled: (given: string) => void;
  onUnset: (variable: string) => void;
}

/** Puts the environment into a text. One that is nothing but an unset variable becomes `undefined`. */
function fillIn(text: string, env: Environment, { onFilled, onUnset }: Filling): string | undefined {
  let unset = false;
  const whole = replaceIn(text, VARIABLE, (match, variable = "", fallback) => {
    if (match.startsWith("$$")) return match.slice(1);
    // As in a shell, ":-" stands in for an empty variable too.
    const given = Object.hasOwn(env, variable) ? env[variable] : undefined;
    if (given) onFilled(given);
    const found = fallback === undefined ? given : given || fallback;
    if (found !== undefined) return found;
    unset = true;
    onUnset(variable);
    return "";
  });
  return unset && whole === "" ? undefined : whole;
}

/** A text for people: what a variable became is not shown. */
function textShown(text: string): string {
  let hasVariable = false;
  const plain = replaceIn(text, VARIABLE, (match) => {
    if (match.startsWith("$$")) return match.slice(1);
    hasVariable = true;
    return match;
  });
  return hasVariable ? text : plain;
}

/** What a config file has to say for these very values to come of it: a `${NAME}` in one of their texts stays text. */
export function literal(values: Values): Values {
  return mapTexts(values, (text) => replaceIn(text, BARE_VARIABLE, (match) => `$${match}`)) as Values;
}

/** Past the last "}", the pattern would look for one from each "${". */
function replaceIn(text: string, pattern: RegExp, replace: (match: string, ...groups: string[]) => string): string {
  const end = text.lastIndexOf("}") + 1;
  return text.slice(0, end).replace(pattern, replace) + text.slice(end);
}
