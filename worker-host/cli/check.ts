import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { type Clock, within } from "../base/clock.ts";
import { silentLog } from "../base/log.ts";
import { packageFile, pathFrom } from "../base/paths.ts";
import { messageOf, WorkerHostError } from "../contract/errors.ts";
import { defined } from "../contract/payload.ts";
import { type Bundle, Bundler } from "../host/plan/bundle.ts";
import { noneOfThem, type Planned, readPlan, specOf } from "../host/plan/plan.ts";
import { RunnerSlot } from "../host/runners/runner-slot.ts";
import type { Settings } from "../host/settings/settings.ts";
import { environmentFor } from "../host/settings/settings-table.ts";
import { LOAD_MS } from "../worker/limits.ts";

interface CheckOptions {
  /** Only these; where there are none, that of the prop in whose folder one is, or all. */
  ids: readonly string[];
  cwd: string;
  env: Readonly<Record<string, string | undefined>>;
  clock: Clock;
}

interface CheckOutcome {
  ok: boolean;
  /** A line for each worker. */
  lines: string[];
  /** What is wrong, or may be. */
  notes: string[];
}

/** What was found wrong with one worker. */
interface CheckedWorker {
  planned: Planned;
  bundle?: Bundle;
  faults: string[];
  warnings: string[];
}

/** `props/fogger/backend/worker.ts(3,7): error TS2322: …` */
const TYPE_ERROR = /^(.+?)\((\d+),(\d+)\): error (TS\d+: .*)$/;

/**
 * Looks for mistakes in workers without starting them: in what they are called, their configs, their code and its types.
 * Their files are loaded, in a process apart.
 *
 * @throws WorkerHostError `invalid_settings` where there is no worker of an id
 */
