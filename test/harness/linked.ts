import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { type Files, makeFolder } from "./folder.ts";
import { ROOT } from "./host.ts";

/** A folder in which worker-host, and what its tests need, are installed: by links, in no time. */
export function linkedFolder(files: Files = {}): string {
  const folder = makeFolder(files);
  mkdirSync(join(folder, "node_modules/@types"), { recursive: true });
  symlinkSync(ROOT, join(folder, "node_modules/worker-host"));
  for (const name of ["vitest", "typescript", "@types/node"])
    symlinkSync(join(ROOT, "node_modules", name), join(folder, "node_modules", name));
  return folder;
}
