import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { packageFile } from "../base/package-file.ts";

const HERE = createRequire(import.meta.url);

/** Options of TypeScript's compiler. */
interface InstalledTypes extends Record<string, unknown> {
  paths: Record<string, string[]>;
  typeRoots: string[];
}

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
    typeRoots: [join(dirname(HERE.resolve("@types/node/package.json")), "..")],
    paths: { "worker-host": [types("index")], "worker-host/testing": [types("testing")] },
  };
}

/** TypeScript's compiler, as a file that Node runs. */
export function compiler(): string {
  return join(dirname(HERE.resolve("typescript/package.json")), "bin", "tsc");
}

/** Whether an editor finds worker-host by itself: it is installed there, or this is its own repository. */
export function isInstalledFor(props: string): boolean {
  try {
    createRequire(join(props, "x.js")).resolve("worker-host/package.json");
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND") return false;
    throw error;
  }
}
