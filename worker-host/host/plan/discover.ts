import { type Dirent, existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { packageFile } from "../../base/paths.ts";
import { faultOfId } from "../../contract/topics.ts";

/** A worker that was found, whether or not it can run. */
export interface Found {
  id: string;
  kind: "props" | "builtins";
  /** Its file, absolute. */
  file: string;
  /** Where its config is: a file beside it, by its name without the extension, or keys in another file. */
  config: { base: string } | { path: string; keys: readonly string[] };
  /** Of the package that it comes from. */
  version?: string;
  /** Why it can't run, and what to write instead. */
  fault?: string;
  /** Why it is not to run. */
  skipped?: string;
  /** Its prop has firmware, and so a board. */
  firmware?: true;
}

/** What there is on disk. */
export interface Discovered {
  found: Found[];
  /** The ids of props that have firmware and no worker: each is a board alone. */
  boards: string[];
  /** The folders, absolute, that are there and can't be read: what is in them isn't known. */
  unread: string[];
  /** What people have to be told of folders that can't be read, where no worker's fault says it. */
  warnings: string[];
}

export interface DiscoverOptions {
  props: string;
  builtins: readonly string[];
  /** How a path is shown to people. */
  show: (path: string) => string;
}

const SOURCE = /\.(ts|mts|js|mjs)$/;
const WORKER = /^worker\.(ts|mts|js|mjs)$/;
const CONFIG = /^config\.(ya?ml|json5?|jsonc|toml|ini)$/i;
const READ = /^config\.(yaml|yml|json)$/;
const NO_SOURCE = /\.(d|test)\.[a-z]+$/;
const PORTING_GUIDE = "docs/porting-from-python.md";

/** Looks for workers on disk; runs and loads nothing. */
export async function discover(options: DiscoverOptions): Promise<Discovered> {
  const folders = new Folders(options.show);
  const [props, builtins] = await Promise.all([discoverProps(options, folders), discoverBuiltins(options, folders)]);
  const found = props.flatMap((prop) => prop.found);
  const missing = existsSync(options.props)
    ? []
    : [`${options.show(options.props)}: there is no such folder, and so no prop`];
  const workers = new Set(found.map(({ id }) => id));
  return {
    found: [...found, ...builtins],
    boards: props.flatMap(({ id, firmware }) => (firmware && !workers.has(id) ? [id] : [])),
    unread: [...folders.unread.keys()],
    warnings: [
      ...missing,
      ...[...folders.unread.values()].filter((text) => !found.some(({ fault }) => fault?.startsWith(text))),
      ...props.flatMap(({ astray }) => astray),
    ],
  };
}

/** Reads folders, and keeps which of them could not be read. */
class Folders {
  /** By its path, what people have to be told of a folder that can't be read. */
  readonly unread = new Map<string, string>();

  constructor(private readonly show: (path: string) => string) {}

  /** The names of what is in a folder and `fits`, in order; none where there is no such folder. */
  async names(folder: string, fits: (name: string) => boolean, kind: "files" | "folders"): Promise<string[]> {
    const entries = await this.#read(folder);
    const wanted = entries.filter(({ name }) => !name.startsWith(".") && fits(name));
    const kept = await Promise.all(wanted.map((entry) => isOfKind(entry, join(folder, entry.name), kind)));
    return wanted.flatMap(({ name }, index) => (kept[index] ? [name] : [])).sort();
  }

  async #read(folder: string): Promise<Dirent[]> {
    try {
      return await readdir(folder, { withFileTypes: true });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ENOTDIR") return [];
      this.unread.set(folder, `${this.show(folder)}: can't be read (${code}): let the user of the host read it`);
      return [];
    }
  }
}

/** Whether an entry is a file, or a folder; of a symbolic link, whether its target is. */
async function isOfKind(entry: Dirent, path: string, kind: "files" | "folders"): Promise<boolean> {
  try {
    const target = entry.isSymbolicLink() ? await stat(path) : entry;
    return kind === "files" ? target.isFile() : target.isDirectory();
  } catch (error) {
    // Where a link leads to what this user may not see, the reading of that says so.
    return (error as NodeJS.ErrnoException).code !== "ENOENT";
  }
}

/** What one folder of props/ holds. */
interface Prop {
  id: string;
  found: Found[];
  firmware: boolean;
  /** Tells of config files that are not read where they are. */
  astray: string[];
}

