import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, isAbsolute, join, resolve } from "node:path";
import type { TsconfigRaw } from "esbuild";
import { jsonIn } from "../../contract/payload.ts";
import { isValues, type Values } from "../config/config-file.ts";

type CompilerOptions = NonNullable<TsconfigRaw["compilerOptions"]>;

/** What a bundle takes of a `tsconfig.json`. */
export interface Tsconfig {
  options: CompilerOptions;
  /** The files that it was read from, absolute: the nearest one, and what that extends. */
  files: string[];
}

const JSX_KEYS = ["jsx", "jsxFactory", "jsxFragmentFactory", "jsxImportSource"] as const;
/** A text, which stays, or a comment. */
const COMMENT = /("(?:[^"\\\n]|\\.)*"?)|\/\/[^\n]*|\/\*(?:[^*]|\*(?!\/))*(?:\*\/|$)/g;
/** A text, which stays, or a comma before a closing bracket. */
const LAST_COMMA = /("(?:[^"\\\n]|\\.)*"?)|,(?=\s*[}\]])/g;
const CONFIG_DIR = /\$\{configDir\}/;
const LONGEST = 64 * 1024;
const MOST_FILES = 20;

/**
 * Reads the `tsconfig.json` nearest to a worker, and takes where imports are found (`baseUrl`, `paths`) and what JSX
 * becomes. Options such as `experimentalDecorators` and `target` would change what the worker's code means.
 *
 * @throws Error that names the file, where one can't be read
 */
export function readTsconfig(dir: string, show: (path: string) => string): Tsconfig {
  const path = nearest(dir);
  if (path === undefined) return { options: {}, files: [] };
  const reader = new Reader(show, dirname(path));
  reader.take(path);
  return { options: reader.options(), files: reader.files };
}

function nearest(dir: string): string | undefined {
  const path = join(dir, "tsconfig.json");
  if (existsSync(path)) return path;
  return dirname(dir) === dir ? undefined : nearest(dirname(dir));
}

/** Takes in one file after the other; each overrules those before it. */
class Reader {
  readonly files: string[] = [];
  readonly #jsx: CompilerOptions = {};
  #baseUrl: string | undefined;
  #paths: Values | undefined;
  /** The folder of the file that has the paths. */
  #pathsDir = "";

  constructor(
    private readonly show: (path: string) => string,
    private readonly configDir: string,
  ) {}

  take(path: string): void {
    if (this.files.includes(path) || this.files.length >= MOST_FILES) return;
    this.files.push(path);
    const { extends: bases, compilerOptions } = this.#read(path);
    for (const base of [bases].flat()) {
      const found = typeof base === "string" ? baseAt(base, path) : undefined;
      if (found !== undefined) this.take(found);
    }
    if (!isValues(compilerOptions)) return;
    const { baseUrl, paths } = compilerOptions;
    if (typeof baseUrl === "string") this.#baseUrl = this.#at(dirname(path), baseUrl);
    if (isValues(paths)) [this.#paths, this.#pathsDir] = [paths, dirname(path)];
    for (const key of JSX_KEYS) {
      if (typeof compilerOptions[key] === "string") Object.assign(this.#jsx, { [key]: compilerOptions[key] });
    }
  }

  options(): CompilerOptions {
    const from = this.#baseUrl ?? this.#pathsDir;
    const absolute = (targets: unknown) =>
      Array.isArray(targets) ? targets.filter((one) => typeof one === "string").map((one) => this.#at(from, one)) : [];
    const paths = Object.entries(this.#paths ?? {}).map(([pattern, targets]) => [pattern, absolute(targets)]);
    return {
      ...this.#jsx,
      ...(this.#baseUrl === undefined ? {} : { baseUrl: this.#baseUrl }),
      ...(this.#paths === undefined ? {} : { paths: Object.fromEntries(paths) }),
    };
  }

  #at(dir: string, path: string): string {
    return resolve(
      dir,
      path.replace(CONFIG_DIR, () => this.configDir),
    );
  }

  #read(path: string): Values {
    const text = readFileSync(path, "utf8").replace(/^\uFEFF/, "");
    if (text.length > LONGEST) {
      throw new Error(`${this.show(path)}: it has ${text.length} letters: expected ${LONGEST} at most`);
    }
    const strip = (from: string, pattern: RegExp) => from.replace(pattern, (_, kept?: string) => kept ?? "");
    const plain = strip(strip(text, COMMENT), LAST_COMMA);
    const value = plain.trim() === "" ? {} : jsonIn(plain);
    if (isValues(value)) return value;
    throw new Error(`${this.show(path)}: expected JSON, with comments, such as { "compilerOptions": {} }`);
  }
}

/** The file that `extends` names; `undefined` where there is none: then an import may not be found, and says so. */
function baseAt(name: string, from: string): string | undefined {
  if (isAbsolute(name) || name.startsWith(".")) {
    const path = resolve(dirname(from), name);
    return [path, `${path}.json`, join(path, "tsconfig.json")].find((one) => one.endsWith(".json") && existsSync(one));
  }
  const { resolve: find } = createRequire(from);
  for (const path of [name, `${name}.json`, `${name}/tsconfig.json`]) {
    try {
      const found = find(path);
      if (found.endsWith(".json")) return found;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    }
  }
  return undefined;
}
