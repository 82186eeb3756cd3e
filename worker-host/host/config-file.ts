import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LineCounter, parseDocument } from "yaml";

/** A config file's values, and what a person has to be told about them. */
export interface ParsedConfig {
  config: Record<string, unknown>;
  /** Each names the file, and line and column where there is one. */
  warnings: string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** `${NAME}`, `${NAME:-default}`, and `$${…}` for a dollar that stays. */
const VARIABLE = /\$?\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g;

const EXTENSIONS = ["json", "yaml", "yml"];

/** A worker's config file and what it holds. */
export interface ConfigFile extends ParsedConfig {
  /** `undefined` where there is none. */
  path?: string;
}

/**
 * Reads the config file that stands beside a worker. One that can't be read or parsed gives `{}` and a warning.
 *
 * @param dir the folder it is in
 * @param base its name without the extension: `config`, or `heartbeat.config` for a builtin
 * @param show how a path is shown to people
 */
export function readConfigFile(
  dir: string,
  base: string,
  env: Environment,
  show: (path: string) => string,
): ConfigFile {
  const paths = EXTENSIONS.map((extension) => join(dir, `${base}.${extension}`)).filter((path) => existsSync(path));
  const [path, ...others] = paths;
  if (path === undefined) return { config: {}, warnings: [] };
  const warnings = others.map(
    (other) => `${show(other)} is not read, since ${show(path)} is there too: keep one of them`,
  );
  const parsed = read(path, env, show(path));
  return { path, config: parsed.config, warnings: [...warnings, ...parsed.warnings] };
}

function read(path: string, env: Environment, name: string): ParsedConfig {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    return { config: {}, warnings: [`${name}: can't be read (${(error as Error).message}); taken for {}`] };
  }
  return parseConfigText(name, text, env);
}

/** Parses JSON or YAML, by the name's extension, and puts in the environment's values. Never throws. */
export function parseConfigText(name: string, text: string, env: Environment): ParsedConfig {
  const source = text.replace(/^\uFEFF/, "");
  const { value, warnings } = name.endsWith(".json") ? parseJson(name, source) : parseYaml(name, source);
  if (value === undefined || value === null) return { config: {}, warnings };
  if (typeof value !== "object" || Array.isArray(value)) {
    const found = Array.isArray(value) ? "a list" : typeof value;
    return { config: {}, warnings: [...warnings, `${name}:1:1: expected keys and values, got ${found}; taken for {}`] };
  }
  return { config: substitute(value, env, name, warnings) as Record<string, unknown>, warnings };
}

interface Parsed {
  value: unknown;
  warnings: string[];
}

function parseJson(name: string, text: string): Parsed {
  if (text.trim() === "") return { value: undefined, warnings: [] };
  try {
    return { value: JSON.parse(text), warnings: [] };
  } catch (error) {
    const { message } = error as Error;
    // Without a position, V8 means the end of the text.
    const position = Number(/position (\d+)/.exec(message)?.[1] ?? text.length);
    const before = text.slice(0, position).split("\n");
    const place = `${before.length}:${(before.at(-1)?.length ?? 0) + 1}`;
    return { value: undefined, warnings: [`${name}:${place}: not JSON (${message}); taken for {}`] };
  }
}

function parseYaml(name: string, text: string): Parsed {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true });
  const say = (fault: { pos: [number, number]; message: string }, outcome: string) => {
    const { line, col } = lines.linePos(fault.pos[0]);
    return `${name}:${line}:${col}: ${fault.message}${outcome}`;
  };
  const [error] = document.errors;
  if (error) return { value: undefined, warnings: [say(error, "; taken for {}")] };
  const warnings = document.warnings.map((warning) => say(warning, ""));
  try {
    return { value: document.toJS(), warnings };
  } catch (cause) {
    // Too many aliases, or one to nowhere.
    return { value: undefined, warnings: [...warnings, `${name}:1:1: ${(cause as Error).message}; taken for {}`] };
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
  const replaced = text.replace(VARIABLE, (match: string, variable: string, fallback: string | undefined) => {
    if (match.startsWith("$$")) return match.slice(1);
    // As in a shell, ":-" stands in for an empty variable too.
    const found = fallback === undefined ? env[variable] : env[variable] || fallback;
    if (found !== undefined) return found;
    unset = true;
    warnings.push(`${name}: \${${variable}} is not set in the environment: set it, or write \${${variable}:-default}`);
    return "";
  });
  return unset && replaced === "" ? undefined : replaced;
}
