import { dirname, join } from "node:path";
import { closestMatch } from "leven";
import { quote } from "../../contract/command.ts";
import type { WorkerSummary } from "../../contract/description.ts";
import { describeError } from "../../contract/errors.ts";
import { defined } from "../../contract/payload.ts";
import { faultOfId, faultOfPropId } from "../../contract/topics.ts";
import type { About, ConfigSpec, WorkerSpec } from "../../worker/channel.ts";
import { shownOf } from "../../worker/config.ts";
import {
  type BuiltinConfig,
  findConfigFile,
  linesBelow,
  type ReadOptions,
  readConfigFile,
  type Values,
} from "../config/config-file.ts";
import type { ConfigPlace } from "../config/edit-config.ts";
import type { Bundle } from "./bundle.ts";
import { discover, type Found } from "./discover.ts";
import { discoverPackages } from "./packages.ts";
import type { WorkerKey } from "./worker-key.ts";

/** A worker as its file and its config file would have it. */
export interface Planned {
  id: string;
  /** Which settings choose it. */
  kind: Found["kind"];
  /** The name of its class's file, or of the folder that holds it. */
  classId: string;
  /** Its file, absolute. */
  file: string;
  config: ConfigSpec;
  /** Its config file, absolute; `undefined` where there is none. */
  configPath?: string;
  /** Where its config is written. */
  place: ConfigPlace;
  /** Why its config file counts as `{}`. */
  unreadable?: string;
  /** An editor may be in the middle of writing its config file. */
  unfinished?: true;
  about: About;
  /** `own`: in a process of its own. */
  isolation: "shared" | "own";
  /** What its own process may take, where that differs from what the settings say. */
  maxMemoryMb?: number;
  /** What people have to be told of it. */
  warnings: string[];
  /** Why it can't run, and what to write instead. */
  fault?: string;
  /** Why it is not to run. */
  skipped?: string;
  /** Its prop has firmware, and so a board. */
  firmware?: true;
}

interface PlanOptions extends SelectOptions, ReadOptions {
  /** By the id of a builtin worker, what goes over its config file key by key. */
  builtinConfig: ReadonlyMap<string, BuiltinConfig>;
  /** The host's own, which no worker can have. */
  name: string;
}

/** What should run: the workers in the order of their ids, and what a person has to be told. */
export interface Plan {
  workers: Planned[];
  /** The ids of props that have firmware and no worker: each is a board alone. */
  boards: string[];
  /** The folders, absolute, that can't be read: what runs from them runs on. */
  unread: string[];
  warnings: string[];
}

interface ReadPlanOptions extends PlanOptions {
  props: string;
  builtins: readonly string[];
  settingsFile: string;
}

/** Looks at what is on disk, and says what should run; runs and loads nothing. */
export async function readPlan(options: ReadPlanOptions): Promise<Plan> {
  const { found: beside, boards, unread, warnings: unreadable } = await discover(options);
  const { found, warnings } = await discoverPackages(options);
  const planned = await planWorkers([...beside, ...found], options);
  return {
    ...planned,
    boards: boards.filter(
      (id) => faultOfId(id, options.name) === undefined && planned.workers.every((worker) => worker.id !== id),
    ),
    unread,
    warnings: [...planned.warnings, ...unreadable, ...warnings],
  };
}

/** Reads the config of each worker that was found, and says which workers come of it. */
async function planWorkers(found: Found[], options: PlanOptions): Promise<Pick<Plan, "workers" | "warnings">> {
  const expanded = (await Promise.all(found.map((one) => expand(one, options)))).flat();
  const named = expanded.map((one) => notTheHost(one, options.name));
  const { chosen, warnings } = select(named, options);
  // Left out, so that the builtin worker of that id runs all the same.
  const [refused, kept] = [chosen.filter(isReserved), chosen.filter((one) => !isReserved(one))];
  const workers = mergeById(kept, options.show).sort((a, b) => (a.id < b.id ? -1 : 1));
  const reserved = refused.map(({ id, file }) => `${options.show(file)} is not run: ${faultOfPropId(id)}`);
  return { workers, warnings: [...warnings, ...reserved] };
}

