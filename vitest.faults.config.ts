import { defineConfig } from "vitest/config";
import main from "./vitest.config.ts";

/** What knows a broker; the others are about processes, and run on the embedded one alone. */
const ON_EACH_BROKER = ["all-stop", "flood", "power-cut"].map((name) => `test/faults/${name}.test.ts`);

/** What is done to a running host on purpose: minutes of hanging, flooding and killing. */
export default defineConfig({
  ...main,
  // One at a time: what hangs takes a core.
  test: {
    ...main.test,
    fileParallelism: false,
    include: process.env.TEST_BROKER === "mosquitto" ? ON_EACH_BROKER : ["test/faults/*.test.ts"],
    exclude: [],
    // A flood takes as long as the machine needs for it.
    testTimeout: 120_000,
  },
});
