import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";

/** The folder of this package, from its own name: the code that asks may have been bundled into any file of `dist/`. */
const ROOT = dirname(createRequire(import.meta.url).resolve("worker-host/package.json"));

/** The absolute path of a file or folder of this package, such as `dist/index.js`. */
export function packageFile(path: string): string {
  return join(ROOT, path);
}

/** How a path is shown: from `base` where it is inside, else whole. */
export function pathFrom(base: string): (path: string) => string {
  return (path) => {
    const short = relative(base, path);
    return short === "" || short.startsWith("..") ? path : short;
  };
}

/**
 * Reads a file of a person's. A folder, a pipe or a device is refused: to read a pipe could take for ever.
 *
 * @throws Error with a `code`, of the system: `ENOENT` where there is none, `EISDIR` where it is no file; `EFBIG` where
 *   it has more than `mostBytes`
 */
export function readRegularFile(path: string, mostBytes: number): Buffer {
  const stats = statSync(path);
  if (!stats.isFile()) throw Object.assign(new Error("it is no file"), { code: "EISDIR" });
  if (stats.size <= mostBytes) return readFileSync(path);
  throw Object.assign(new Error(`it has ${stats.size} bytes: expected ${mostBytes} at most`), { code: "EFBIG" });
}
