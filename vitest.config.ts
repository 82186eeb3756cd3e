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

/** Suites that know no broker, or only the embedded one: on mosquitto they would do the same once more. */
const WITHOUT_A_BROKER = [
  ...["bench", "bus-line", "check", "config-file", "config-properties", "docs", "firmware-docs"],
  ...["home-assistant-properties", "house", "log-tail", "new", "package", "runner-slot", "service"],
  ...["settings-properties", "soak"],
  ...["contract/*", "worker/loop", "worker/scope"],
].map((name) => `test/${name}.test.ts`);

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
    exclude: [
      ...[...configDefaults.exclude, "test/faults/**", "test/firmware/**"],
      ...(process.env.TEST_BROKER === "mosquitto" ? WITHOUT_A_BROKER : []),
    ],
    setupFiles: [new URL("./test/harness/properties.ts", import.meta.url).pathname],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
