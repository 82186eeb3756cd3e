import { expect, test } from "vitest";
import type { HostDescription, RunstatePayload } from "../worker-host/contract/description.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { type Files, makeFolder, workerSource } from "./harness/folder.ts";
import { sharedHaunt } from "./harness/haunt.ts";
import { startHost } from "./harness/host.ts";

/** Starts a host over these props, and a client that has seen all from the start. */
async function run(props: Files, options: { builtins?: Files } = {}) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props, ...options });
  return { host, client, broker };
}

const GOOD = { "good/backend/worker.ts": workerSource("do_ping() { this.telemetry('pong', 'ok'); }") };

const haunt = sharedHaunt({ props: GOOD });

test("finds props' and builtin workers by their file names, and nothing else", async () => {
  const worker = workerSource();
  const { client, host } = await run(
    {
      "a_ts/backend/worker.ts": worker,
      "b_mts/backend/worker.mts": worker,
      "c_js/backend/worker.js": worker,
      "d_mjs/backend/worker.mjs": worker,
      "_draft/backend/worker.ts": worker,
      ".hidden/backend/worker.ts": worker,
      "lib/src/worker.ts": worker,
      "firmware_only/firmware/firmware.ino": "",
      "tested/backend/worker.ts": worker,
      "tested/backend/worker.test.ts": "throw new Error('a test was loaded')",
      "tested/backend/worker.d.ts": "export {}",
    },
    {
      builtins: {
        "beat.ts": worker,
        "beat_js.mjs": worker,
        "_draft.ts": worker,
        ".hidden.ts": worker,
        "beat.test.ts": worker,
        "beat.d.ts": "",
      },
    },
  );
  await host.ready();
  const description = await client.expect("halloween/worker_host/description", /"running".*"running"/);
  const ids = (JSON.parse(description) as HostDescription).workers.map(({ id }) => id);
  expect(ids).toEqual(["a_ts", "b_mts", "beat", "beat_js", "c_js", "d_mjs", "tested"]);
});

test("a folder of one's own adds to the builtin workers that come along, or takes the place of one", async () => {
  const mine = makeFolder({ "heartbeat.ts": workerSource("do_mine() {}"), "beat.ts": workerSource() });
  const host = await startHost({ builtins: "shipped", args: ["--builtins", mine] });
  const client = await TestClient.connect(await host.url());
  const ids = (
    JSON.parse(await client.expect("halloween/worker_host/description", /"running".*"running"/)) as HostDescription
  ).workers.map(({ id, state }) => `${id} ${state}`);
  expect(ids).toEqual(["beat running", "console skipped", "heartbeat running"]);
  await client.expect("halloween/heartbeat/description", /"mine"/);
});

interface Fault {
  name: string;
  files: Files;
  says: RegExp;
}

