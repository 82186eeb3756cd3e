import { existsSync, readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { ON_EACH_BROKER } from "../vitest.config.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** A longer file than `MOST_LINES` gives its reason here. */
const LONGER: Record<string, string> = {};
const MOST_LINES = 450;

/** From the ground up: each may import of ours what is below it, or beside it. */
const FLOORS = ["contract", "base", "mqtt", "commands", "worker", "host", "testing", "cli"];

/** What stands at the top of `host/` beside its rooms. */
const HALL = ["host.ts", "limits.ts"];

interface Source {
  path: string;
  text: string;
  imports: string[];
}

function sourcesIn(folder: string): Source[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(tsx?|mts|js|mjs)$/.test(name) && !name.split("/").includes("node_modules"))
    .map((name) => {
      const path = join(folder, name);
      const text = readFileSync(join(ROOT, path), "utf8");
      return { path, text, imports: importsOf(text) };
    });
}

/** What a file imports, types included. The formatter puts each at the start of a line, and its source in quotes. */
function importsOf(text: string): string[] {
  const code = withoutComments(text);
  const patterns = [
    /^(?:import|export)\b[^;"'`]*?\bfrom\s+"([^"]+)"/gm,
    /^import\s+"([^"]+)"/gm,
    /\bimport\(\s*"([^"]+)"/g,
    /\brequire\(\s*"([^"]+)"/g,
  ];
  return patterns.flatMap((pattern) => [...code.matchAll(pattern)].map(([, source]) => source ?? ""));
}

