import { configDefaults, defineConfig } from "vitest/config";
import preset from "./vitest.mjs";

const HOUSE = new URL("./worker-host/", import.meta.url).pathname;

/**
 * What depends on the broker, and so runs on each of them: connections, sessions, retained messages, access. All else
 * knows no broker, or would do the same once more. A test that asks which broker it has is of these; `house.test.ts`
 * holds them to it.
 */
export const ON_EACH_BROKER = [
  ...["access", "all-stop", "at-most-once", "board", "board-rename", "claim", "commands", "connections"],
  ...["doctor-broker", "home-assistant", "hostile-commands", "mosquitto-conf", "node-red-flow", "nobody-there"],
  ...["packet-limit", "python-availability", "readme", "reconnect", "reload", "roll-call"],
  ...["subscriptions", "worker", "worker/store"],
].map((name) => `test/${name}.test.ts`);

export default defineConfig({
  plugins: preset.plugins,
  resolve: {
    alias: [
      { find: /^worker-host$/, replacement: `${HOUSE}index.ts` },
      { find: /^worker-host\/testing$/, replacement: `${HOUSE}testing.ts` },
      { find: /^worker-host\/contract\//, replacement: `${HOUSE}contract/` },
    ],
  },
  test: {
    include:
      process.env.TEST_BROKER === "mosquitto"
        ? ON_EACH_BROKER
        : ["test/**/*.test.ts", "{props,templates}/*/backend/*.test.ts"],
    exclude: [...configDefaults.exclude, "test/faults/**", "test/firmware/**", "test/install/**", "test/browser/**"],
    setupFiles: [new URL("./test/harness/properties.ts", import.meta.url).pathname],
    pool: "forks",
    // The modules of a file serve the next one too: no test mocks any, and each starts what it needs for itself.
    isolate: false,
    // On two cores: they wait for a third of their time.
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
