import { defineConfig } from "vitest/config";
import main from "./vitest.config.ts";

/** What is published and what Docker builds, installed as their users would: minutes of npm. */
export default defineConfig({
  ...main,
  test: { ...main.test, include: ["test/install/*.test.ts"], exclude: [] },
});