function withoutComments(text: string): string {
  return text.replaceAll(/^\s*\/\*[\s\S]*?\*\/|(?<![:\\"'`])\/\/ .*$/gm, "");
}

/** Ours, by its path from the root; `undefined` for a package or one of Node's. */
function target({ path }: Source, source: string): string | undefined {
  return source.startsWith(".") ? normalize(join(dirname(path), source)) : undefined;
}

const HOUSE = sourcesIn("worker-host");
const PAGE = sourcesIn("dashboard");
const WORKERS = [...sourcesIn("builtin-workers"), ...sourcesIn("props")].filter(
  ({ path }) => !path.endsWith(".test.ts"),
);

/** The floor of a path in worker-host; the entries at its top are on one with what they bring to the world. */
function floorOf(path: string): number {
  const [, first = ""] = path.split("/");
  if (first === "cli.ts") return FLOORS.indexOf("cli");
  if (first === "index.ts") return FLOORS.indexOf("worker");
  if (first === "testing.ts") return FLOORS.indexOf("testing");
  const floor = FLOORS.indexOf(first);
  if (floor === -1) throw new Error(`${path} is on no floor: put it into ${FLOORS.join("/, ")}/`);
  return floor;
}

test("the parser of this file sees every way to import", () => {
  const text = [
    'import a from "a";',
    "import { type b,",
    "  c,",
    '} from "b";',
    'import type { D } from "./d.ts";',
    'export { e } from "./e.ts";',
    'export * from "f";',
    'import "g";',
    'const h = await import("h");',
    'const i = require("i");',
    '// import x from "no";',
    "/**",
    ' * import y from "no";',
    " */",
    '  throw new Error(`write import { z } from "no"`);',
  ].join("\n");
  expect(importsOf(text).sort()).toEqual(["./d.ts", "./e.ts", "a", "b", "f", "g", "h", "i"]);
});

/** Where a moment is told, or compared with one that was: the clock on the wall, which somebody may set. */
const MOMENTS = new Map([
  ["worker-host/base/clock.ts", "defines it"],
  ["worker-host/base/timers.ts", "a time of day"],
  ["worker-host/testing/test-clock.ts", "defines it"],
  ["worker-host/commands/commands.ts", "expires_at"],
  ["worker-host/cli/access.ts", "certificates"],
  ["worker-host/cli/client.ts", "the lock"],
  ["worker-host/cli/console.ts", "since"],
  ["worker-host/cli/doctor.ts", "the year; the lock"],
  ["worker-host/cli/recording.ts", "when it was recorded"],
  ["worker-host/cli/watch.ts", "a line's time"],
  ["worker-host/host/bus/host-connection.ts", "since"],
  ["worker-host/host/data/data-lock.ts", "since"],
  ["worker-host/host/data/log-files.ts", "a line's time"],
  ["worker-host/host/reload/live-reload.ts", "a file's time"],
  ["worker-host/host/runners/records.ts", "since"],
  ["worker-host/host/safety/all-stop.ts", "since"],
  ["worker-host/host/safety/show-night.ts", "a file's name"],
  ["worker-host/host/safety/stop-receipts.ts", "since"],
  ["worker-host/worker/base-worker.ts", "a time of day"],
  ["worker-host/worker/life.ts", "a file's name"],
  ["worker-host/worker/messenger.ts", "when a message came"],
]);

test("the clock on the wall tells moments only: a span of time is measured on the one that nobody sets", () => {
  const workers = WORKERS.filter(({ text }) => /\bDate\.now\b/.test(withoutComments(text)));
  const house = HOUSE.filter(({ text }) => /[cC]lock\.now\(\)|\bDate\.now\b/.test(withoutComments(text)));
  expect(house.map(({ path }) => path).sort()).toEqual([...MOMENTS.keys()].sort());
  expect(workers).toEqual([]);
});

describe("imports", () => {
  test(`go downward only: ${FLOORS.toReversed().join(", ")}`, () => {
    const upward = HOUSE.flatMap((source) =>
      source.imports.flatMap((each) => {
        const path = target(source, each);
        if (path === undefined) return [];
        return path.startsWith("worker-host/") && floorOf(path) <= floorOf(source.path)
          ? []
          : [`${source.path}: ${each}`];
      }),
    );
    expect(upward).toEqual([]);
  });

  test("nothing of the house imports an entry that is for workers' authors", () => {
    const entries = HOUSE.flatMap((source) =>
      source.imports
        .filter((each) => /^worker-host\/(index|testing)\.ts$/.test(target(source, each) ?? each))
        .map((each) => `${source.path}: ${each}`),
    );
    expect(entries).toEqual([]);
  });

  test("in contract/ are of contract/ only: no package, nothing of Node", () => {
    const outward = HOUSE.filter(({ path }) => path.startsWith("worker-host/contract/")).flatMap((source) =>
      source.imports
        .filter((each) => !target(source, each)?.startsWith("worker-host/contract/"))
        .map((each) => `${source.path}: ${each}`),
    );
    expect(outward).toEqual([]);
  });

  test("are not circular, types included", () => {
    const edges = new Map(
      [...HOUSE, ...WORKERS].map((source) => [
        source.path,
        source.imports.flatMap((each) => target(source, each) ?? []),
      ]),
    );
    const circles: string[] = [];
    const done = new Set<string>();
    const walk = (path: string, above: string[]) => {
      if (above.includes(path)) circles.push([...above.slice(above.indexOf(path)), path].join(" -> "));
      if (above.includes(path) || done.has(path)) return;
      for (const next of edges.get(path) ?? []) walk(next, [...above, path]);
      done.add(path);
    };
    for (const path of edges.keys()) walk(path, []);
    expect(circles).toEqual([]);
  });

  test("of a builtin's or a prop's worker are worker-host, packages and files of its own", () => {
    const foreign = WORKERS.flatMap((source) => {
      const own = source.path.split("/").slice(0, source.path.startsWith("props/") ? 2 : 1);
      return source.imports
        .filter((each) => {
          const path = target(source, each);
          if (own[0] === "builtin-workers" && each.startsWith("worker-host/contract/")) return false;
          return path === undefined ? /^worker-host\/|^#|^\//.test(each) : !path.startsWith(`${own.join("/")}/`);
        })
        .map((each) => `${source.path}: ${each}`);
    });
    expect(foreign).toEqual([]);
    expect(WORKERS.length).toBeGreaterThan(0);
    for (const { path, imports } of WORKERS.filter((source) =>
      /(^builtin-workers\/[^/]+|\/worker)\.ts$/.test(source.path),
    )) {
      expect(imports, path).toContain("worker-host");
    }
  });

  test("of the page are of contract/, the packages that are built into it, and its own files", () => {
    const foreign = PAGE.flatMap((source) =>
      source.imports
        .filter((each) => {
          const path = target(source, each);
          return path === undefined
            ? !/^(preact(\/hooks)?|@preact\/signals)$/.test(each)
            : !/^(dashboard|worker-host\/contract)\//.test(path);
        })
        .map((each) => `${source.path}: ${each}`),
    );
    expect(foreign).toEqual([]);
    expect(PAGE.length).toBeGreaterThan(0);
  });

  test("of Node's modules are written node:", () => {
    const bare = [...HOUSE, ...WORKERS].flatMap(({ path, imports }) =>
      imports.filter((each) => builtinModules.includes(each)).map((each) => `${path}: ${each}`),
    );
    expect(bare).toEqual([]);
  });
});

describe("worker-host", () => {
  test("has the floors and rooms that CONTRIBUTING names, and CONTRIBUTING names files that are there", () => {
    const contributing = readFileSync(join(ROOT, "CONTRIBUTING.md"), "utf8");
    const [, tables = ""] = /## How it is cut\n([\s\S]*?)\n- A constructor/.exec(contributing) ?? [];
    const rooms = [...tables.matchAll(/^\| `([\w-]+)\/` \|/gm)].map(([, room]) => room);
    expect(readdirSync(join(ROOT, "worker-host/host")).toSorted()).toEqual([...rooms, ...HALL].toSorted());
    expect(tables).toContain(FLOORS.toReversed().join(" → "));
    const files = [...tables.matchAll(/^\|.*\| `([\w/-]+\.ts)` \|$/gm)].map(([, file]) => file ?? "");
    expect(files.length).toBeGreaterThanOrEqual(10);
    expect(files.filter((file) => !existsSync(join(ROOT, "worker-host", file)))).toEqual([]);
  });

  test("has no topic of the wire contract outside contract/", () => {
    const literals = HOUSE.filter(({ path }) => !path.startsWith("worker-host/contract/")).flatMap(({ path, text }) =>
      [
        ...withoutComments(text).matchAll(
          /\/cmd\b|\/telemetry\/|\/status\/|\bhalloween\/|\/(availability|runstate)\b/g,
        ),
      ].map(([found]) => `${path}: ${found}`),
    );
    expect(literals).toEqual([]);
  });

  test("uses each of its limits", () => {
    const unused = HOUSE.filter(({ path }) => path.endsWith("/limits.ts")).flatMap(({ path, text }) =>
      [...text.matchAll(/^export const (\w+)/gm)]
        .map(([, name = ""]) => name)
        .filter((name) => !HOUSE.some((other) => other.path !== path && other.text.includes(name))),
    );
    expect(unused).toEqual([]);
  });

  test("writes to the console in cli.ts only", () => {
    const writers = HOUSE.filter(({ text }) => /\bconsole\.\w+\(/.test(withoutComments(text))).map(({ path }) => path);
    expect(writers).toEqual(["worker-host/cli.ts"]);
  });

  test("reads the arguments, the environment and the working folder, and ends the process, at its edges only", () => {
    const readers = HOUSE.filter(({ text }) => /\bprocess\.(argv|env|cwd\(|exit\()/.test(withoutComments(text)));
    expect(readers.map(({ path }) => path)).toEqual(["worker-host/cli.ts"]);
  });

  test(`has no file of more than ${MOST_LINES} lines without a reason`, () => {
    const long = HOUSE.filter(({ text }) => text.split("\n").length - 1 > MOST_LINES).map(({ path }) => path);
    expect(long.filter((path) => !(path in LONGER))).toEqual([]);
    expect(Object.keys(LONGER).filter((path) => !long.includes(path))).toEqual([]);
  });
});

test("the page makes no markup of a text", () => {
  const makers = PAGE.filter(({ text }) => /innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b/i.test(text));
  expect(makers.map(({ path }) => path)).toEqual([]);
});

test("a test that asks which broker it has runs on each of them, or in a suite that does", () => {
  const asking = sourcesIn("test").filter(
    ({ path, text }) =>
      path.endsWith(".test.ts") && !/^test\/(faults|firmware)\//.test(path) && /\bBROKER ===/.test(text),
  );
  expect(asking.map(({ path }) => path).filter((path) => !ON_EACH_BROKER.includes(path))).toEqual([]);
  expect(ON_EACH_BROKER.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});
