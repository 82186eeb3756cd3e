import { constants, type Stats } from "node:fs";
import { access, type FileHandle, lstat, readFile, readlink, realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { isNode } from "yaml";
import { unlessMissing, writeDurably } from "../../base/durable-file.ts";
import { WorkerHostError } from "../../contract/errors.ts";
import { MOST_JSON_LEVELS } from "../../contract/limits.ts";
import { isDeeperThan } from "../../contract/payload.ts";
import { MAX_CONFIG_BYTES } from "../limits.ts";
import { parseConfigText, tooLong, type Values } from "./config-file.ts";
import { meaningOf, rewriteText } from "./config-text.ts";
import { readYaml } from "./config-yaml.ts";

/** Where a worker's config stands. */
export interface ConfigPlace {
  /** The file, absolute; it need not exist yet. */
  path: string;
  /** The keys from the root of the file to the config: none for a file of its own. */
  at: readonly string[];
}

const MEND = "mend it by hand first";

/** No config of a person's is this deep; one that contains itself is. */
const DEEPEST = 64;

/**
 * Reads a config file to edit it; one that isn't there yet is empty.
 *
 * @param name how the file is shown to people
 * @throws WorkerHostError `invalid_config` where it can't be read as UTF-8
 */
export async function readConfigText(path: string, name: string): Promise<string> {
  try {
    if ((await unlessMissing(stat(path)))?.isFile() === false) throw new Error("it is no file");
    const bytes = await unlessMissing(readFile(path));
    // A letter that can't be decoded would be written back as another.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    const fault = codeOf(cause) === "ERR_ENCODING_INVALID_ENCODED_DATA" ? "not in UTF-8" : (cause as Error).message;
    throw refused(`${name}: can't be read (${fault}): ${MEND}`, cause);
  }
}

/**
 * The text of a config file with a patch merged in, as JSON Merge Patch has it (RFC 7396): `null` removes a key, maps
 * merge, all else replaces. What the patch doesn't touch stays as it is, with comments, order, quotes and blank lines.
 *
 * @param name how the file is shown to people; `.json` at its end tells JSON from YAML
 * @param text `""` for a file that isn't there yet
 * @param at the keys from the root to what is patched; those that aren't there are added
 * @throws WorkerHostError `invalid_value` for a patch that JSON can't carry; `invalid_config`, with line and column, for
 *   a text with a fault, or without keys and values at `at`, or written in a way that can't be edited; and for YAML's
 *   merge key `<<` in the patch
 */
export function editConfigText(name: string, text: string, at: readonly string[], patch: Values): string {
  const { fault } = parseConfigText(name, text, {});
  if (fault !== undefined) throw refused(`${fault}: ${MEND}`);
  const json = name.endsWith(".json");
  const [mark, source] = text.startsWith("\uFEFF") ? ["\uFEFF", text.slice(1)] : ["", text];
  const root = meaningOf(source, json) as Values;
  const old = valuesAt(root, at, name, source);
  const given = carried(patch, name, []) as Values;
  const letters = text.length + JSON.stringify(given).length;
  if (letters > MAX_CONFIG_BYTES) throw refused(`${tooLong(name, letters)}, with what is to be written`);
  const merged = mergePatch(old, given);
  if (isDeepStrictEqual(old, merged)) return text;
  const next = withValuesAt(root, at, merged);
  const edited = rewritten(source, json, next);
  if (edited === undefined) throw unwritable(name, Object.keys(patch).join(", "));
  return mark + edited;
}

/** The text with other values; `undefined` where it wouldn't say them. */
function rewritten(source: string, json: boolean, next: Values): string | undefined {
  try {
    if (isDeeperThan(next, MOST_JSON_LEVELS)) return undefined;
    const { text, meaning } = rewriteText(source, json, next);
    return isDeepStrictEqual(meaning, next) ? text : undefined;
  } catch (error) {
    // What the package reads, such as an anchor with a control character, it doesn't always write. A TypeError is a bug.
    if (error instanceof Error && !(error instanceof TypeError)) return undefined;
    throw error;
  }
}

/** RFC 7396, section 2. A key such as `__proto__` is one like any other. */
function mergePatch(old: unknown, patch: Values): Values {
  const merged = new Map(isValues(old) ? Object.entries(old) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, isValues(value) ? mergePatch(merged.get(key), value) : value);
  }
  return Object.fromEntries(merged);
}

