import { z } from "zod";
import type { Commands } from "../commands/commands.ts";
import { jsonSchemaOf, publicSchema, publicValues, validate } from "../commands/schema.ts";
import { type TelemetryDescription, VALUE_TYPES, WIDGETS, type WorkerDescription } from "../contract/description.ts";
import { type ErrorCode, WorkerHostError } from "../contract/errors.ts";
import type { JsonSchema } from "../contract/json-schema.ts";
import { assertKey } from "../contract/topics.ts";

/** What `static telemetry` says of each key. */
export type Telemetry = Record<string, TelemetryDescription>;

/** What a worker may say of itself; `null` takes something out. */
export interface Facts {
  name?: string | null;
  area?: string | null;
  version?: string | null;
  description?: string | null;
  /** The states that it may have; the first is the one in which it waits. */
  states?: readonly string[] | null;
  telemetry?: Record<string, TelemetryDescription | null> | null;
  [fact: string]: unknown;
}

/** The part of a description that a worker's helpers use. */
export type Describable = Pick<Description, "describe" | "retains">;

export interface DescriptionOptions {
  id: string;
  /** The name of its class's file. */
  classId: string;
  commands: Pick<Commands, "describe">;
  publish: (text: string) => void;
}

const widget = z.strictObject({
  type: z.enum(WIDGETS).optional(),
  label: z.string().optional(),
  icon: z.string().optional(),
  confirm: z.boolean().optional(),
  hidden: z.boolean().optional(),
});

const facts = z.looseObject({
  name: z.string().nullish(),
  area: z.string().nullish(),
  version: z.string().nullish(),
  description: z.string().nullish(),
  states: z.array(z.string()).nonempty().nullish(),
  telemetry: z
    .record(
      z.string(),
      z
        .strictObject({
          unit: z.string().optional(),
          type: z.enum(VALUE_TYPES).optional(),
          description: z.string().optional(),
          retain: z.boolean().optional(),
          widget: widget.optional(),
        })
        .nullable(),
    )
    .nullish(),
});

const factsJson = jsonSchemaOf(facts, "the facts of a description");

/** What the host says of a worker, and the worker doesn't. */
const OURS = ["contract", "id", "class", "commands", "config", "stop_timeout_ms"];

/** What a worker says of itself, published whenever it changes. */
export class Description {
  readonly #facts = new Map<string, unknown>();
  readonly #telemetry = new Map<string, TelemetryDescription>();
  #config: { schema: JsonSchema; values: unknown } | undefined;
  #stopTimeoutMs: number | undefined;
  #open = false;
  #publishing = false;

  constructor(private readonly options: DescriptionOptions) {}

  /** Whether a telemetry key is declared as retained. */
  retains(key: string): boolean {
    return this.#telemetry.get(key)?.retain === true;
  }

  /** @throws WorkerHostError `invalid_value` */
  describe(given: Facts): void {
    this.declare(given, "invalid_value", "describe");
  }

  /**
   * Takes facts, whoever gives them; `where` and `code` are for the error.
   *
   * @throws WorkerHostError
   */
  declare(given: Facts, code: ErrorCode, where: string): void {
    const { telemetry, ...others } = this.#check(given, code, where);
    for (const [key, value] of Object.entries(others)) set(this.#facts, key, value);
    if (telemetry === null) this.#telemetry.clear();
    for (const [key, value] of Object.entries(telemetry ?? {})) set(this.#telemetry, key, value);
    this.changed();
  }

  #check(given: Facts, code: ErrorCode, where: string): Facts {
    const ours = Object.keys(given).find((key) => OURS.includes(key));
    if (ours) throw new WorkerHostError(code, `${where}: "${ours}" is said by the host: leave it out`);
    if ("board" in given) throw new WorkerHostError(code, `${where}: "board" is said by boards: name it otherwise`);
    const checked = validate(facts, given, factsJson);
    // It has no asynchronous checks.
    const faults = checked instanceof Promise ? [] : checked.faults;
    if (faults) throw new WorkerHostError(code, `${where}: ${faults.map(({ text }) => text).join("; ")}`);
    for (const key of Object.keys(given.telemetry ?? {})) assertKey(key);
    try {
      // A copy too, so that nothing changes it unseen.
      return JSON.parse(JSON.stringify(given)) as Facts;
    } catch (cause) {
      throw new WorkerHostError(code, `${where}: it can't be written as JSON (${(cause as Error).message})`, { cause });
    }
  }

  /** Says what its config is now. */
  setConfig(schema: JsonSchema | undefined, values: unknown): void {
    this.#config = schema && { schema: publicSchema(schema), values: publicValues(values, schema) };
    this.changed();
  }

  /** Says how long its `do_stop` and `stop()` may take together, in ms, where that isn't the usual. */
  setStopTimeout(ms: number | undefined): void {
    this.#stopTimeoutMs = ms;
    this.changed();
  }

  /** From now on it is published, and whenever something changes. */
  open(): void {
    this.#open = true;
    this.#publish();
  }

  close(): void {
    this.#open = false;
  }

  /** Publishes it with all that changes in one go. */
  changed(): void {
    if (!this.#open || this.#publishing) return;
    this.#publishing = true;
    queueMicrotask(() => {
      this.#publishing = false;
      if (this.#open) this.#publish();
    });
  }

  #publish(): void {
    const { id, classId, commands, publish } = this.options;
    const description: WorkerDescription = {
      contract: 1,
      id,
      class: classId,
      ...Object.fromEntries(this.#facts),
      commands: commands.describe(),
      ...(this.#stopTimeoutMs === undefined ? {} : { stop_timeout_ms: this.#stopTimeoutMs }),
      ...(this.#telemetry.size > 0 ? { telemetry: Object.fromEntries(this.#telemetry) } : {}),
      ...(this.#config ? { config: this.#config } : {}),
    };
    publish(JSON.stringify(description));
  }
}

/** `null` takes out, `undefined` changes nothing. */
function set<T>(map: Map<string, T>, key: string, value: T | null | undefined): void {
  if (value === null) map.delete(key);
  else if (value !== undefined) map.set(key, value);
}
