import type { CommandSpec } from "../commands/command-spec.ts";
import { assertWithoutArgs, type CommandEntry, entryOf } from "../commands/command-table.ts";
import { WorkerHostError } from "../contract/errors.ts";
import type { BaseWorker } from "./base-worker.ts";

const ARMED = "armed";
const DISARMED = "disarmed";

/**
 * Whether a worker is one to arm and disarm, by its class's `static arming`.
 *
 * @throws WorkerHostError `load_failed` where that is neither true nor false
 */
function isArming(worker: BaseWorker): boolean {
  const { arming = false } = worker.constructor as { arming?: unknown };
  if (typeof arming === "boolean") return arming;
  throw new WorkerHostError("load_failed", `static arming is ${JSON.stringify(arming)}: expected true or false`);
}

/** Says that a worker is disarmed, if it is one to arm; for before its start. */
export function beginDisarmed(worker: BaseWorker): void {
  if (isArming(worker)) worker.state = DISARMED;
}

/**
 * Adds `arm` and `disarm` to the commands of a worker that is one to arm, where it has none of its own; every `stop`
 * disarms it.
 *
 * @throws WorkerHostError `load_failed`
 */
export function addArming(worker: BaseWorker, table: Map<string, CommandEntry>): void {
  if (!isArming(worker)) return;
  const ready = (action: string, spec: CommandSpec, state: string) =>
    table.get(action) ??
    entryOf(action, spec, () => {
      worker.state = state;
    });
  const disarm = ready("disarm", { description: "Disarm it: what needs it armed is refused", safe: true }, DISARMED);
  assertWithoutArgs(disarm, "what every stop runs", "load_failed");
  table.set("arm", ready("arm", { description: "Arm it: what needs it armed may run" }, ARMED));
  table.set("disarm", { ...disarm, withStop: true });
}
