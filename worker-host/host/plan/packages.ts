import { dirname, join, resolve, sep } from "node:path";
import { readRegularFile } from "../../base/paths.ts";
import { defined, jsonIn } from "../../contract/payload.ts";
import { faultOfId } from "../../contract/topics.ts";
import { isValues, linesBelow, type ReadOptions, readConfigFile, type Values } from "../config/config-file.ts";
import type { Found } from "./discover.ts";

export interface PackagesOptions extends ReadOptions {
  /** The folder that holds the props; the packages are in the `package.json` beside it. */
  props: string;
  /** `worker-host.yaml`, which gives each worker of a package its id. */
  settingsFile: string;
}

/** A package that brings workers along. */
interface Offer {
  /** Its folder. */
  dir: string;
  version?: string;
  /** Their files, as it names them. */
  workers: string[];
}

/** The key of `worker-host.yaml` that gives packages' workers their ids. */
export const PACKAGES_KEY = "packages";

const LONGEST_MANIFEST = 1_048_576;

const ABSENT: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "EISDIR"]);

/** What the workers of installed packages are, and what people have to be told of them. */
export async function discoverPackages(options: PackagesOptions): Promise<{ found: Found[]; warnings: string[] }> {
  const { settingsFile, props, show } = options;
  const warnings: string[] = [];
  const offers = offersIn(dirname(props), warnings, show);
  const { config, shown = config, lines: all, fault } = await readConfigFile(settingsFile, options);
  const wanted = fault === undefined ? config[PACKAGES_KEY] : undefined;
  if (wanted !== undefined && !isValues(wanted)) {
    warnings.push(
      `${show(settingsFile)}: ${PACKAGES_KEY}: expected ids and packages, such as { fogger: haunt-fogger }`,
    );
  }
  const lines = linesBelow(all, [PACKAGES_KEY]);
  const entries = isValues(wanted) ? Object.entries(wanted) : [];
  const quoted = new Map(Object.entries(shown[PACKAGES_KEY] ?? {}));
  const found = entries.map(([id, value]) => {
    const line = Object.hasOwn(lines, id) ? lines[id]?.line : undefined;
    const place = `${show(settingsFile)}${line === undefined ? "" : `:${line}`} ${PACKAGES_KEY}.${id}`;
    return foundIn(id, { value, shown: quoted.get(id) }, offers, place, options);
  });
  const used = new Set(entries.map(([, value]) => nameIn(value)));
  for (const [name, { workers }] of offers) {
    if (used.has(name)) continue;
    warnings.push(
      `${name} brings ${workers.join(", ")}: to run it, write "${PACKAGES_KEY}: { my_prop: ${JSON.stringify(name)} }" into ${show(settingsFile)}`,
    );
  }
  return { found, warnings };
}

/** The dependencies of a folder that bring workers along. */
function offersIn(folder: string, warnings: string[], show: (path: string) => string): Map<string, Offer> {
  const unread = (path: string) => (code: string) => warnings.push(`${show(path)}: can't be read (${code})`);
  const own = join(folder, "package.json");
  const { dependencies, optionalDependencies } = readJson(own, unread(own)) ?? {};
  const names = [dependencies, optionalDependencies].flatMap((list) => (isValues(list) ? Object.keys(list) : []));
  const offers = new Map<string, Offer>();
  for (const name of new Set(names)) {
    const found = find(name, folder, unread);
    const offered = found?.manifest["worker-host"];
    if (!found || offered === undefined) continue;
    const { dir, manifest } = found;
    const workers = isValues(offered) ? offered.workers : undefined;
    if (!Array.isArray(workers) || workers.length === 0 || workers.some((file) => !isInside(dir, file))) {
      warnings.push(
        `${show(join(dir, "package.json"))}: "worker-host": expected { "workers": ["./dist/worker.js"] }, files of the package`,
      );
      continue;
    }
    const { version } = manifest;
    offers.set(name, { dir, workers: workers as string[], ...(typeof version === "string" ? { version } : {}) });
  }
  return offers;
}

/** A package, as Node looks for it from `folder`. */
function find(
  name: string,
  folder: string,
  unread: (path: string) => (code: string) => void,
): { dir: string; manifest: Values } | undefined {
  const dir = join(folder, "node_modules", name);
  const path = join(dir, "package.json");
  const manifest = readJson(path, unread(path));
  if (manifest) return { dir, manifest };
  const above = dirname(folder);
  return above === folder ? undefined : find(name, above, unread);
}

function isInside(dir: string, file: unknown): boolean {
  return typeof file === "string" && resolve(dir, file).startsWith(dir + sep);
}

/** The package in `fogger: haunt-fogger`, or in `fogger: { package: haunt-fogger }`. */
function nameIn(value: unknown): unknown {
  return isValues(value) ? value.package : value;
}

/** @param entry what the settings file says of it, and that for people */
function foundIn(
  id: string,
  { value, shown }: { value: unknown; shown: unknown },
  offers: ReadonlyMap<string, Offer>,
  place: string,
  { settingsFile, props }: PackagesOptions,
): Found {
  const config = { path: settingsFile, keys: [PACKAGES_KEY, id, "config"] };
  const failed = (fault: string): Found => {
    const file = join(dirname(props), "package.json");
    return { id, kind: "props", file, config, fault: `${place}: ${fault}` };
  };
  const name = nameIn(value);
  const offer = typeof name === "string" ? offers.get(name) : undefined;
  if (!offer) {
    const known = [...offers.keys()].join(", ") || "none";
    return failed(
      `expected a package that brings workers, got ${JSON.stringify(nameIn(shown))}; installed in the folder of props/: ${known}`,
    );
  }
  const wanted = isValues(value) ? value.worker : undefined;
  const [only, ...others] = offer.workers;
  const worker = wanted ?? (others.length === 0 ? only : undefined);
  if (typeof worker !== "string" || !offer.workers.includes(worker)) {
    return failed(
      `expected "worker" to be one of ${offer.workers.join(", ")}, got ${JSON.stringify(isValues(shown) ? shown.worker : undefined)}`,
    );
  }
  const fault = faultOfId(id);
  const file = resolve(offer.dir, worker);
  return {
    id,
    kind: "props",
    file,
    config,
    ...defined({ version: offer.version, fault }),
  };
}

/**
 * `undefined` where there is no such file, or no object in it.
 *
 * @param onUnread called with the code of the system's error where the file can't be read
 */
function readJson(path: string, onUnread: (code: string) => void): Values | undefined {
  try {
    const value = jsonIn(readRegularFile(path, LONGEST_MANIFEST).toString("utf8"));
    return isValues(value) ? value : undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    if (!ABSENT.has(code)) onUnread(code);
    return undefined;
  }
}