/** The values at `at`; `{}` where nothing is. */
function valuesAt(root: unknown, at: readonly string[], name: string, source: string): Values {
  let found: unknown = root;
  for (let depth = 0; ; depth++) {
    if (!isValues(found)) {
      const { document, place } = readYaml(source, name.endsWith(".json"));
      const node = document?.getIn(at.slice(0, depth), true);
      const start = place(isNode(node) ? (node.range?.[0] ?? 0) : 0);
      const what = Array.isArray(found) ? "a list" : `a ${typeof found}`;
      const key = at.slice(0, depth).join(".");
      throw refused(`${name}:${start}: ${key}: expected keys and values, got ${what}: ${MEND}`);
    }
    const key = at[depth];
    if (key === undefined) return found;
    found = (Object.hasOwn(found, key) ? found[key] : undefined) ?? {};
  }
}

function withValuesAt(root: Values, at: readonly string[], values: Values): Values {
  const [key, ...inner] = at;
  if (key === undefined) return values;
  const all = new Map(Object.entries(root));
  const old = all.get(key);
  return Object.fromEntries(all.set(key, withValuesAt(isValues(old) ? old : {}, inner, values)));
}

/** A copy of a patch's value. Throws for what JSON can't carry. */
function carried(value: unknown, name: string, at: readonly (string | number)[]): unknown {
  const refuse = (what: string) => {
    const key = at.slice(0, 8).join(".");
    return new WorkerHostError(
      "invalid_value",
      `${name}: ${key}: ${what} can't be written to a config: give what JSON has`,
    );
  };
  if (at.length > DEEPEST) throw refuse(`what is more than ${DEEPEST} levels deep`);
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  // -0 becomes 0, as in JSON.
  if (typeof value === "number" && Number.isFinite(value)) return value + 0;
  // Not map(), which passes over holes.
  if (Array.isArray(value)) return Array.from(value, (item, index) => carried(item, name, [...at, index]));
  if (!isValues(value)) throw refuse(typeof value === "object" ? value.constructor.name : String(value));
  // In YAML it would bring in what is in its value, as often as it is written.
  if (Object.hasOwn(value, "<<") && !name.endsWith(".json")) throw unwritable(name, [...at, "<<"].join("."));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, carried(item, name, [...at, key])]));
}

/**
 * Writes a config file so that it is, at any moment, the old one or the new one: to a hidden file in its folder, which
 * then takes its name. The file keeps its mode and owner, and a symbolic link stays one.
 *
 * @param name how the file is shown to people
 * @param before what `text` was made from, where the file is to say that still
 * @returns false where the file says something else by now: then it stays as it is
 * @throws WorkerHostError `not_written` where that can't be done: a folder or file that can't be written, a full disk
 */
export async function writeConfigFile(path: string, name: string, text: string, before?: string): Promise<boolean> {
  const isWanted = async () => before === undefined || (await readConfigText(path, name)) === before;
  try {
    const target = await targetOf(path);
    const old = await unlessMissing(stat(target));
    // A rename would replace a file that isn't to be written.
    if (old) await access(target, constants.W_OK);
    return await writeDurably(target, text, old && ((file) => keepRights(file, old)), isWanted);
  } catch (cause) {
    const { message } = cause as Error;
    throw new WorkerHostError(
      "not_written",
      `${name}: can't be written (${message}): see to the rights and the space of its folder`,
      { cause },
    );
  }
}

async function keepRights(file: FileHandle, { uid, gid, mode }: Stats): Promise<void> {
  try {
    await file.chown(uid, gid);
  } catch (error) {
    // Only root may give files away; what is written then is ours.
    if (codeOf(error) !== "EPERM") throw error;
  }
  await file.chmod(mode & 0o777);
}

/** The file that a path means, through symbolic links, also where it isn't there yet. */
async function targetOf(path: string): Promise<string> {
  if ((await unlessMissing(lstat(path)))?.isSymbolicLink() !== true) return path;
  const target = await unlessMissing(realpath(path));
  return target ?? targetOf(resolve(dirname(path), await readlink(path)));
}

function unwritable(name: string, keys: string): WorkerHostError {
  return refused(`${name}: is written in a way in which ${keys} can't be changed: do it by hand`);
}

function refused(message: string, cause?: unknown): WorkerHostError {
  return new WorkerHostError("invalid_config", message, cause === undefined ? {} : { cause });
}

function codeOf(error: unknown): unknown {
  return (error as NodeJS.ErrnoException).code;
}

/** A map as both parsers give it. */
function isValues(value: unknown): value is Values {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