function isReserved({ id, kind, fault }: Planned): boolean {
  return kind === "props" && fault === undefined && faultOfPropId(id) !== undefined;
}

/** On the wire, an id under the host's own name would be the host. */
function notTheHost(worker: Planned, name: string): Planned {
  const fault = worker.id === name ? faultOfId(name, name) : undefined;
  return fault === undefined ? worker : { ...worker, fault };
}

async function expand(found: Found, options: PlanOptions): Promise<Planned[]> {
  const { id, file, kind, fault, skipped, firmware } = found;
  const base: Planned = {
    id,
    classId: id,
    file,
    kind,
    ...(await readSource(found, options)),
    about: found.version === undefined ? {} : { version: found.version },
    isolation: "shared",
    ...defined({ fault, skipped, firmware }),
  };
  if (fault !== undefined || skipped !== undefined || !Object.hasOwn(base.config.values, "worker")) return [base];
  try {
    // Most configs have no such key, and its schema takes a while to load.
    const { readWorkerKey } = await import("./worker-key.ts");
    const { instances, ...key } = await readWorkerKey(base.config);
    const own = settled(base, key);
    return instances ? Object.entries(instances).map(([name, one]) => instanceOf(base, own, name, one.worker)) : [own];
  } catch (error) {
    return [{ ...base, fault: describeError(error) }];
  }
}

/** The worker without the reserved key, and with what that says. */
function settled(base: Planned, key: Omit<WorkerKey, "instances">): Planned {
  const { name, area, enabled, isolation, max_memory_mb: maxMemoryMb } = key;
  const { config } = base;
  return {
    ...base,
    config: { ...config, values: withoutKey(config.values), shown: withoutKey(shownOf(config)) },
    about: { ...base.about, ...defined({ name, area }) },
    isolation: isolation ?? base.isolation,
    ...defined({ maxMemoryMb }),
    ...(enabled === false ? { skipped: `"enabled" is false in ${base.config.file}` } : {}),
  };
}

function withoutKey({ worker: _, ...values }: Values): Values {
  return values;
}

/**
 * One of several workers of a class: what it says itself stands over what they share.
 *
 * @param base as their file has them
 */
function instanceOf(base: Planned, shared: Planned, id: string, key: WorkerKey = {}): Planned {
  const at = ["worker", "instances", id];
  const { lines, values } = shared.config;
  const instance: Planned = {
    ...shared,
    id,
    config: {
      ...shared.config,
      values: { ...values, ...valuesAt(base.config.values, at) },
      shown: { ...shownOf(shared.config), ...valuesAt(shownOf(base.config), at) },
      lines: { ...lines, ...linesBelow(lines, at) },
    },
    place: { ...shared.place, at: [...shared.place.at, ...at] },
  };
  return settled(instance, key);
}

/** What a worker's config holds. */
async function readSource(
  found: Found,
  options: PlanOptions,
): Promise<Pick<Planned, "config" | "configPath" | "place" | "unfinished" | "unreadable" | "warnings">> {
  const { config: where } = found;
  const dir = dirname(found.file);
  const file = await ("base" in where ? findConfigFile(dir, where.base, options) : readConfigFile(where.path, options));
  const at = "base" in where ? [] : where.keys;
  const path = file.path ?? join(dir, `${"base" in where ? where.base : ""}.yaml`);
  const over = found.kind === "builtins" ? options.builtinConfig.get(found.id) : undefined;
  return {
    config: {
      values: { ...valuesAt(file.config, at), ...over?.values },
      ...(file.shown || over ? { shown: { ...valuesAt(file.shown ?? file.config, at), ...over?.shown } } : {}),
      ...(file.filled ? { filled: file.filled } : {}),
      lines: linesBelow(file.lines, at),
      file: options.show(path),
    },
    place: { path, at },
    warnings: file.warnings,
    ...defined({ configPath: file.path, unreadable: file.fault, unfinished: file.unfinished }),
  };
}

