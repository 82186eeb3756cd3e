import { z } from "zod";
import { duration } from "../base/duration.ts";
import { WorkerHostError } from "../contract/errors.ts";
import type { CheckedSpec, CommandSpec } from "./command-spec.ts";
import { jsonSchemaOf, validate } from "./schema.ts";

const ms = duration().pipe(z.number().positive());
const word = z.string().regex(/^\S+$/, { error: "expected one word" });

const spec = z.strictObject({
  description: z.string().optional(),
  mode: z.enum(["parallel", "single", "restart", "queued"]).optional(),
  max: z.number().int().positive().optional(),
  timeoutMs: ms.optional(),
  cooldownMs: duration().optional(),
  maxOnMs: ms.optional(),
  onMaxOn: word.optional(),
  requiresState: z
    .union([word, z.array(word).nonempty()], { error: 'expected a state, such as "armed", or a list of them' })
    .optional(),
  broadcast: z.boolean().optional(),
  safe: z.boolean().optional(),
  widget: z.unknown().optional(),
});

const specJson = jsonSchemaOf(spec, "the spec of a command");

/**
 * A spec with its time spans in ms.
 *
 * @throws WorkerHostError `load_failed` where it says what none can, besides its schemas
 */
export function checkSpec(action: string, { args, returns, ...given }: CommandSpec): CheckedSpec {
  const checked = validate(spec, given, specJson);
  if (checked instanceof Promise) throw new TypeError("a check of a spec is asynchronous");
  const faults = (checked.faults ?? []).map(({ text }) => text);
  if (given.onMaxOn !== undefined && given.maxOnMs === undefined) faults.push("onMaxOn is for maxOnMs: add that");
  if (faults.length > 0) throw new WorkerHostError("load_failed", `the command "${action}": ${faults.join("; ")}`);
  return {
    ...(checked.value as Omit<CheckedSpec, "args" | "returns">),
    ...(args && { args }),
    ...(returns && { returns }),
  };
}
