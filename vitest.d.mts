import type { Plugin, ViteUserConfig } from "vitest/config";

/** Compiles what workers are written in, and finds the tests beside them. */
declare const preset: ViteUserConfig & { plugins: Plugin[] };
export default preset;
