// Builds dist/: what is published and run, bundled with the packages, since finding and reading some 700 files is half
// of a start; the types; and what V8 compiled of it, which is half of the rest. None is done where no source has changed.
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cachedDataVersionTag } from "node:v8";
import * as esbuild from "esbuild";

const ROOT = dirname(fileURLToPath(import.meta.url));
const DIST = join(ROOT, "dist");
/** What V8 compiled, by its version and flags. */
const COMPILED = join(DIST, "compiled");
/** What was built, and of what. */
const STAMP = join(ROOT, "node_modules/.cache/worker-host-build.json");
/** What else the result depends on. */
const BESIDE = [
  "build.mjs",
  "compiled.cjs",
  "globals.mjs",
  "package-lock.json",
  "tsconfig.json",
  "tsconfig.build.json",
];

/** What can't be bundled: a program, and a package that has one. */
const LEFT_OUT = ["esbuild", "typescript"];

/** The bundles, each with its ways in: that of the host and the command line, and that of the workers. */
const BUNDLES = {
  cli: { cli: "cli", configThread: "host/config/config-thread-main" },
  worker: { runner: "worker/runner", index: "index", testing: "testing" },
};
/** The ways in that authors import: modules, of what those export. */
const IMPORTED = ["index", "testing"];

/** Packages that few starts need, as files of their own. */
const APART = ["fastify", "@peculiar/x509", "prom-client", "pino-pretty", "uqr", "ws"];
/** mqtt.js looks for that function on the class; to those who import the package it is given beside it. */
const WS = `import WebSocket, { createWebSocketStream } from "ws";
export * from "ws";
export default Object.assign(WebSocket, { createWebSocketStream });`;
const fileOf = (/** @type {string} */ name) => `${name.replace(/^.*\//, "")}.cjs`;

/** Changes with every file of the sources that is changed, added, removed or restored. */
function signature() {
  const sources = ["worker-host", "dashboard"].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(tsx?|css|html|json|svg)$/.test(name))
      .map((name) => join(folder, name)),
  );
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

/** Requires the packages of `APART` as the files that they become. @type {esbuild.Plugin} */
const apart = {
  name: "apart",
  setup(build) {
    build.onResolve({ filter: /^[^.]/ }, ({ path }) =>
      APART.includes(path) ? { path: `./${fileOf(path)}`, external: true } : undefined,
    );
  },
};

async function bundle() {
  /** @type {esbuild.BuildOptions & { metafile: true }} */
  const common = {
    absWorkingDir: ROOT,
    bundle: true,
    platform: "node",
    // Loaded in half the time that modules take; and what V8 has compiled of a module can't be kept.
    format: "cjs",
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
      "import.meta.url": "__url",
    },
    banner: { js: 'const __url = require("node:url").pathToFileURL(__filename).href;' },
    metafile: true,
    logLevel: "warning",
  };
  const bundles = Object.entries(BUNDLES).map(([name, ways]) => {
    const contents = Object.entries(ways).map(([way, file]) => `exports.${way} = () => require("./${file}.ts");`);
    const stdin = { contents: contents.join("\n"), resolveDir: join(ROOT, "worker-host"), sourcefile: "ways-in.cjs" };
    return esbuild.build({ ...common, stdin, outfile: join(DIST, `${name}.cjs`), plugins: [apart] });
  });
  const packages = APART.map((name) => {
    const what = name === "ws" ? { stdin: { contents: WS, resolveDir: ROOT } } : { entryPoints: [name] };
    return esbuild.build({ ...common, ...what, outfile: join(DIST, fileOf(name)) });
  });
  const builds = await Promise.all([...bundles, ...packages, bundleContract(), bundlePage()]);
  for (const name of Object.keys(BUNDLES)) toAscii(join(DIST, `${name}.cjs`));
  const ways = createRequire(import.meta.url)("./worker-host/load.cjs").load("worker");
  for (const name of IMPORTED) writeFileSync(join(DIST, `${name}.js`), moduleOf(name, Object.keys(ways[name]())));
  writeFileSync(join(DIST, "licenses.txt"), licensesOf(builds.flatMap(({ metafile }) => Object.keys(metafile.inputs))));
  const names = [...Object.keys(BUNDLES).map((name) => `${name}.cjs`), ...APART.map(fileOf)];
  return [
    ...names,
    ...IMPORTED.map((name) => `${name}.js`),
    "dashboard/index.html",
    "dashboard/pair.html",
    "licenses.txt",
  ];
}

/** The contract by itself, for the shipped builtin workers, whose bundles take in what they need of it. */
function bundleContract() {
  return esbuild.build({
    absWorkingDir: ROOT,
    entryPoints: readdirSync(join(ROOT, "worker-host/contract")).map((name) => `worker-host/contract/${name}`),
    outdir: join(DIST, "contract"),
    bundle: true,
    platform: "neutral",
    format: "esm",
    target: "node20.19",
    metafile: true,
    logLevel: "warning",
  });
}

