import { spawnSync } from "node:child_process";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Files, makeFolder } from "./harness/folder.ts";
import { cleanEnvironment, ROOT } from "./harness/host.ts";

const PASSES = 'import { test } from "vitest";\ntest("passes", () => {});\n';
const FAILS = 'import { test } from "vitest";\ntest("fails", () => { throw new Error("always"); });\n';
/** Fails when it is run for the first time. */
const FAILS_ONCE = `import { existsSync, writeFileSync } from "node:fs";
import { test } from "vitest";
test("fails once", () => {
  if (existsSync("ran")) return;
  writeFileSync("ran", "");
  throw new Error("the first time");
});
`;

/** Runs a suite with these files as `.ci/run` does. */
function realTime(files: Files, flaky = "") {
  const folder = makeFolder({ ...files, "package.json": '{"type":"module"}', "flaky.txt": flaky });
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  const { status, stdout } = spawnSync(process.execPath, [join(ROOT, ".ci/real-time.mjs")], {
    cwd: folder,
    env: { ...cleanEnvironment(), FLAKY_FILES: join(folder, "flaky.txt") },
    encoding: "utf8",
  });
  return { status, lines: stdout.split("\n") };
}

test("a file of a real-time suite that passes alone, once it had failed, is told as flaky", () => {
  const { status, lines } = realTime({ "a.test.js": FAILS_ONCE, "b.test.js": PASSES });
  expect(lines).toContain("flaky: a.test.js");
  expect(status).toBe(0);
});

test("one that fails again fails the run", () => {
  const { status, lines } = realTime({ "a.test.js": FAILS, "b.test.js": PASSES });
  expect(lines.filter((line) => line.startsWith("flaky"))).toEqual([]);
  expect(status).toBe(1);
});

test("three flaky files in one run fail it", () => {
  const { status, lines } = realTime({ "a.test.js": FAILS_ONCE }, "x.test.ts\ny.test.ts\n");
  expect(lines).toContain("3 files are flaky: 2 at most");
  expect(status).toBe(1);
});
