import { type CommandSpec, type RunningCommand, specOf } from "../commands/command-spec.ts";
import { assertEnd, type CommandEntry, entryOf } from "../commands/command-table.ts";
import { addArming } from "./arming.ts";
import { BaseWorker } from "./base-worker.ts";
import { coveredBy } from "./context.ts";

const PREFIX = "do_";

type Method = (args: unknown, command: RunningCommand) => unknown;

const isMethod = (value: unknown): value is Method => typeof value === "function";

/**
 * Every `do_*` of a worker, its own and its parents', by the action that calls it, and what is ready-made. What overrides
 * a method without saying anything of it by `@command` has the spec of that method.
 *
 * @throws WorkerHostError `load_failed`
 */
export function collectCommands(worker: BaseWorker): Map<string, CommandEntry> {
  const methods = new Map<string, { method: Method; spec: CommandSpec | undefined }>();
  for (let holder: object = worker; holder !== BaseWorker.prototype; holder = Object.getPrototypeOf(holder)) {
    for (const name of Object.getOwnPropertyNames(holder)) {
      const action = name.slice(PREFIX.length);
      if (!name.startsWith(PREFIX) || action === "") continue;
      const method: unknown = Reflect.get(holder, name, worker);
      if (!isMethod(method) || coveredBy(method)) continue;
      const override = methods.get(action);
      if (override) override.spec ??= specOf(method);
      else methods.set(action, { method, spec: specOf(method) });
    }
  }
  const table = new Map<string, CommandEntry>();
  for (const [action, { method, spec = {} }] of methods) {
    table.set(
      action,
      entryOf(action, spec, (args, command) => method.call(worker, args, command)),
    );
  }
  addArming(worker, table);
  for (const entry of table.values()) assertEnd(entry, table, "load_failed");
  return table;
}
