import { defineConfig } from "vitest/config";
import main from "./vitest.config.ts";

/** What is done to a running host on purpose: minutes of hanging, flooding and killing. */
export default defineConfig({
  ...main,
  // One at a time: what hangs takes a core.
  test: { ...main.test, fileParallelism: false, include: ["test/faults/*.test.ts"], exclude: [], testTimeout: 60_000 },
});
