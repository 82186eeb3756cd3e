import { createRequire } from "node:module";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Clock, within } from "../base/clock.ts";
import type { Secrets } from "../base/log.ts";
import { packageFile } from "../base/paths.ts";
import { stopTimeoutOf } from "../commands/stopping.ts";
import { describeError, WorkerHostError } from "../contract/errors.ts";
import { defined } from "../contract/payload.ts";
import { BaseWorker } from "./base-worker.ts";
import { type ConfigSpec, LOADING, type WorkerSpec } from "./channel.ts";
import { LiveConfig } from "./config.ts";
import type { WorkerContext } from "./context.ts";
import { LOAD_MS } from "./limits.ts";
import { collectCommands } from "./own-commands.ts";

/** Loaded before any bundle: Node can't require() a module, as a CommonJS worker does, that is still being loaded. */
const ENTRY = pathToFileURL(packageFile("dist/index.js")).href;

/** Imports the module at a URL. Our own code can't: V8 has compiled it in the build. */
const importModule = createRequire(import.meta.url)(packageFile("worker-host/import.cjs")) as (
  url: string,
) => Promise<Record<string, unknown>>;

export const CHECK = 'the check of its config by "static config"';

/** A class that a worker's file exports. */
export interface WorkerClass {
  new (context: WorkerContext): BaseWorker;
  /** The schema of its config. */
  config?: unknown;
  /** What it says of its telemetry keys. */
  telemetry?: unknown;
  /** What it is, for people. */
  description?: unknown;
  version?: unknown;
  /** How long `loop()` pauses after each call, in ms. */
  loopIntervalMs?: unknown;
  /** `true`: `start()` runs before the first connect. */
  offline?: unknown;
  /** How long `do_stop` and `stop()` may take together, in ms. */
  stopTimeoutMs?: unknown;
}

/**
 * Imports a worker's bundle.
 *
 * @throws WorkerHostError `load_failed` where it exports no worker; whatever its top-level code throws
 */
export async function loadWorker({ bundle, file }: Pick<WorkerSpec, "bundle" | "file">): Promise<WorkerClass> {
  await importModule(ENTRY);
  const module = await importModule(bundle);
  // A CommonJS module's exports are its default.
  const exported = module.Worker ?? (module.default as { Worker?: unknown } | undefined)?.Worker ?? module.default;
  if (typeof exported !== "function") {
    // A file that exports nothing is taken for a CommonJS module, whose exports are its default.
    const { default: all, "module.exports": _, ...named } = module;
    const isOwn = Object.keys(named).length > 0 || typeof all !== "object" || all === null;
    const names = Object.keys(isOwn ? { ...named, ...defined({ default: all }) } : all).join(", ") || "nothing";
    throw new WorkerHostError(
      "load_failed",
      `${file} exports no class Worker (it exports ${names}): write "export class Worker extends BaseWorker { … }"`,
    );
  }
  if (!(exported.prototype instanceof BaseWorker)) {
    throw new WorkerHostError(
      "load_failed",
      `${file}: its Worker does not extend BaseWorker: write 'import { BaseWorker } from "worker-host"' and "class Worker extends BaseWorker"`,
    );
  }
  return exported as WorkerClass;
}

/**
 * Gives what comes of a worker's own code, where that doesn't take too long.
 *
 * @param what for people: `its top-level code`
 * @throws WorkerHostError `timeout`; whatever `work` rejects with
 */
export async function inTime<T>(clock: Clock, what: string, work: Promise<T>): Promise<T> {
  const done = await within(clock, LOAD_MS, work);
  if (done) return done.value;
  throw new WorkerHostError("timeout", `${what} has not ended in ${LOAD_MS / 1000} s`);
}

/**
 * Loads a worker and checks its class and its config, without starting it; gives what people have to be told of them.
 *
 * @param before the config that a `configure` would change
 * @param secrets told what no log may hold
 * @throws WorkerHostError `load_failed`, `invalid_config`
 */
export async function inspect(
  spec: WorkerSpec,
  before: ConfigSpec | undefined,
  secrets: Secrets | undefined,
  clock: Clock,
): Promise<string[]> {
  try {
    const Class = await inTime(clock, LOADING, loadWorker(spec));
    stopTimeoutOf(Class);
    const checking = new LiveConfig(Class.config, spec.file, secrets).check(spec.config, before);
    const { value, warnings } = await inTime(clock, CHECK, checking);
    collectCommands(Class.prototype, value);
    return warnings;
  } catch (cause) {
    if (isLasting(cause)) throw cause;
    throw new WorkerHostError("load_failed", explainStart(cause, spec), { cause });
  }
}

/** Whether it names its place itself, and doesn't pass by itself. */
export function isLasting(error: unknown): boolean {
  return error instanceof WorkerHostError && (error.code === "load_failed" || error.code === "invalid_config");
}

/** What went wrong with a worker, and where. */
export function explainStart(error: unknown, { file, dir }: Pick<WorkerSpec, "file" | "dir">): string {
  return isLasting(error) ? describeError(error) : `${locate(error, file, dir)}: ${describeError(error)}`;
}

const FRAME = /(file:\/\/\/[^\s()]+|\/[^\s()]+|[A-Za-z]:\\[^()]+):(\d+):\d+\)?$/;

/**
 * Where in a worker's own files an error was thrown, as `props/fogger/backend/worker.ts:12`; `file` alone where its
 * stack names none of them.
 *
 * @param file the worker's file as it is shown to people
 * @param dir the folder in which that file is
 */
export function locate(error: unknown, file: string, dir: string): string {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  for (const line of stack.split("\n")) {
    const [, place, lineNumber] = FRAME.exec(line.trim()) ?? [];
    if (!place) continue;
    const path = relative(dir, place.startsWith("file:") ? fileURLToPath(place) : place);
    if (path.startsWith("..") || path.split(sep).includes("node_modules")) continue;
    return `${join(dirname(file), path)}:${lineNumber}`;
  }
  return file;
}
