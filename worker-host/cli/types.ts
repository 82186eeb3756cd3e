import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { packageFile } from "../base/package-file.ts";

const HERE = createRequire(import.meta.url);

/** Options of TypeScript's compiler. */
interface InstalledTypes extends Record<string, unknown> {
  paths: Record<string, string[]>;
  typeRoots: string[];
}

/** What to say where the compiler or Node's types are not installed: most installations run props, and write none. */
export const INSTALL_TYPES = "npm install --save-dev typescript @types/node";

/** What TypeScript has to know to find the types of this installation, from wherever a prop is. */
export function installedTypes(): InstalledTypes {
  const types = (name: string) => packageFile(`dist/${name}.d.ts`);
  return {
    target: "es2023",
    module: "nodenext",
    lib: ["es2023"],
    strict: true,
    noUncheckedIndexedAccess: true,
    noImplicitOverride: true,
    skipLibCheck: true,
    isolatedModules: true,
    allowImportingTsExtensions: true,
    resolveJsonModule: true,
    noEmit: true,
    types: ["node"],
    typeRoots: [folderOf("@types/node")].flatMap((folder) => (folder === undefined ? [] : [dirname(folder)])),
    paths: { "worker-host": [types("index")], "worker-host/testing": [types("testing")] },
  };
}

/** TypeScript's compiler, as a file that Node runs; `undefined` where it, or Node's types, are not installed. */
export function compiler(): string | undefined {
  const folder = folderOf("typescript");
  return folder === undefined || folderOf("@types/node") === undefined ? undefined : join(folder, "bin", "tsc");
}

/** Whether an editor finds worker-host by itself: it is installed there, or this is its own repository. */
export function isInstalledFor(props: string): boolean {
  return folderOf("worker-host", createRequire(join(props, "x.js"))) !== undefined;
}

/** The folder of a package; `undefined` where it is not installed. */
function folderOf(name: string, from: NodeJS.Require = HERE): string | undefined {
  try {
    return dirname(from.resolve(`${name}/package.json`));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}
