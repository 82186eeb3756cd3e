import { defineConfig } from "vitest/config";
import main from "./vitest.config.ts";

/** What is published and what Docker builds, installed as their users would: minutes of npm. */
export default defineConfig({
  ...main,
  // npm, and thousands of files to remove.
  test: { ...main.test, include: ["test/install/*.test.ts"], exclude: [], hookTimeout: 300_000 },
});
