import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The folder of this package, from its own name: the code that asks may have been bundled into any file of `dist/`. */
const ROOT = dirname(createRequire(import.meta.url).resolve("worker-host/package.json"));

/** The absolute path of a file or folder of this package, such as `dist/index.js`. */
export function packageFile(path: string): string {
  return join(ROOT, path);
}
