import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { builtinModules, createRequire } from "node:module";
import { dirname, extname, isAbsolute, join, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { TsconfigRaw } from "esbuild";
import * as esbuild from "esbuild";
import { type Clock, within } from "../../base/clock.ts";
import { packageFile, readRegularFile } from "../../base/paths.ts";
import { WorkerHostError } from "../../contract/errors.ts";
import { jsonIn } from "../../contract/payload.ts";
import { isValues, type Values } from "../config/config-file.ts";
import { BUILD_MS } from "../limits.ts";

/** A worker as one file that Node can import. */
export interface Bundle {
  /** For `import()`; new for each build, since Node imports a URL once. */
  url: string;
  /** Every file that went into it, absolute. */
  inputs: string[];
  /** The same for two builds that came out the same. */
  hash: string;
}

/** The module that `import … from "worker-host"` means: the running host's own, so that there is one `BaseWorker`. */
const SELF = packageFile("dist/index.js");
const SELF_URL = pathToFileURL(SELF).href;

/** A build takes milliseconds; where none has ended for so long, esbuild's process answers no more. */
const SILENT_MS = 8_000;

/** Where the workers that come with worker-host are: they may import its `contract/` and a package of its own too. */
const SHIPPED = packageFile("builtin-workers");
const CONTRACT = /^worker-host\/contract\/([a-z-]+)\.ts$/;
const SHIPPED_PACKAGE = "ws";

const NODE_TARGET = "node20";
const PLACE = /import\.meta|__dirname|__filename/;
const LOADERS: Readonly<Record<string, esbuild.Loader>> = {
  ".ts": "ts",
  ".mts": "ts",
  ".js": "js",
  ".mjs": "js",
  ".cjs": "js",
  ".cts": "ts",
  ".tsx": "tsx",
  ".jsx": "jsx",
};

const NAME = /\/([A-Za-z0-9_-]+)-\d+\.mjs$/;

/** The worker whose bundle is at this URL, as far as its name tells. */
export function workerOf(url: string): string | undefined {
  return NAME.exec(url)?.[1];
}

/** Builds workers into a folder of its own. */
export class Bundler {
  #count = 0;
  /** When a build last came to its end. */
  #lastBuilt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly outDir: string,
    private readonly show: (path: string) => string,
    private readonly clock: Clock,
  ) {}

  /**
   * Bundles a worker's file with all that it imports by a relative path; packages are left where they are.
   *
   * @throws WorkerHostError `load_failed`, with file, line and column of each fault; also where it takes too long
   */
  async bundle(id: string, file: string): Promise<Bundle> {
    const building = this.#bundle(id, file).catch(whereLost);
    let built = await within(this.clock, SILENT_MS, building);
    while (!built && this.clock.monotonic() - this.#lastBuilt < SILENT_MS)
      built = await within(this.clock, SILENT_MS, building);
    if (built?.value) return built.value;
    // Somebody has ended esbuild's process, or stopped it: another one is started.
    await esbuild.stop();
    const again = await within(this.clock, BUILD_MS, this.#bundle(id, file));
    if (again) return again.value;
    throw new WorkerHostError(
      "load_failed",
      `${this.show(file)}: to build it takes more than ${BUILD_MS / 1000} s: is a file that it needs a pipe, or on a drive that doesn't answer?`,
    );
  }

  async #bundle(id: string, file: string): Promise<Bundle> {
    const outfile = join(this.outDir, `${id}-${this.#count++}.mjs`);
    try {
      const tsconfig = readTsconfig(dirname(file), this.show);
      let { code, inputs } = await build(file, outfile, tsconfig, [resolveImports]);
      // Few files ask where they are, and to look into each while building takes as long as the rest of it.
      if (PLACE.test(code)) {
        const plugins = [resolveImports, keepPlace(tsconfig)];
        ({ code, inputs } = await build(file, outfile, tsconfig, plugins));
      }
      // One call instead of the four that a file takes by way of the thread pool, where a thousand others wait.
      writeFileSync(outfile, code);
      this.#lastBuilt = this.clock.monotonic();
      return { url: pathToFileURL(outfile).href, inputs, hash: createHash("sha256").update(code).digest("hex") };
    } catch (error) {
      throw new WorkerHostError("load_failed", this.#explain(file, error), { cause: error });
    }
  }

  /** Removes what nobody will import any more. What can't be removed goes with the whole folder, at the host's end. */
  async discard({ url }: Bundle): Promise<void> {
    await rm(fileURLToPath(url), { force: true }).catch(() => undefined);
  }

  /** Ends esbuild's helper process; the next build starts it again. */
  async rest(): Promise<void> {
    await esbuild.stop();
  }

  #explain(file: string, error: unknown): string {
    const { errors } = error as Partial<esbuild.BuildFailure>;
    const isTyped = errors?.some(({ location }) => location && isTypeScript(resolve(dirname(file), location.file)));
    const rename = isTyped ? "; it is TypeScript: give it a name that ends with .ts" : "";
    if (!errors) return `${this.show(file)}: ${(error as Error).message}`;
    return errors
      .map(({ text, location, notes }) => {
        const path = location ? resolve(dirname(file), location.file) : file;
        const place = location ? `${this.show(path)}:${location.line}:${location.column + 1}` : this.show(file);
        const hint = notes[0]?.text ? ` (${notes[0].text})` : "";
        return `${place}: ${text}${hint}${rename}`;
      })
      .join("\n");
  }
}

/** `undefined` where a build failed since esbuild's process has gone; throws whatever else it failed with. */
function whereLost(error: unknown): undefined {
  const { errors, message = "" } = (error as Error).cause as Partial<esbuild.BuildFailure>;
  if (!errors && /service (was stopped|is no longer running)/.test(message)) return undefined;
  throw error;
}

/** Whether a file with JavaScript's name holds what only TypeScript has. */
function isTypeScript(path: string): boolean {
  if (!/\.m?js$/.test(path)) return false;
  try {
    esbuild.transformSync(readFileSync(path, "utf8"), { loader: "ts", logLevel: "silent" });
    return true;
  } catch {
    // It is broken under that name too.
    return false;
  }
}

/** Builds `file` into what is to be written to `outfile`. */
async function build(
  file: string,
  outfile: string,
  tsconfig: Tsconfig,
  plugins: esbuild.Plugin[],
): Promise<{ code: string; inputs: string[] }> {
  const { metafile, outputFiles } = await esbuild.build({
    entryPoints: [file],
    outfile,
    absWorkingDir: dirname(file),
    bundle: true,
    platform: "node",
    format: "esm",
    target: NODE_TARGET,
    keepNames: true,
    // esbuild would take all of any tsconfig.json above, whatever tool that is for.
    tsconfigRaw: { compilerOptions: tsconfig.options },
    // Nor may a package.json say that a file which is imported can be left out.
    ignoreAnnotations: true,
    sourcemap: "inline",
    sourcesContent: false,
    metafile: true,
    write: false,
    logLevel: "silent",
    // For what CommonJS files of the prop's own require.
    banner: {
      js: `import { createRequire as __createRequire } from "node:module"; const require = __createRequire(${JSON.stringify(pathToFileURL(file).href)});`,
    },
    plugins,
  });
  const [output] = outputFiles;
  if (!output) throw new Error("unreachable: a build without a result");
  return {
    code: output.text,
    inputs: [...Object.keys(metafile.inputs).map((input) => resolve(dirname(file), input)), ...tsconfig.files],
  };
}

/** Bare imports: ours to the running host's module, a package's to where the prop finds it, unbundled. */
const resolveImports: esbuild.Plugin = {
  name: "resolve-imports",
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, async ({ path, kind, resolveDir, pluginData, with: attributes }) => {
      if (pluginData === resolveImports || kind === "entry-point" || /^[A-Za-z]:[\\/]/.test(path)) return undefined;
      if (path === "worker-host") return { path: kind === "require-call" ? SELF : SELF_URL, external: true };
      if (resolveDir === SHIPPED || resolveDir.startsWith(`${SHIPPED}${sep}`)) {
        const [, part] = CONTRACT.exec(path) ?? [];
        if (part !== undefined) return { path: packageFile(`dist/contract/${part}.js`) };
        if (path === SHIPPED_PACKAGE)
          return { path: pathToFileURL(packageFile(`dist/${path}.cjs`)).href, external: true };
      }
      if (path.startsWith("node:") || builtinModules.includes(path)) return { path, external: true };
      const found = await build.resolve(path, { kind, resolveDir, pluginData: resolveImports, with: attributes });
      if (found.errors.length > 0) {
        return {
          errors: [
            {
              text: `Could not resolve "${path}"`,
              notes: [
                {
                  text: `for a package: npm install ${packageOf(path)} in the prop's folder; npx worker-host install, where its package.json names it`,
                },
              ],
            },
          ],
        };
      }
      if (!isPackageCode(found.path)) return found;
      return { path: kind === "require-call" ? found.path : pathToFileURL(found.path).href, external: true };
    });
  },
};