export async function check(settings: Settings, options: CheckOptions): Promise<CheckOutcome> {
  const { ids, cwd, env } = options;
  const show = pathFrom(cwd);
  const { workers, warnings } = await readPlan({ ...settings, env, show });
  const here = ids.length === 0 ? propAt(cwd, settings.props) : [];
  const wanted = [...ids, ...here];
  const chosen = wanted.length === 0 ? workers : wanted.map((id) => find(workers, id));
  const scratch = await mkdtemp(join(tmpdir(), "worker-host-check-")).catch((cause: unknown) => {
    const text = `nothing can be written to ${tmpdir()} (${messageOf(cause)}): set TMPDIR to a folder that can be`;
    throw new WorkerHostError("not_written", text, { cause });
  });
  try {
    const checked = chosen.map(begin);
    const running = checked.filter(({ planned, faults }) => planned.skipped === undefined && faults.length === 0);
    await build(running, new Bundler(scratch, show, options.clock));
    const tsc = compiler();
    const elsewhere = tsc === undefined ? [] : await checkTypes(running, tsc, settings, scratch, show);
    await load(running, settings, options, scratch, show);
    const untyped =
      tsc === undefined ? [`types are not checked: that needs "${INSTALL_TYPES}" beside worker-host`] : [];
    return report(checked, elsewhere, [...warnings, ...untyped]);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The id of the prop in whose folder one is. */
function propAt(cwd: string, props: string): string[] {
  const [id = ""] = relative(props, cwd).split(sep);
  return id === "" || id === ".." || isAbsolute(id) ? [] : [id];
}

function find(workers: Planned[], id: string): Planned {
  const found = workers.find((planned) => planned.id === id);
  if (found) return found;
  throw new WorkerHostError("invalid_settings", noneOfThem(id, workers));
}

function begin(planned: Planned): CheckedWorker {
  const faults = [planned.fault, planned.unreadable].filter((fault) => fault !== undefined);
  return { planned, faults, warnings: planned.skipped === undefined ? [...planned.warnings] : [] };
}

async function build(workers: CheckedWorker[], bundler: Bundler): Promise<void> {
  await Promise.all(
    workers.map(async (worker) => {
      try {
        worker.bundle = await bundler.bundle(worker.planned.id, worker.planned.file);
      } catch (error) {
        if (!(error instanceof WorkerHostError)) throw error;
        worker.faults.push(error.message);
      }
    }),
  );
  await bundler.rest();
}

/** Gives the errors that belong to no worker. */
async function checkTypes(
  workers: CheckedWorker[],
  tsc: string,
  { props }: Settings,
  scratch: string,
  show: (path: string) => string,
): Promise<string[]> {
  // The types of what comes along were checked where that is made; what they need isn't installed everywhere.
  const isShipped = (file: string) => dirname(file) === packageFile("builtin-workers");
  const built = workers.filter(({ bundle, planned: { file } }) => bundle && /\.m?ts$/.test(file) && !isShipped(file));
  if (built.length === 0) return [];
  const config = join(scratch, "tsconfig.json");
  await writeFile(config, JSON.stringify(tsconfigFor(built, props)));
  const elsewhere: string[] = [];
  for (const line of (await runCompiler(tsc, config, scratch)).split("\n")) {
    const [, path = "", row, column, text] = TYPE_ERROR.exec(line) ?? [];
    if (text === undefined) {
      if (/^error /.test(line)) elsewhere.push(line);
      continue;
    }
    const file = resolve(scratch, path);
    const fault = `${show(file)}:${row}:${column}: ${text}`;
    const owners = built.filter(({ bundle }) => bundle?.inputs.includes(file));
    // A package without types runs all the same.
    const isUntyped = text.startsWith("TS7016:");
    for (const { faults, warnings } of owners) (isUntyped ? warnings : faults).push(fault);
    if (owners.length === 0) elsewhere.push(fault);
  }
  return elsewhere;
}

/** The settings of the author's own editor, where they have some, so that it and this agree. */
function tsconfigFor(workers: CheckedWorker[], props: string): Record<string, unknown> {
  const own = nearest(props);
  const { paths, typeRoots, ...others } = installedTypes();
  return {
    ...defined({ extends: own }),
    compilerOptions: {
      ...(own === undefined ? others : {}),
      ...(isInstalledFor(props) ? {} : { paths }),
      // They would be looked for beside this file.
      typeRoots: [join(dirname(own ?? props), "node_modules", "@types"), ...typeRoots],
      // As the host builds them, whatever the author's other code needs.
      experimentalDecorators: false,
      emitDecoratorMetadata: false,
      noEmit: true,
      composite: false,
      incremental: false,
      skipLibCheck: true,
    },
    // Types that stand beside a worker, of packages that have none.
    include: workers.map(({ planned }) => join(dirname(planned.file), "**/*.d.ts")),
    files: workers.map(({ planned }) => planned.file),
  };
}

function nearest(folder: string): string | undefined {
  const path = join(folder, "tsconfig.json");
  if (existsSync(path)) return path;
  return dirname(folder) === folder ? undefined : nearest(dirname(folder));
}

function runCompiler(tsc: string, config: string, cwd: string): Promise<string> {
  return new Promise((done, fail) => {
    const args = [tsc, "-p", config, "--pretty", "false"];
    execFile(process.execPath, args, { cwd, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      // It exits with 1 or 2 where it found something.
      if (error && typeof error.code !== "number") fail(error);
      else done(`${stdout}\n${stderr}`);
    });
  });
}

async function load(
  workers: CheckedWorker[],
  { data }: Settings,
  { clock, env }: CheckOptions,
  scratch: string,
  show: (path: string) => string,
): Promise<void> {
  let count = 0;
  const open = () =>
    new RunnerSlot({
      log: silentLog(),
      clock,
      env: environmentFor(env),
      show,
      blackBox: () => join(scratch, `process-${count++}.last`),
      seen: new Map(),
      onState: () => {},
      onDied: () => {},
      warn: () => {},
    });
  let slot = open();
  // One after the other, so that it is known who hangs.
  for (const { planned, bundle, faults, warnings } of workers) {
    if (!bundle) continue;
    const outcome = await within(clock, LOAD_MS, slot.inspect(specOf(planned, bundle, { data, show })));
    if (outcome) {
      warnings.push(...outcome.value.warnings);
      if (outcome.value.fault !== undefined) faults.push(outcome.value.fault);
    } else {
      faults.push(`${show(planned.file)}: its top-level code has not ended in ${LOAD_MS / 1000} s`);
      slot.kill();
      slot = open();
    }
  }
  await slot.close();
}

function report(checked: CheckedWorker[], elsewhere: string[], general: string[]): CheckOutcome {
  const lines = checked.map(({ planned: { id, skipped }, faults }) =>
    skipped !== undefined ? `skipped ${id}: ${skipped}` : faults.length > 0 ? `failed  ${id}` : `ok      ${id}`,
  );
  const notes = checked.flatMap(({ planned, faults, warnings }) => [
    ...(planned.skipped === undefined ? faults.flatMap((fault) => fault.split("\n")) : []),
    ...warnings.map((text) => `warning: ${text}`),
  ]);
  const ok = elsewhere.length === 0 && !lines.some((line) => line.startsWith("failed"));
  return { ok, lines, notes: [...new Set([...elsewhere, ...notes, ...general.map((text) => `warning: ${text}`)])] };
}

const HERE = createRequire(import.meta.url);

/** Options of TypeScript's compiler. */
interface InstalledTypes extends Record<string, unknown> {
  paths: Record<string, string[]>;
  typeRoots: string[];
}

/** What to say where the compiler or Node's types are not installed: most installations run props, and write none. */
export const INSTALL_TYPES = "npm install --save-dev typescript @types/node";

/** What TypeScript has to know to find the types of this installation, from wherever a prop is. */
export function installedTypes(): InstalledTypes {
  const types = (name: string) => packageFile(`dist/${name}.d.ts`);
  return {
    target: "es2023",
    module: "nodenext",
    lib: ["es2023"],
    strict: true,
    noUncheckedIndexedAccess: true,
    noImplicitOverride: true,
    skipLibCheck: true,
    isolatedModules: true,
    allowImportingTsExtensions: true,
    resolveJsonModule: true,
    noEmit: true,
    types: ["node"],
    typeRoots: [folderOf("@types/node")].flatMap((folder) => (folder === undefined ? [] : [dirname(folder)])),
    paths: { "worker-host": [types("index")], "worker-host/testing": [types("testing")] },
  };
}

/** TypeScript's compiler, as a file that Node runs; `undefined` where it, or Node's types, are not installed. */
export function compiler(): string | undefined {
  const folder = folderOf("typescript");
  return folder === undefined || folderOf("@types/node") === undefined ? undefined : join(folder, "bin", "tsc");
}

/** Whether an editor finds worker-host by itself: it is installed there, or this is its own repository. */
export function isInstalledFor(props: string): boolean {
  return folderOf("worker-host", createRequire(join(props, "x.js"))) !== undefined;
}

/** The folder of a package; `undefined` where it is not installed. */
function folderOf(name: string, from: NodeJS.Require = HERE): string | undefined {
  try {
    return dirname(from.resolve(`${name}/package.json`));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}
