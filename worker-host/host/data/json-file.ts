import { mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { writeDurably } from "../../base/durable-file.ts";
import { unlessMissing } from "../../base/unless-missing.ts";
import { jsonIn } from "../../contract/payload.ts";

/**
 * What a JSON file of the host's own holds, as `parse` takes it; `undefined` where there is none.
 *
 * @throws Error where it can't be read; whatever `parse` throws
 */
export async function readJsonFile<T>(file: string, parse: (value: unknown) => T): Promise<T | undefined> {
  const text = await unlessMissing(readFile(file, "utf8"));
  return text === undefined ? undefined : parse(jsonIn(text));
}

/**
 * Writes one so that it survives a power cut once this fulfils.
 *
 * @param isWanted as in `writeDurably`
 * @returns whether it was written
 */
export async function writeJsonFile(file: string, value: unknown, isWanted?: () => boolean): Promise<boolean> {
  await mkdir(dirname(file), { recursive: true });
  return writeDurably(file, `${JSON.stringify(value)}\n`, undefined, isWanted);
}