const FAULTS: Fault[] = [
  {
    name: "a syntax error",
    files: { "syntax/backend/worker.ts": "import { BaseWorker } from 'worker-host';\n\nclass {{{" },
    says: /syntax\/backend\/worker\.ts:3:\d+: Expected/,
  },
  {
    name: "an import that is not there",
    files: { "import/backend/worker.ts": workerSource("", 'import { x } from "./gone.ts"; console.log(x);') },
    says: /import\/backend\/worker\.ts:2:\d+: Could not resolve ".\/gone\.ts"/,
  },
  {
    name: "a package that is not installed",
    files: { "package/backend/worker.ts": workerSource("", 'import x from "not-installed"; console.log(x);') },
    says: /package\/backend\/worker\.ts:2:\d+: Could not resolve "not-installed".*npm install not-installed/,
  },
  {
    name: "no class Worker",
    files: { "no_class/backend/worker.ts": "export const Wroker = 1;" },
    says: /no_class\/backend\/worker\.ts exports no class Worker \(it exports Wroker\): write "export class Worker extends/,
  },
  {
    name: "a Worker that is no BaseWorker",
    files: { "no_base/backend/worker.ts": "export class Worker {}" },
    says: /no_base\/backend\/worker\.ts: its Worker does not extend BaseWorker: write/,
  },
  {
    name: "a module that throws",
    files: { "module/backend/worker.ts": "export class Worker {}\n\nthrow new TypeError('top level');" },
    says: /module\/backend\/worker\.ts:3: TypeError: top level/,
  },
  {
    name: "a helper file that throws",
    files: {
      "helper/backend/worker.ts": workerSource("", 'import "./lib/helper.ts";'),
      "helper/backend/lib/helper.ts": "\n\n\nthrow new Error('helper');",
    },
    says: /helper\/backend\/lib\/helper\.ts:4: Error: helper/,
  },
  {
    name: "a constructor that throws",
    files: { "constructor/backend/worker.ts": workerSource("\n  x = (undefined as unknown as { y: number }).y;") },
    says: /constructor\/backend\/worker\.ts:5: TypeError: /,
  },
  {
    name: "a start() that throws",
    files: { "start/backend/worker.ts": workerSource("async start() {\n    throw new Error('no power');\n  }") },
    says: /start\/backend\/worker\.ts:5: Error: no power/,
  },
  {
    name: "a start() that throws something odd",
    files: { "odd/backend/worker.ts": workerSource("async start() { throw 'text'; }") },
    says: /odd\/backend\/worker\.ts: thrown: text/,
  },
  {
    name: "a worker file of another name",
    files: { "name/backend/index.ts": workerSource() },
    says: /name\/backend: no worker\.ts in it, but index\.ts: name the worker's file worker\.ts/,
  },
  {
    name: "two worker files",
    files: { "two/backend/worker.ts": workerSource(), "two/backend/worker.js": workerSource() },
    says: /two workers have the id "two": .*worker\.js and .*worker\.ts; rename or remove one/,
  },
];

test("each of these fails its worker, in words, and no other", async () => {
  const { client, host, add } = await haunt();
  await add(Object.assign({}, ...FAULTS.map(({ files }) => files)));
  for (const { name, files, says } of FAULTS) {
    const id = Object.keys(files)[0]?.split("/")[0];
    const line = await host.log.find(
      ({ worker, msg }) => worker === id && /^failed: /.test(msg),
      `the log of the failure: ${name}`,
    );
    expect(line.msg, name).toMatch(says);
    await client.expect(`halloween/${id}/status/error`, says);
    const runstate = await client.expect(`halloween/${id}/status/runstate`, /"failed"/);
    expect((JSON.parse(runstate) as RunstatePayload).detail, name).toMatch(says);
    expect(client.texts(`halloween/${id}/status/availability`), name).not.toContain("online");
  }
  await client.command("good", "ping");
  await client.expect("halloween/good/telemetry/pong", "ok");
});

test("a folder name that can't be an id: the host says so, with one that could", async () => {
  const names: [string, string][] = [
    ["fog machine+#", 'such as "fog_machine"'],
    ["broadcast", '"broadcast" is reserved'],
    ["worker_host", '"worker_host" is reserved'],
  ];
  const folders = names.map(([name]) => [`${name}/backend/worker.ts`, workerSource()] as const);
  const { client, host } = await run({ ...GOOD, ...Object.fromEntries(folders) });
  await client.command("good", "ping");
  await client.expect("halloween/good/telemetry/pong", "ok");
  const failed = host.log.all.filter(({ msg }) => msg.startsWith("failed: "));
  for (const [name, says] of names) {
    expect(
      failed.some(({ msg }) => msg.includes(says)),
      name,
    ).toBe(true);
    expect(
      client.texts("halloween/worker_host/status/error").some((text) => text.includes(says)),
      name,
    ).toBe(true);
  }
  expect(failed).toHaveLength(names.length);
  expect(client.texts("halloween/worker_host/status/runstate").join()).not.toContain("failed");
});

