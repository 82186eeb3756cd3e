import { specOf } from "../commands/command-spec.ts";
import { assertEnd, type CommandEntry, entryOf } from "../commands/command-table.ts";
import { addArming } from "./arming.ts";
import { BaseWorker } from "./base-worker.ts";

const PREFIX = "do_";

/**
 * Every `do_*` of a worker, its own and its parents', by the action that calls it, and what is ready-made.
 *
 * @throws WorkerHostError `load_failed`
 */
export function collectCommands(worker: BaseWorker): Map<string, CommandEntry> {
  const table = new Map<string, CommandEntry>();
  for (let holder: object = worker; holder !== BaseWorker.prototype; holder = Object.getPrototypeOf(holder)) {
    for (const name of Object.getOwnPropertyNames(holder)) {
      const action = name.slice(PREFIX.length);
      if (!name.startsWith(PREFIX) || action === "" || table.has(action)) continue;
      const method: unknown = Reflect.get(holder, name, worker);
      if (typeof method !== "function") continue;
      table.set(
        action,
        entryOf(action, specOf(method), (args, command) => method.call(worker, args, command)),
      );
    }
  }
  addArming(worker, table);
  for (const entry of table.values()) assertEnd(entry, table, "load_failed");
  return table;
}
