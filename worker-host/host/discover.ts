import { basename, join, relative } from "node:path";
import glob from "fast-glob";
import { faultOfId } from "../contract/topics.ts";
import type { Selection } from "./settings.ts";

/** A worker that was found, whether or not it can run. */
export interface Found {
  id: string;
  /** Its file, absolute. */
  file: string;
  /** The folder of its file. */
  dir: string;
  /** The name of its config file, without the extension. */
  configBase: string;
  /** Why it can't run, and what to write instead. */
  fault?: string;
  /** Why it is not to run. */
  skipped?: string;
}

export interface DiscoverOptions {
  props: string;
  builtins: string;
  selectProps: Selection;
  selectBuiltins: Selection;
  /** How a path is shown to people. */
  show: (path: string) => string;
}

/** What discovery gives: the workers, in the order of their ids, and what a person has to be told. */
export interface Discovery {
  workers: Found[];
  warnings: string[];
}

const EXTENSIONS = "{ts,mts,js,mjs}";
const PORTING_GUIDE = "docs/porting-from-python.md";

/** Looks for workers on disk; runs and loads nothing. */
export async function discover(options: DiscoverOptions): Promise<Discovery> {
  const [props, builtins] = await Promise.all([discoverProps(options), discoverBuiltins(options)]);
  const warnings = [
    ...missing("props", options.selectProps, props),
    ...missing("builtins", options.selectBuiltins, builtins),
  ];
  const chosen = [
    ...select(props, options.selectProps, "props"),
    ...select(builtins, options.selectBuiltins, "builtins"),
  ];
  const workers = mergeById(chosen, options.show).sort((a, b) => (a.id < b.id ? -1 : 1));
  return { workers, warnings };
}

async function discoverProps({ props, show }: DiscoverOptions): Promise<Found[]> {
  const files = await glob("*/backend/*", { cwd: props, ignore: ["_*/**"] });
  const folders = new Map<string, string[]>();
  for (const file of files.sort()) {
    const id = file.split("/")[0] ?? "";
    folders.set(id, [...(folders.get(id) ?? []), basename(file)]);
  }
  return [...folders].flatMap(([id, names]) => foundInProp(id, join(props, id, "backend"), names, show));
}

function foundInProp(id: string, dir: string, names: string[], show: (path: string) => string): Found[] {
  const at = (name: string, verdict: { fault?: string; skipped?: string } = {}): Found => {
    const fault = verdict.fault ?? faultOfId(id);
    return { id, file: join(dir, name), dir, configBase: "config", ...verdict, ...(fault ? { fault } : {}) };
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
    return { id, file: join(builtins, name), dir: builtins, configBase: `${id}.config`, ...(fault ? { fault } : {}) };
  });
}

function select(found: Found[], { disableAll, allow, disable }: Selection, kind: "props" | "builtins"): Found[] {
  const reason = (id: string): string | undefined => {
    if (disableAll) return `WORKER_DISABLE_ALL_${kind.toUpperCase()} is set`;
    if (allow.length > 0) return allow.includes(id) ? undefined : `not in WORKER_${kind.toUpperCase()}_ALLOW`;
    return disable.includes(id) ? `in WORKER_${kind.toUpperCase()}_DISABLE` : undefined;
  };
  return found.map((worker) => {
    const skipped = worker.skipped ?? reason(worker.id);
    return skipped === undefined ? worker : { ...worker, skipped };
  });
}

function missing(kind: "props" | "builtins", { allow, disable }: Selection, found: Found[]): string[] {
  const known = new Set(found.map(({ id }) => id));
  const names = [
    ...allow.map((name) => ({ name, list: "ALLOW" })),
    ...disable.map((name) => ({ name, list: "DISABLE" })),
  ];
  return names
    .filter(({ name }) => !known.has(name))
    .map(
      ({ name, list }) =>
        `WORKER_${kind.toUpperCase()}_${list}: there is no "${name}"; there are: ${[...known].join(", ") || "none"}`,
    );
}

/** One worker for each id; where two want the same one, neither runs, since nobody could say which did. */
function mergeById(found: Found[], show: (path: string) => string): Found[] {
  const byId = new Map<string, Found[]>();
  for (const worker of found) byId.set(worker.id, [...(byId.get(worker.id) ?? []), worker]);
  return [...byId.values()].map((same) => {
    const wanted = same.filter(({ skipped }) => skipped === undefined);
    const [first] = wanted.length > 0 ? wanted : same;
    if (!first) throw new Error("unreachable: an id without a worker");
    if (wanted.length < 2) return first;
    const files = wanted.map(({ file }) => show(file)).join(" and ");
    return { ...first, fault: `two workers have the id "${first.id}": ${files}; rename or remove one` };
  });
}

/** How a path is shown: from `base` where it is inside, else whole. */
export function pathFrom(base: string): (path: string) => string {
  return (path) => {
    const short = relative(base, path);
    return short === "" || short.startsWith("..") ? path : short;
  };
}
