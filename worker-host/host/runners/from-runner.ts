import { COMMAND_BOUNDS_MS, noCounts } from "../../base/counts.ts";
import { WorkerHostError } from "../../contract/errors.ts";
import type { FromRunner } from "../../worker/messages.ts";

type Fields = Readonly<Record<string, unknown>>;

const RUNSTATES: ReadonlySet<unknown> = new Set(["starting", "running", "stopping", "stopped", "failed"]);
const NUMBERS = (Object.keys(noCounts()) as (keyof ReturnType<typeof noCounts>)[]).filter((key) => key !== "commands");

/** Whether a message of this type has what belongs to it. Written by hand: a beat comes four times a second. */
const IS_WHOLE = new Map<unknown, (message: Fields) => boolean>([
  ["beat", ({ debugged }) => typeof debugged === "boolean"],
  [
    "state",
    ({ id, run, state, detail, hopeless }) =>
      typeof id === "string" &&
      Number.isSafeInteger(run) &&
      RUNSTATES.has(state) &&
      isTextOrNone(detail) &&
      (hopeless === undefined || hopeless === true),
  ],
  [
    "answer",
    ({ request, fault, warnings }) =>
      Number.isSafeInteger(request) &&
      isTextOrNone(fault) &&
      Array.isArray(warnings) &&
      warnings.every((warning) => typeof warning === "string"),
  ],
  [
    "stats",
    ({ request, counts, bytes }) =>
      Number.isSafeInteger(request) && Number.isFinite(bytes) && Array.isArray(counts) && counts.every(areCounts),
  ],
  ["all_stop", ({ by, reason }) => typeof by === "string" && isTextOrNone(reason)],
  ["holds", ({ id, on }) => typeof id === "string" && typeof on === "boolean"],
  ["group", ({ pid, alive }) => Number.isSafeInteger(pid) && (pid as number) > 1 && typeof alive === "boolean"],
]);

/**
 * A message of a runner: checked, since the code of workers runs in the process that it comes from.
 *
 * @throws WorkerHostError `invalid_value` where it is none
 */
export function readFromRunner(value: unknown): FromRunner {
  if (typeof value === "object" && value !== null && IS_WHOLE.get((value as Fields).type)?.(value as Fields))
    return value as FromRunner;
  throw new WorkerHostError("invalid_value", `no runner says ${JSON.stringify(value).slice(0, 80)}`);
}

function isTextOrNone(value: unknown): boolean {
  return value === undefined || typeof value === "string";
}

function areCounts(entry: unknown): boolean {
  if (!Array.isArray(entry) || typeof entry[0] !== "string" || typeof entry[1] !== "object" || entry[1] === null)
    return false;
  const counts = entry[1] as Fields;
  const { commands } = counts;
  return (
    NUMBERS.every((key) => Number.isFinite(counts[key])) &&
    Array.isArray(commands) &&
    commands.length === COMMAND_BOUNDS_MS.length + 1 &&
    commands.every((count) => Number.isFinite(count))
  );
}
