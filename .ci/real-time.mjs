// Runs a suite in which real time passes (processes that hang, boards that wait), as `vitest run` with the given
// arguments. A file that fails is run once more, alone: where it passes then, the machine was late, and that is printed
// and counted. What fails twice fails, and so does a CI run with three such files.
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";

const MOST_FLAKY = 2;
const args = process.argv.slice(2);
const scratch = mkdtempSync(join(tmpdir(), "real-time-"));
/** The flaky files of this CI run, a line each; `.ci/run` names the file. */
const flakyFile = process.env.FLAKY_FILES ?? join(scratch, "flaky");

/** The files that failed; nothing where that can't be told. */
function failuresOf(/** @type {string[]} */ files) {
  const report = join(scratch, `${files.length === 0 ? "all" : "again"}.json`);
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const { status } = spawnSync("node_modules/.bin/vitest", ["run", ...args, ...files, ...reporters], {
    stdio: "inherit",
  });
  if (status === 0) return [];
  if (!existsSync(report)) return undefined;
  const { testResults } = JSON.parse(readFileSync(report, "utf8"));
  const failed = testResults.filter((/** @type {{ status: string }} */ { status }) => status === "failed");
  return failed.length === 0 ? undefined : failed.map((/** @type {{ name: string }} */ { name }) => name);
}

const failed = failuresOf([]);
if (failed === undefined) process.exit(1);
for (const file of failed) {
  const again = failuresOf([file]);
  if (again === undefined || again.length > 0) process.exit(1);
  const name = relative(process.cwd(), file);
  console.log(`flaky: ${name}`);
  appendFileSync(flakyFile, `${name}\n`);
}
const flaky = existsSync(flakyFile) ? readFileSync(flakyFile, "utf8").trim().split("\n") : [];
if (flaky.length > MOST_FLAKY) {
  console.log(`${flaky.length} files are flaky: ${MOST_FLAKY} at most`);
  process.exit(1);
}
