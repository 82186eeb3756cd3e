import { faultOfId } from "../../contract/topics.ts";
import { discover } from "./discover.ts";
import { discoverPackages } from "./packages.ts";
import { type Plan, type PlanOptions, plan } from "./plan.ts";

export interface SurveyOptions extends PlanOptions {
  props: string;
  builtins: string;
  settingsFile: string;
}

/** Looks at what is on disk, and says what should run; runs and loads nothing. */
export async function survey(options: SurveyOptions): Promise<Plan> {
  const { found: beside, boards, unread, warnings: unreadable } = await discover(options);
  const { found, warnings } = discoverPackages(options);
  const planned = await plan([...beside, ...found], options);
  return {
    ...planned,
    boards: boards.filter(
      (id) => faultOfId(id, options.name) === undefined && planned.workers.every((worker) => worker.id !== id),
    ),
    unread,
    warnings: [...planned.warnings, ...unreadable, ...warnings],
  };
}
