// What tests of workers need of vitest: `export { default } from "worker-host/vitest"` as a haunt's vitest.config.ts.
import { readFile } from "node:fs/promises";
import { transform } from "esbuild";

/** Workers and tests are written with decorators, which vitest's own compiler passes on as they are, and Node doesn't know yet. */
const decorators = {
  name: "decorators",
  /** @type {"pre"} */
  enforce: "pre",
  async load(/** @type {string} */ id) {
    const path = id.split("?")[0] ?? id;
    if (!/\.m?ts$/.test(path) || path.includes("/node_modules/")) return undefined;
    const { code, map } = await transform(await readFile(path, "utf8"), {
      loader: "ts",
      target: "es2022",
      sourcefile: path,
      sourcemap: true,
    });
    return { code, map };
  },
};

export default { plugins: [decorators], test: { include: ["props/*/backend/**/*.test.ts"] } };
