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
  const beside = await discover(options);
  const { found, warnings } = discoverPackages(options);
  const planned = await plan([...beside, ...found], options);
  return { ...planned, warnings: [...planned.warnings, ...warnings] };
}