test("a prop under the id of a builtin worker that comes along is not run, in words, and that one is", async () => {
  const { client, host } = await run(
    { ...GOOD, "cues/backend/worker.ts": workerSource() },
    { builtins: { "cues.ts": workerSource() } },
  );
  await host.logged(/cues\/backend\/worker\.ts is not run: "cues" is reserved for the builtin worker of that name/);
  await client.expect("halloween/cues/status/runstate", /"running"/);
});

test("a builtin and a prop of one id fail, both named", async () => {
  const { client } = await run(
    { ...GOOD, "twice/backend/worker.ts": workerSource() },
    { builtins: { "twice.ts": workerSource() } },
  );
  const says = /two workers have the id .{1,2}twice.{1,2}: .*twice\/backend\/worker\.ts and .*twice\.ts/;
  await client.expect("halloween/twice/status/runstate", says);
  await client.command("good", "ping");
  await client.expect("halloween/good/telemetry/pong", "ok");
});

test("a worker.py without a worker.ts is skipped, with the porting guide", async () => {
  const { client, host } = await run({
    "old/backend/worker.py": "class Worker: pass",
    "both/backend/worker.py": "class Worker: pass",
    "both/backend/worker.ts": workerSource(),
  });
  expect((await host.logged(/^skipped/)).worker).toBe("old");
  const description = await client.expect("halloween/worker_host/description", /"running"/);
  const workers = (JSON.parse(description) as HostDescription).workers;
  expect(workers.map(({ id, state }) => [id, state])).toEqual([
    ["both", "running"],
    ["old", "skipped"],
  ]);
  expect(workers[1]?.detail).toContain("docs/porting-from-python.md");
});

test("a default export, an own package.json, packages, helpers, JSON, import.meta and top-level await all work", async () => {
  const report = "async start() { this.telemetry('report', report); }";
  const { client, add } = await haunt();
  await add({
    "by_default/backend/worker.ts": `import { BaseWorker } from "worker-host";\nexport default class extends BaseWorker { async start() { this.telemetry("report", "default"); } }`,
    "packages/package.json": '{"name": "packages", "type": "commonjs"}',
    "packages/node_modules/old-style/package.json": '{"name": "old-style", "main": "index.js"}',
    "packages/node_modules/old-style/index.js":
      "module.exports = { dir: __dirname.split('/').at(-1), add: (a, b) => a + b, bare: require('node:os').EOL };",
    "packages/node_modules/modern/package.json":
      '{"name": "modern", "type": "module", "exports": {".": "./main.js", "./sub": "./sub.js"}}',
    "packages/node_modules/modern/main.js": "import { n } from './sub.js'; export const m = n + 1;",
    "packages/node_modules/modern/sub.js": "export let n = 1; export const url = import.meta.url;",
    "packages/node_modules/data/package.json": '{"name": "data"}',
    "packages/node_modules/data/list.json": "[1, 2, 3]",
    "packages/backend/worker.ts": workerSource(
      report,
      `import old from "old-style";
       import { m } from "modern";
       import { n } from "modern/sub";
       import list from "data/list.json";
       import { helper } from "./helper.ts";
       const report = { dir: old.dir, sum: old.add(1, 2), m, n, list, helper };`,
    ),
    "packages/backend/helper.ts":
      "export const helper: string = require('./legacy.cjs').name + require('old-style').add(2, 3);",
    "packages/backend/legacy.cjs": "exports.name = 'legacy';",
    "places/backend/worker.ts": workerSource(
      report,
      `import { readFileSync } from "node:fs";
       import { here } from "./lib/deep.ts";
       import settings from "./settings.json" with { type: "json" };
       const text = await Promise.resolve(readFileSync(new URL("./note.txt", import.meta.url), "utf8"));
       const report = { text, here, settings, dirname: import.meta.dirname.split("/").slice(-2) };`,
    ),
    "places/backend/note.txt": "a note",
    "places/backend/settings.json": '{"colour": "green"}',
    "places/backend/lib/deep.ts": "export const here = import.meta.url.split('/').slice(-3).join('/');",
    "common/package.json": '{"type": "commonjs"}',
    "common/backend/worker.js": `const { BaseWorker } = require("worker-host");
       exports.Worker = class extends BaseWorker { async start() { this.telemetry("report", "common"); } };`,
    "own_require/backend/worker.ts": workerSource(
      report,
      `import { createRequire } from "node:module";
       const require = createRequire(import.meta.url);
       const report = require("./value.json");`,
    ),
    "own_require/backend/value.json": '{"v": 1}',
  });
  expect(await client.expect("halloween/by_default/telemetry/report")).toBe("default");
  expect(await client.expect("halloween/common/telemetry/report")).toBe("common");
  expect(JSON.parse(await client.expect("halloween/packages/telemetry/report"))).toEqual({
    dir: "old-style",
    sum: 3,
    m: 2,
    n: 1,
    list: [1, 2, 3],
    helper: "legacy5",
  });
  expect(JSON.parse(await client.expect("halloween/places/telemetry/report"))).toEqual({
    text: "a note",
    here: "backend/lib/deep.ts",
    settings: { colour: "green" },
    dirname: ["places", "backend"],
  });
  expect(await client.expect("halloween/own_require/telemetry/report")).toBe('{"v":1}');
});

