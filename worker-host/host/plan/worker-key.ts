import { z } from "zod";
import { faultOfId } from "../../contract/topics.ts";
import type { ConfigSpec } from "../../worker/channel.ts";
import { checkConfig, shownOf } from "../../worker/config.ts";
import { MOST_INSTANCES } from "../limits.ts";

const isolation = z.enum(["shared", "own"]);

const forOne = z.strictObject({
  name: z.string().min(1).max(200).optional(),
  area: z.string().min(1).max(200).optional(),
  enabled: z.boolean().optional(),
  isolation: isolation.optional(),
  /** A process takes some 80 MB before it does anything. */
  max_memory_mb: z.int().min(100).optional(),
});

const instance = z.looseObject({ worker: forOne.optional() });

const instanceId = z.string().superRefine((id, { addIssue }) => {
  const fault = faultOfId(id);
  if (fault) addIssue({ code: "custom", message: fault });
});

/** What the reserved key `worker` of a config file holds: what is for the host. */
const schema = z.looseObject({
  worker: forOne
    .extend({
      instances: z
        .record(instanceId, instance)
        .refine((all) => Object.keys(all).length > 0, "expected one instance at least")
        .refine((all) => Object.keys(all).length <= MOST_INSTANCES, `expected ${MOST_INSTANCES} instances at most`)
        .optional(),
    })
    .prefault({}),
});

/** What a config file says to the host. */
export type WorkerKey = z.infer<typeof schema>["worker"];

/**
 * Reads the reserved key of a config file. It takes nothing from the environment: the host says on the broker what is in
 * it.
 *
 * @throws WorkerHostError `invalid_config`, with file, line and key
 */
export async function readWorkerKey(config: ConfigSpec): Promise<WorkerKey> {
  const { value } = await checkConfig(schema, { ...config, values: shownOf(config) }, config.file);
  return (value as z.infer<typeof schema>).worker;
}
