import type { JsonSchema } from "../contract/json-schema.ts";
import { BaseWorker } from "./base-worker.ts";
import { type CommandSpec, type RunningCommand, specOf } from "./command-spec.ts";
import { jsonSchemaOf } from "./schema.ts";

/** One command that a worker knows. */
export interface CommandEntry {
  action: string;
  spec: CommandSpec;
  /** Of the args, where there is a schema. */
  argsJson: JsonSchema | undefined;
  handler: (args: unknown, command: RunningCommand) => unknown;
}

const PREFIX = "do_";

/** Every `do_*` of a worker, its own and its parents', by the action that calls it. */
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
  return table;
}

/** @throws WorkerHostError `load_failed` where the schema of the args has no JSON Schema */
export function entryOf(action: string, spec: CommandSpec, handler: CommandEntry["handler"]): CommandEntry {
  const argsJson = spec.args ? jsonSchemaOf(spec.args, `the schema of the args of "${action}"`) : undefined;
  return { action, spec, argsJson, handler };
}