test("stack traces in the log show the lines of worker.ts", async () => {
  const { host, client, add } = await haunt();
  await add({
    "thrower/backend/worker.ts": workerSource(
      "\n\n  do_fail() {\n    deep();\n  }",
      "interface Unused { a: string }\nfunction deep(): never {\n  throw new Error('deep');\n}",
    ),
  });
  await client.command("thrower", "fail");
  const line = await host.logged("fail: Error: deep");
  const stack = String((line.err as { stack: string }).stack);
  expect(stack).toMatch(/at deep \(.*thrower\/backend\/worker\.ts:4:\d+\)/);
  expect(stack).toMatch(/at Worker\.do_fail \(.*thrower\/backend\/worker\.ts:10:\d+\)/);
});

test("what a prop retained is cleared when it was removed while the host was down", async () => {
  const broker = await startBroker();
  const worker = workerSource("async start() { this.state = 'armed'; this.telemetry('kept', 1, { retain: true }); }");
  const props = {
    "stays/backend/worker.ts": worker,
    "goes/backend/worker.ts": worker,
    "board/backend/worker.ts": worker,
  };
  const first = await startHost({ broker, props });
  await first.stop();

  // A board that has taken over an id keeps what it publishes.
  const board = await TestClient.connect(broker.url, ["halloween/#"]);
  await board.publish("halloween/board/status/availability", "online", { retain: true });
  // Another host's prop is not ours to clear.
  const foreign = JSON.stringify({ state: "running", since: "2026-10-31T20:00:00Z", host: "other_host" });
  await board.publish("halloween/foreign/status/runstate", foreign, { retain: true });

  await startHost({ broker, props: { "stays/backend/worker.ts": worker } });
  await board.expect("halloween/goes/status/runstate", "");
  await board.expect("halloween/board/status/runstate", "");
  await board.barrier();

  const late = await TestClient.connect(broker.url);
  await late.expect("halloween/stays/state", "armed");
  await late.expect("halloween/board/state", "armed");
  await late.expect("halloween/board/status/availability", "online");
  await late.expect("halloween/foreign/status/runstate", foreign);
  await late.barrier();
  const left = late.seen.all.filter(({ retain }) => retain).map(({ topic }) => topic);
  expect(left.filter((topic) => topic.includes("/goes/"))).toEqual([]);
});

test("with no worker at all, the host says so and waits", async () => {
  const { client, host } = await run({});
  await client.expect("halloween/worker_host/status/warn", /^no worker found: expected .*<id>\/backend\/worker\.ts/);
  await client.expect("halloween/worker_host/status/availability", "online");
  expect((await host.stop()).code).toBe(0);
});
