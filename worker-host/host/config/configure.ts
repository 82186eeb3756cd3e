import { WorkerHostError } from "../../contract/errors.ts";
import type { Plan } from "../plan/plan.ts";
import type { LiveReload } from "../reload/live-reload.ts";
import type { Supervisor } from "../runners/supervisor.ts";
import type { ConfigThread } from "./config-thread.ts";
import { readConfigText, writeConfigFile } from "./edit-config.ts";

export interface ConfigureOptions {
  supervisor: Supervisor;
  live: LiveReload;
  configs: ConfigThread;
  /** How a path is shown to people. */
  show: (path: string) => string;
  /** Looks at what is on disk, with these texts in the place of files'. */
  readPlan: (overlay: ReadonlyMap<string, string>) => Promise<Plan>;
}

/** How often a file is edited anew that a person edits at the same time. */
const MOST_TRIES = 3;

/**
 * Edits a worker's config file, if the worker would take the outcome; then it takes effect as an edit by hand does.
 *
 * @throws WorkerHostError `invalid_id`, `invalid_config`, `load_failed`, `not_written`
 */
export async function configure(
  id: string,
  patch: Record<string, unknown>,
  { live, ...rest }: ConfigureOptions,
): Promise<void> {
  const path = await live.inTurn(() => edit(id, patch, rest));
  const { refused } = await live.look(new Set([path]));
  const fault = refused.find((one) => one.id === id)?.fault;
  if (fault !== undefined) throw new WorkerHostError("invalid_config", `written, but not taken: ${fault}`);
}

/** Gives the path of the file. */
async function edit(
  id: string,
  patch: Record<string, unknown>,
  { supervisor, configs, show, readPlan }: Omit<ConfigureOptions, "live">,
): Promise<string> {
  const record = supervisor.find(id);
  const { path, at } = record.planned.place;
  const name = show(path);
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const before = await readConfigText(path, name);
    const text = await configs.edit(name, before, at, patch);
    if (text === before) return path;
    const { workers } = await readPlan(new Map([[path, text]]));
    const next = workers.find((planned) => planned.id === id);
    // One that is switched off, or out, by this has nothing to say about it.
    const { fault } = next && next.skipped === undefined ? await supervisor.inspect(record, next) : {};
    const refusal = fault ?? next?.unreadable;
    if (refusal !== undefined) throw new WorkerHostError("invalid_config", refusal);
    if (await writeConfigFile(path, name, text, before)) return path;
  }
  throw new WorkerHostError("not_written", `${name}: it was edited by hand meanwhile, and stays so: send it once more`);
}
