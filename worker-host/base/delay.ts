import { WorkerHostError } from "../contract/errors.ts";

/** @throws WorkerHostError `invalid_value` */
export function assertDelay(name: string, ms: number): void {
  if (typeof ms === "number" && ms >= 0) return;
  throw new WorkerHostError("invalid_value", `${name}(${String(ms)}): expected a number of ms, 0 or more`);
}
