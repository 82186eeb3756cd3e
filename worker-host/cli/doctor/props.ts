import { readdirSync } from "node:fs";
import { messageOf } from "../../contract/errors.ts";
import { pathFrom } from "../../host/paths.ts";
import { readPlan } from "../../host/plan/plan.ts";
import type { Settings } from "../../host/settings/settings.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

/** The folder of the props, and the configs in it; no worker's code is built or loaded. */
export async function lookAtProps(
  settings: Settings,
  { cwd, env }: { cwd: string; env: Readonly<Record<string, string | undefined>> },
): Promise<Finding[]> {
  const { props, selectProps } = settings;
  const folder = selectProps.disableAll ? [] : lookAtFolder(props);
  if (folder.some(({ status }) => status === "fail")) return folder;
  const { workers, warnings } = await readPlan({ ...settings, env, show: pathFrom(cwd) });
  const chosen = workers.filter(({ skipped }) => skipped === undefined);
  const faults = chosen.flatMap(({ id, fault, unreadable }) =>
    [fault, unreadable].flatMap((text) => (text === undefined ? [] : [{ id, text }])),
  );
  const remedy = (id: string) => `mend it; "worker-host check ${id}" tells more`;
  return [
    ...folder,
    ...faults.map(({ id, text }) => fail("config", `${id}: ${text}`, remedy(id))),
    ...[...warnings, ...chosen.flatMap((worker) => worker.warnings)].map((text) =>
      warn("config", text, "mend it, or leave it out"),
    ),
    ...(faults.length === 0 ? [ok("config", `${chosen.length} workers would run, and their configs can be read`)] : []),
  ];
}

function lookAtFolder(props: string): Finding[] {
  try {
    return [ok("props", `${props} has ${readdirSync(props).length} entries`)];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      const remedy = "name the folder of your props with --props, or write a first one: worker-host new prop my_prop";
      return [warn("props", `${props} is not there`, remedy)];
    }
    const remedy = "name the folder of your props with --props, and let this user read it";
    return [fail("props", `${props} can't be read: ${messageOf(error)}`, remedy)];
  }
}