function valuesAt(root: Values, keys: readonly string[]): Values {
  return keys.reduce((inner, key) => {
    const value = Object.hasOwn(inner, key) ? inner[key] : undefined;
    return typeof value === "object" && value !== null ? (value as Values) : {};
  }, root);
}

/** What is said of a worker in a list, besides how it is. */
export function summaryOf(
  { id, file, configPath, about }: Planned,
  show: (path: string) => string,
): Omit<WorkerSummary, "state" | "detail"> {
  return {
    id,
    file: show(file),
    ...(configPath ? { config: show(configPath) } : {}),
    ...(about.name ? { name: about.name } : {}),
    ...(about.area ? { area: about.area } : {}),
  };
}

/** Says that no worker has an id, and which there are. */
export function noneOfThem(id: string, workers: readonly Planned[]): string {
  const ids = workers.map((planned) => planned.id);
  const near = closestMatch(id, ids, { maxDistance: 2 });
  const instead = near === undefined ? `there are: ${ids.join(", ") || "none"}` : `did you mean ${quote(near)}?`;
  return `there is no worker ${quote(id)}; ${instead}`;
}

/** What a runner has to know of a worker to run it. */
export function specOf(
  { id, classId, file, config, about }: Planned,
  { url }: Bundle,
  { data, show }: { data: string; show: (path: string) => string },
): WorkerSpec {
  return { id, classId, bundle: url, file: show(file), dir: dirname(file), dataDir: join(data, id), config, about };
}

/** One worker for each id; where two want the same one, neither runs, since nobody could say which did. */
function mergeById(all: Planned[], show: (path: string) => string): Planned[] {
  const byId = new Map<string, Planned[]>();
  for (const worker of all) byId.set(worker.id, [...(byId.get(worker.id) ?? []), worker]);
  return [...byId.values()].map((same) => {
    const wanted = same.filter(({ skipped }) => skipped === undefined);
    const [first] = wanted.length > 0 ? wanted : same;
    if (!first) throw new Error("unreachable: an id without a worker");
    if (wanted.length < 2) return first;
    const files = wanted.map(({ file }) => show(file)).join(" and ");
    return { ...first, fault: `two workers have the id "${first.id}": ${files}; rename or remove one` };
  });
}

/** Which workers of one kind run: none, else those allowed, else all but the disabled. */
export interface Selection {
  disableAll: boolean;
  allow: readonly string[];
  disable: readonly string[];
}

interface SelectOptions {
  selectProps: Selection;
  selectBuiltins: Selection;
}

interface Selectable {
  id: string;
  /** For an instance, the folder of its class, which selects it too. */
  classId: string;
  kind: "props" | "builtins";
  /** Why it is not to run. */
  skipped?: string;
}

/** Says of each worker whether the settings let it run, and of the settings what names nobody. */
export function select<T extends Selectable>(
  workers: T[],
  { selectProps, selectBuiltins }: SelectOptions,
): { chosen: T[]; warnings: string[] } {
  const selections = { props: selectProps, builtins: selectBuiltins };
  const chosen = workers.map((worker) => {
    const skipped = worker.skipped ?? reason(worker, selections[worker.kind]);
    return skipped === undefined ? worker : { ...worker, skipped };
  });
  return {
    chosen,
    warnings: [...missing("props", selectProps, workers), ...missing("builtins", selectBuiltins, workers)],
  };
}

function reason({ id, classId, kind }: Selectable, { disableAll, allow, disable }: Selection): string | undefined {
  const named = (names: readonly string[]) => names.includes(id) || names.includes(classId);
  if (disableAll) return `WORKER_DISABLE_ALL_${kind.toUpperCase()} is set`;
  if (allow.length > 0) return named(allow) ? undefined : `not in WORKER_${kind.toUpperCase()}_ALLOW`;
  return named(disable) ? `in WORKER_${kind.toUpperCase()}_DISABLE` : undefined;
}

function missing(kind: Selectable["kind"], { allow, disable }: Selection, workers: Selectable[]): string[] {
  const known = new Set(workers.filter((one) => one.kind === kind).flatMap(({ id, classId }) => [id, classId]));
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
