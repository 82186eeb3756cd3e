import { defineConfig } from "vitest/config";
import main from "./vitest.config.ts";

/** The sketches, built for Linux; `npm run firmware:build` has built them before. */
export default defineConfig({
  ...main,
  // Boards wait, they don't compute: most files at once.
  test: { ...main.test, include: ["test/firmware/*.test.ts"], exclude: [], testTimeout: 60_000, maxWorkers: 8 },
});
