import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { "worker-host": new URL("./worker-host/index.ts", import.meta.url).pathname } },
  test: {
    include: ["test/**/*.test.ts", "props/*/backend/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
