import { readFile } from "node:fs/promises";
import { transform } from "esbuild";
import { configDefaults, defineConfig, type Plugin } from "vitest/config";

const HOUSE = new URL("./worker-host/", import.meta.url).pathname;

/** Props are written with decorators, which vitest's own compiler passes on as they are, and Node doesn't know yet. */
const decorators: Plugin = {
  name: "decorators",
  enforce: "pre",
  async load(id) {
    const path = id.split("?")[0] ?? id;
    if (!/\/(props|builtin-workers)\/.*\.ts$/.test(path)) return undefined;
    const { code, map } = await transform(await readFile(path, "utf8"), {
      loader: "ts",
      target: "es2022",
      sourcefile: path,
      sourcemap: true,
    });
    return { code, map };
  },
};

export default defineConfig({
  plugins: [decorators],
  resolve: {
    alias: [
      { find: /^worker-host$/, replacement: `${HOUSE}index.ts` },
      { find: /^worker-host\/testing$/, replacement: `${HOUSE}testing.ts` },
    ],
  },
  test: {
    include: ["test/**/*.test.ts", "props/*/backend/*.test.ts"],
    exclude: [...configDefaults.exclude, "test/faults/**", "test/firmware/**"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
