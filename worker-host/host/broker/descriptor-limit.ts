import { readFile } from "node:fs/promises";
import { unlessMissing } from "../../base/durable-file.ts";

/** A usual limit, for systems that don't tell theirs. */
const USUAL_DESCRIPTORS = 1024;
const MIN_RESERVE = 64;
const MAX_RESERVE = 1024;
/** More clients than that belong on mosquitto. */
const MAX_CONNECTIONS = 4000;

/** How many connections the broker may have open, of the descriptors that this process may have. */
export async function connectionsAllowed(): Promise<number> {
  const limits = await unlessMissing(readFile("/proc/self/limits", "utf8"));
  const [, soft] = /^Max open files\s+(\d+|unlimited)/m.exec(limits ?? "") ?? [];
  return connectionsFor(soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft ?? USUAL_DESCRIPTORS));
}

/** A third of the descriptors is kept for files, and for the processes of workers: each of these takes some five. */
function connectionsFor(descriptors: number): number {
  const reserve = Math.min(MAX_RESERVE, Math.max(MIN_RESERVE, Math.ceil(descriptors / 3)));
  return Math.min(MAX_CONNECTIONS, Math.max(1, descriptors - reserve));
}