function packageOf(path: string): string {
  return path
    .split("/")
    .slice(0, path.startsWith("@") ? 2 : 1)
    .join("/");
}

/** Code that Node can load by itself: not TypeScript, JSON (which would need an attribute), nor a prop's own file. */
function isPackageCode(path: string): boolean {
  return path.split(sep).includes("node_modules") && [".js", ".cjs", ".mjs", ".node"].includes(extname(path));
}

/** In each file of a prop, `import.meta` and `__dirname` speak of that file, not of the bundle. */
const keepPlace = ({ options: compilerOptions }: Tsconfig): esbuild.Plugin => ({
  name: "keep-place",
  setup(build) {
    build.onLoad({ filter: /\.([cm]?[jt]s|[jt]sx)$/ }, async ({ path }) => {
      const source = await readFile(path, "utf8");
      if (!PLACE.test(source)) return undefined;
      const options: esbuild.TransformOptions = {
        loader: LOADERS[extname(path)] ?? "js",
        target: "esnext",
        tsconfigRaw: { compilerOptions },
        sourcefile: path,
        sourcemap: "inline",
        define: {
          "import.meta.url": JSON.stringify(pathToFileURL(path).href),
          "import.meta.filename": JSON.stringify(path),
          "import.meta.dirname": JSON.stringify(dirname(path)),
          __filename: JSON.stringify(path),
          __dirname: JSON.stringify(dirname(path)),
        },
      };
      try {
        const { code } = await esbuild.transform(source, options);
        return { contents: code, loader: "js", resolveDir: dirname(path) };
      } catch (error) {
        return { errors: (error as esbuild.TransformFailure).errors };
      }
    });
  },
});

type CompilerOptions = NonNullable<TsconfigRaw["compilerOptions"]>;

/** What a bundle takes of a `tsconfig.json`. */
interface Tsconfig {
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
function readTsconfig(dir: string, show: (path: string) => string): Tsconfig {
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
    const text = this.#textOf(path).replace(/^\uFEFF/, "");
    const strip = (from: string, pattern: RegExp) => from.replace(pattern, (_, kept?: string) => kept ?? "");
    const plain = strip(strip(text, COMMENT), LAST_COMMA);
    const value = plain.trim() === "" ? {} : jsonIn(plain);
    if (isValues(value)) return value;
    throw new Error(`${this.show(path)}: expected JSON, with comments, such as { "compilerOptions": {} }`);
  }

  #textOf(path: string): string {
    try {
      return readRegularFile(path, LONGEST).toString("utf8");
    } catch (cause) {
      throw new Error(`${this.show(path)}: can't be read (${(cause as Error).message})`, { cause });
    }
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
