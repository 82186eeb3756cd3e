import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { readJsonFile, writeJsonFile } from "../../base/durable-file.ts";
import { describeError } from "../../contract/errors.ts";

/** Under what this machine has told Home Assistant of devices. */
export interface Trace {
  /** Of its discovery. */
  discovery: string;
  /** Of our own topics. */
  prefix: string;
  /** The host's name. */
  name: string;
}

/** Its file, in the folder for what outlives a restart. */
export function trailFile({ data }: { data: string }): string {
  return join(data, "home_assistant.json");
}

/** Remembers that on disk, so that it can be taken back when the settings say otherwise. */
export class Trail {
  constructor(
    private readonly file: string,
    private readonly log: Logger,
  ) {}

  async read(): Promise<Trace[]> {
    try {
      return (await readJsonFile(this.file, parseTraces)) ?? [];
    } catch (error) {
      this.log.error(
        `${this.file} can't be read (${describeError(error)}): what an earlier start told Home Assistant stays there`,
      );
      return [];
    }
  }

  async write(traces: readonly Trace[]): Promise<void> {
    if (traces.length > 0) await writeJsonFile(this.file, { traces });
    else await rm(this.file, { force: true });
  }
}

export function isSame(one: Trace, other: Trace): boolean {
  return one.discovery === other.discovery && one.prefix === other.prefix && one.name === other.name;
}

function parseTraces(value: unknown): Trace[] {
  const { traces } = (value ?? {}) as { traces?: unknown };
  if (!Array.isArray(traces) || !traces.every(isTrace)) throw new Error("it is not what the host wrote");
  return traces;
}

function isTrace(value: unknown): value is Trace {
  const { discovery, prefix, name } = (value ?? {}) as Partial<Record<string, unknown>>;
  return [discovery, prefix, name].every((part) => typeof part === "string");
}