/**
 * The page, and the one that pairs a device: a script each, a style sheet and an icon, named for what is in them, and the
 * documents that name them.
 */
async function bundlePage() {
  rmSync(join(DIST, "dashboard"), { recursive: true, force: true });
  const { metafile } = await esbuild.build({
    absWorkingDir: ROOT,
    entryPoints: { page: "dashboard/main.tsx", pair: "dashboard/pair.ts", icon: "dashboard/icon.svg" },
    loader: { ".svg": "copy" },
    outdir: join(DIST, "dashboard"),
    entryNames: "[name]-[hash]",
    bundle: true,
    minify: true,
    platform: "browser",
    format: "esm",
    target: ["chrome109", "safari16", "firefox115"],
    tsconfig: "dashboard/tsconfig.json",
    metafile: true,
    logLevel: "warning",
  });
  const names = Object.keys(metafile.outputs).map((path) => path.replace("dist/dashboard/", ""));
  const named = (/** @type {RegExp} */ which) => names.find((name) => which.test(name)) ?? "";
  for (const document of ["index.html", "pair.html"]) {
    const html = readFileSync(join(ROOT, "dashboard", document), "utf8")
      .replace("page.css", named(/^page-.*\.css$/))
      .replace("main.tsx", named(/^page-.*\.js$/))
      .replace("pair.ts", named(/^pair-.*\.js$/))
      .replace("icon.svg", named(/\.svg$/));
    writeFileSync(join(DIST, "dashboard", document), html);
  }
  return { metafile };
}

/** Bundles are read as ASCII, which is quicker. esbuild writes nothing else, but in comments and regular expressions. */
function toAscii(/** @type {string} */ file) {
  const escaped = (/** @type {string} */ unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  writeFileSync(file, readFileSync(file, "utf8").replace(/[^\0-\x7f]/g, escaped));
}

/** A module that exports what a way in does. */
function moduleOf(/** @type {string} */ name, /** @type {string[]} */ exported) {
  return [
    'import { createRequire } from "node:module";',
    `const { load } = createRequire(import.meta.url)("../worker-host/load.cjs");`,
    `export const { ${exported.join(", ")} } = load("worker").${name}();\n`,
  ].join("\n");
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

/** Starts a host with one worker, and has what V8 compiles for them kept for all later starts. */
async function compile() {
  const folder = mkdtempSync(join(tmpdir(), "worker-host-build-"));
  const file = join(folder, "props/a/backend/worker.ts");
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, 'import { BaseWorker } from "worker-host";\nexport class Worker extends BaseWorker {}\n');
  const settings = /^(MQTT_|WORKER_|LOG_LEVEL|NODE_OPTIONS)/;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !settings.test(name)));
  env.NODE_OPTIONS = `--require=${JSON.stringify(join(ROOT, "compiled.cjs"))}`;
  const args = [join(ROOT, "worker-host/bin.cjs"), "--broker-port=0", `--builtins=${folder}`, "--only-own-builtins"];
  const host = spawn(process.execPath, args, { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => host.once("close", resolve));
  const tooLong = setTimeout(() => host.kill("SIGKILL"), 60_000);
  let said = "";
  await new Promise((resolve, reject) => {
    host.stdout.on("data", (data) => {
      said += data;
      if (said.includes('"running":1')) resolve(undefined);
      if (said.includes('"failed":1')) host.kill();
    });
    void ended.then(() => reject(new Error(`a host does not start:\n${said}`)));
  });
  const running = Date.now();
  // The host's, and its runner's.
  const kept = () => readdirSync(COMPILED).filter((name) => statSync(join(COMPILED, name)).mtimeMs > running + 1_000);
  while (kept().length < 2) await new Promise((resolve) => setTimeout(resolve, 100));
  host.kill("SIGINT");
  await ended;
  clearTimeout(tooLong);
  rmSync(folder, { recursive: true });
}

const of = signature();
if (!isBuilt(of)) {
  rmSync(STAMP, { force: true });
  rmSync(COMPILED, { recursive: true, force: true });
  try {
    declare();
  } catch {
    // It has said what is wrong.
    process.exit(1);
  }
  const files = await bundle();
  // What an earlier build wrote, and this one didn't.
  for (const name of readdirSync(DIST)) {
    if (/\.c?js(\.map)?$/.test(name) && statSync(join(DIST, name)).isFile() && !files.includes(name))
      rmSync(join(DIST, name));
  }
  mkdirSync(dirname(STAMP), { recursive: true });
  writeFileSync(STAMP, JSON.stringify({ of, files }));
}
if (!existsSync(join(COMPILED, `cli-${cachedDataVersionTag()}`))) await compile();
