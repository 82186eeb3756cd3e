// Builds dist/: what is published and run, one file for each way in with what they share beside them, and the types.
// Modules and packages are bundled, since finding and reading some 700 files is half of a start. None is
// done where no source has changed.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const ROOT = dirname(fileURLToPath(import.meta.url));
const DIST = join(ROOT, "dist");
/** What was built, and of what. */
const STAMP = join(ROOT, "node_modules/.cache/worker-host-build.json");
/** What else the result depends on. */
const BESIDE = ["build.mjs", "globals.mjs", "package-lock.json", "tsconfig.json", "tsconfig.build.json"];

/** What can't be bundled: a program, and a package that has one. */
const LEFT_OUT = ["esbuild", "typescript"];

/** Changes with every file of the sources that is changed, added, removed or restored. */
function signature() {
  const sources = readdirSync(join(ROOT, "worker-host"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join("worker-host", name));
  const hash = createHash("sha256");
  for (const path of [...sources.sort(), ...BESIDE]) hash.update(path).update(readFileSync(join(ROOT, path)));
  return hash.digest("hex");
}

/** Whether what the last build wrote is there, and of these sources. */
function isBuilt(/** @type {string} */ of) {
  if (!existsSync(STAMP)) return false;
  const last = JSON.parse(readFileSync(STAMP, "utf8"));
  return last.of === of && last.files.every((/** @type {string} */ name) => existsSync(join(DIST, name)));
}

async function bundle() {
  const { metafile } = await esbuild.build({
    absWorkingDir: ROOT,
    entryPoints: {
      cli: "worker-host/cli.ts",
      index: "worker-host/index.ts",
      testing: "worker-host/testing.ts",
      runner: "worker-host/worker/runner.ts",
      "config-thread": "worker-host/host/config/config-thread-main.ts",
    },
    outdir: "dist",
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node20.19",
    // Names of classes and functions are shown to people.
    keepNames: true,
    external: LEFT_OUT,
    // What is ours, packages and all, goes on where a worker replaces these for the process that it shares.
    inject: [join(ROOT, "globals.mjs")],
    define: {
      "Date.now": "kept_Date_now",
      "JSON.parse": "kept_JSON_parse",
      "JSON.stringify": "kept_JSON_stringify",
      "process.nextTick": "kept_process_nextTick",
    },
    // For what CommonJS packages require of Node.
    banner: {
      js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
    },
    metafile: true,
    logLevel: "warning",
  });
  writeFileSync(join(DIST, "licenses.txt"), licensesOf(Object.keys(metafile.inputs)));
  return [...Object.keys(metafile.outputs).map((path) => path.replace(/^dist\//, "")), "licenses.txt"];
}

/** What the licenses of the bundled packages want to be kept beside their code. */
function licensesOf(/** @type {string[]} */ inputs) {
  const folders = new Set(inputs.flatMap((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []));
  return [...folders]
    .sort()
    .map((folder) => {
      const { name, version, license } = JSON.parse(readFileSync(join(ROOT, folder, "package.json"), "utf8"));
      const file = readdirSync(join(ROOT, folder)).find((each) => /^licen[cs]e/i.test(each));
      const text = file === undefined ? "" : `\n\n${readFileSync(join(ROOT, folder, file), "utf8").trim()}`;
      return `${name} ${version} (${license})${text}\n`;
    })
    .join(`\n${"-".repeat(80)}\n\n`);
}

/** Checks the sources, and writes the types that editors and `check` read. */
function declare() {
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
  execFileSync(process.execPath, [tsc, "-p", join(ROOT, "tsconfig.build.json")], { stdio: "inherit" });
}

const of = signature();
if (!isBuilt(of)) {
  rmSync(STAMP, { force: true });
  try {
    declare();
  } catch {
    // It has said what is wrong.
    process.exit(1);
  }
  const files = await bundle();
  // What an earlier build wrote, and this one didn't.
  for (const name of readdirSync(DIST)) {
    if (/\.js(\.map)?$/.test(name) && statSync(join(DIST, name)).isFile() && !files.includes(name))
      rmSync(join(DIST, name));
  }
  mkdirSync(dirname(STAMP), { recursive: true });
  writeFileSync(STAMP, JSON.stringify({ of, files }));
}
