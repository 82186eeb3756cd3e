import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { jsonIn } from "../contract/payload.ts";

/** What the name of a file that is being written ends with. */
const TEMPORARY = ".tmp";

/**
 * Writes a file so that it is, at any moment, the old one or the new one, and the new one once this fulfils, even after
 * a power cut: to a hidden file beside it, which then takes its name. Not with write-file-atomic: that leaves the folder
 * unsynced, takes a half-written file on a full disk for whole, and hooks into the process's signals.
 *
 * @param prepare gives it the owner and the mode that it is to have; until then it is its writer's alone
 * @param isWanted asked last of all: where it says no, or throws, the old file stays
 * @returns whether the new file has taken the name
 */
export async function writeDurably(
  path: string,
  text: string | Uint8Array,
  prepare?: (file: FileHandle) => Promise<void>,
  isWanted: () => boolean | Promise<boolean> = () => true,
): Promise<boolean> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}${TEMPORARY}`);
  try {
    const file = await open(temporary, "wx", prepare ? 0o600 : 0o666);
    try {
      await file.writeFile(text);
      await prepare?.(file);
      await file.sync();
    } finally {
      await file.close();
    }
    if (!(await isWanted())) {
      await rm(temporary, { force: true });
      return false;
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
  return true;
}

/** Whether `name` is that of a file that somebody began to write as `path`, and never ended. */
export function isLeftOver(name: string, path: string): boolean {
  return name.startsWith(`.${basename(path)}.`) && name.endsWith(TEMPORARY);
}

/** What reading something on disk gives; `undefined` where it isn't there. */
export async function unlessMissing<Found>(reading: Promise<Found>): Promise<Found | undefined> {
  try {
    return await reading;
  } catch (error) {
    // Where the folder is a file, there is nothing in it either.
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

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
