import { isDeepStrictEqual } from "node:util";
import { WorkerHostError } from "../../contract/errors.ts";
import type { ConfigSpec } from "../../worker/channel.ts";
import { shownOf } from "../../worker/config.ts";
import type { Plan, Planned } from "../plan/plan.ts";
import type { LiveReload } from "../reload/live-reload.ts";
import type { Supervisor } from "../runners/supervisor.ts";
import { literal } from "./config-file.ts";
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
 * Edits a worker's config file, if the worker would take the outcome; then it takes effect as an edit by hand does. A
 * `${NAME}` in the patch is text, and stays so in the file; what is marked as the author's stays as it is.
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
  const { path, at } = supervisor.find(id).planned.place;
  const name = show(path);
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const before = await readConfigText(path, name);
    const text = await configs.edit(name, before, at, literal(patch));
    if (text === before) return path;
    const [now, next] = await Promise.all([before, text].map((each) => readPlan(new Map([[path, each]]))));
    const refusal = await refusalOf(id, now?.workers ?? [], next?.workers ?? [], supervisor);
    if (refusal !== undefined) throw new WorkerHostError("invalid_config", refusal);
    if (await writeConfigFile(path, name, text, before)) return path;
  }
  throw new WorkerHostError("not_written", `${name}: it was edited by hand meanwhile, and stays so: send it once more`);
}

/** Why the workers may not become what an edit makes of them: it may make others than the one that it names. */
async function refusalOf(
  id: string,
  now: readonly Planned[],
  next: readonly Planned[],
  supervisor: Supervisor,
): Promise<string | undefined> {
  const edited = supervisor.find(id);
  for (const planned of next) {
    const old = now.find((one) => one.id === planned.id);
    const isBroken = planned.fault !== undefined && old?.fault === undefined;
    if (old && planned.id !== id && !isBroken && isSameConfig(old.config, planned.config)) continue;
    // One that is new is of the class of the one that brings it in.
    const before = (old ?? now.find((one) => one.id === id) ?? edited.planned).config;
    // One that is switched off by this has nothing to say about it, unless its own values change too.
    if (planned.skipped !== undefined && isSameConfig(before, planned.config)) continue;
    const { fault } = await supervisor.inspect(supervisor.records.get(planned.id) ?? edited, planned, before);
    const refusal = fault ?? (planned.id === id ? planned.unreadable : undefined);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function isSameConfig(one: ConfigSpec, other: ConfigSpec): boolean {
  return isDeepStrictEqual([one.values, shownOf(one)], [other.values, shownOf(other)]);
}
