import { defineConfig } from "vitest/config";
import main from "./vitest.config.ts";

/** What is done to a running host on purpose: minutes of hanging, flooding and killing. */
export default defineConfig({
  ...main,
  test: { ...main.test, include: ["test/faults/*.test.ts"], exclude: [], testTimeout: 60_000 },
});
