import { basename, join } from "node:path";
import glob from "fast-glob";
import { faultOfId } from "../contract/topics.ts";

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
}

export interface DiscoverOptions {
  props: string;
  builtins: string;
  /** How a path is shown to people. */
  show: (path: string) => string;
}

const EXTENSIONS = "{ts,mts,js,mjs}";
const PORTING_GUIDE = "docs/porting-from-python.md";

/** Looks for workers on disk; runs and loads nothing. */
export async function discover(options: DiscoverOptions): Promise<Discovered> {
  const [props, builtins, sketches] = await Promise.all([
    discoverProps(options),
    discoverBuiltins(options),
    glob("*/firmware/*.ino", { cwd: options.props, ignore: ["_*/**"] }),
  ]);
  const withFirmware = new Set(sketches.map(folderOf));
  const workers = new Set(props.map(({ id }) => id));
  return {
    found: [...props.map((one): Found => (withFirmware.has(one.id) ? { ...one, firmware: true } : one)), ...builtins],
    boards: [...withFirmware].filter((id) => !workers.has(id)).sort(),
  };
}

/** The prop's folder of a file in it. */
function folderOf(file: string): string {
  return file.split("/")[0] ?? "";
}

async function discoverProps({ props, show }: DiscoverOptions): Promise<Found[]> {
  const files = await glob("*/backend/*", { cwd: props, ignore: ["_*/**"] });
  const folders = new Map<string, string[]>();
  for (const file of files.sort()) {
    const id = folderOf(file);
    folders.set(id, [...(folders.get(id) ?? []), basename(file)]);
  }
  return [...folders].flatMap(([id, names]) => foundInProp(id, join(props, id, "backend"), names, show));
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
  const workers = names.filter((name) => /^worker\.(ts|mts|js|mjs)$/.test(name));
  if (workers.length > 0) return workers.map((name) => at(name));
  if (names.includes("worker.py")) {
    return [at("worker.py", { skipped: `a Python worker: ${PORTING_GUIDE} says how it becomes a worker.ts` })];
  }
  const sources = names.filter((name) => /\.(ts|mts|js|mjs)$/.test(name) && !/\.(d|test)\.[a-z]+$/.test(name));
  if (sources.length === 0) return [];
  return [
    at("worker.ts", {
      fault: `${show(dir)}: no worker.ts in it, but ${sources.join(", ")}: name the worker's file worker.ts`,
    }),
  ];
}

async function discoverBuiltins({ builtins }: DiscoverOptions): Promise<Found[]> {
  const files = await glob(`*.${EXTENSIONS}`, { cwd: builtins, ignore: ["_*", "*.test.*", "*.d.*"] });
  return files.sort().map((name) => {
    const id = name.replace(/\.[a-z]+$/, "");
    const fault = faultOfId(id);
    return {
      id,
      kind: "builtins",
      file: join(builtins, name),
      config: { base: `${id}.config` },
      ...(fault ? { fault } : {}),
    };
  });
}
