import { defineConfig } from "vitest/config";
import main from "./vitest.config.ts";

/** The page, in a real browser: a Chromium and a host for each test, one after the other. */
export default defineConfig({
  ...main,
  test: {
    ...main.test,
    include: ["test/browser/*.test.ts"],
    exclude: [],
    maxWorkers: 1,
    testTimeout: 60_000,
  },
});