/** Whether a folder of props/ is none of a prop, by its name. */
export function isLeftOut(name: string): boolean {
  return name.startsWith("_") || name === "node_modules";
}

async function discoverProps({ props, show }: DiscoverOptions, folders: Folders): Promise<Prop[]> {
  const ids = await folders.names(props, (name) => !isLeftOut(name), "folders");
  return Promise.all(ids.map((id) => lookInto(id, props, folders, show)));
}

async function lookInto(id: string, props: string, folders: Folders, show: (path: string) => string): Promise<Prop> {
  const dir = join(props, id, "backend");
  const names = await folders.names(dir, () => true, "files");
  const unread = folders.unread.get(dir);
  if (unread !== undefined) return { id, found: unreadProp(id, dir, unread), firmware: false, astray: [] };
  const sketches = await folders.names(join(props, id, "firmware"), (name) => name.endsWith(".ino"), "files");
  const beside = await folders.names(join(props, id), () => true, "files");
  const inside = foundInProp(id, dir, names, show);
  const found = inside.length > 0 ? inside : foundBeside(id, join(props, id), beside, show);
  const firmware = sketches.length > 0;
  const astray = [
    ...beside.filter((name) => CONFIG.test(name)).map((name) => join(props, id, name)),
    ...names.filter((name) => CONFIG.test(name) && !READ.test(name)).map((name) => join(dir, name)),
  ].map((path) => `${show(path)} is not read: a config is ${show(dir)}/config.yaml, config.yml or config.json`);
  return {
    ...{ id, firmware },
    found: firmware ? found.map((one): Found => ({ ...one, firmware })) : found,
    astray: found.length > 0 ? astray : [],
  };
}

/** A worker that isn't in the folder where workers are. */
function foundBeside(id: string, dir: string, names: string[], show: (path: string) => string): Found[] {
  const name = names.find((each) => WORKER.test(each));
  if (name === undefined || faultOfId(id) !== undefined) return [];
  const fault = `${show(join(dir, name))}: a worker is in a folder "backend": move it to ${show(join(dir, "backend", name))}`;
  return [{ id, kind: "props", file: join(dir, name), config: { base: "config" }, fault }];
}

/** A prop whose worker can't be looked for. Of what can't be a prop, such as `lost+found`, the warning is enough. */
function unreadProp(id: string, dir: string, unread: string): Found[] {
  if (faultOfId(id) !== undefined) return [];
  const fault = `${unread}, or name its folder "_${id}" if it is no prop`;
  return [{ id, kind: "props", file: join(dir, "worker.ts"), config: { base: "config" }, fault }];
}

function foundInProp(id: string, dir: string, names: string[], show: (path: string) => string): Found[] {
  const at = (name: string, verdict: { fault?: string; skipped?: string } = {}): Found => {
    const fault = verdict.fault ?? faultOfId(id);
    return {
      id,
      kind: "props",
      file: join(dir, name),
      config: { base: "config" },
      ...verdict,
      ...(fault ? { fault } : {}),
    };
  };
  const workers = names.filter((name) => WORKER.test(name));
  if (workers.length > 0) return workers.map((name) => at(name));
  if (names.includes("worker.py")) {
    return [
      at("worker.py", {
        skipped: `a Python worker: ${show(packageFile(PORTING_GUIDE))} says how it becomes a worker.ts`,
      }),
    ];
  }
  const sources = names.filter((name) => SOURCE.test(name) && !NO_SOURCE.test(name));
  if (sources.length === 0) return [];
  return [
    at("worker.ts", {
      fault: `${show(dir)}: no worker.ts in it, but ${sources.join(", ")}: name the worker's file worker.ts`,
    }),
  ];
}

async function discoverBuiltins({ builtins }: DiscoverOptions, folders: Folders): Promise<Found[]> {
  const isBuiltin = (name: string) => SOURCE.test(name) && !NO_SOURCE.test(name) && !name.startsWith("_");
  let all: Found[] = [];
  for (const folder of builtins) {
    const files = await folders.names(folder, isBuiltin, "files");
    const found = files.map((name): Found => {
      const id = name.replace(/\.[a-z]+$/, "");
      const fault = faultOfId(id);
      return {
        id,
        kind: "builtins",
        file: join(folder, name),
        config: { base: `${id}.config` },
        ...(fault ? { fault } : {}),
      };
    });
    all = [...all.filter(({ id }) => !found.some((one) => one.id === id)), ...found];
  }
  return all;
}
