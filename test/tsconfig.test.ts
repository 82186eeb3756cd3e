// biome-ignore-all lint/suspicious/noTemplateCurlyInString: TypeScript has it in tsconfig.json, and workers have templates
import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { type Files, makeFolder, workerSource, writeFiles } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

const FOGGER = workerSource(
  `@command({ args: z.number().max(10) }) do_fire(ms: number) { this.telemetry("fired", ms); }
   @command({ requiresState: "armed" }) do_launch() { this.telemetry("launched", 1); }`,
  'import { command, z } from "worker-host";',
);
const FOREIGN = `// of another tool
{ "compilerOptions": { "experimentalDecorators": true, "emitDecoratorMetadata": true, "target": "es2017", "useDefineForClassFields": false, }, /* the end */ }`;

async function run(files: Files) {
  const cwd = makeFolder(files);
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, cwd });
  let count = 0;
  const ask = async (id: string, action: string, args?: unknown) => {
    const replyTo = `halloween/cli/reply/${count++}`;
    await client.command(id, { action, args, reply_to: replyTo });
    return JSON.parse(await client.expect(replyTo)) as { status: string; error?: string };
  };
  return { cwd, client, host, ask };
}

test.each(["tsconfig.json", "props/tsconfig.json", "props/fogger/tsconfig.json", "props/fogger/backend/tsconfig.json"])(
  "the limits of commands hold whatever %s says to other tools",
  async (tsconfig) => {
    const { cwd, client, ask } = await run({
      [tsconfig]: FOREIGN,
      "props/fogger/backend/worker.ts": FOGGER,
    });
    expect(await ask("fogger", "fire", 99999)).toMatchObject({ status: "error", error: expect.stringMatching(/10/) });
    expect(await ask("fogger", "launch")).toMatchObject({ status: "error", error: expect.stringMatching(/armed/) });
    expect(await ask("fogger", "fire", 5)).toMatchObject({ status: "ok" });
    await client.barrier();
    expect(client.texts("halloween/fogger/telemetry/fired")).toEqual(["5"]);
    expect(client.texts("halloween/fogger/telemetry/launched")).toEqual([]);
    const checked = await runCli(["check", "--disable-all-builtins"], { cwd });
    expect(checked.stderr).toBe("");
    expect(checked).toMatchObject({ code: 0, stdout: expect.stringMatching(/^ok {6}fogger$/m) });
  },
);

test("a compiled worker whose limits would not hold is refused, in words", async () => {
  const legacy = `import { BaseWorker, command } from "worker-host";
    export class Worker extends BaseWorker { do_fire() { this.telemetry("fired", 1); } }
    command({ cooldownMs: 5000 })(Worker.prototype, "do_fire", Object.getOwnPropertyDescriptor(Worker.prototype, "do_fire"));`;
  const { cwd, client } = await run({ "props/old/backend/worker.js": legacy });
  const says =
    /props\/old\/backend\/worker\.js:\d+: @command of do_fire: this code was compiled with \\?"experimentalDecorators\\?", under which its limits don't hold: /;
  await client.expect("halloween/old/status/runstate", says);
  const checked = await runCli(["check", "--disable-all-builtins"], { cwd });
  expect(checked).toMatchObject({ code: 1, stderr: expect.stringMatching(says) });
});

test("paths, baseUrl and JSX of a tsconfig are taken, with what it extends; an edit of it is one of the worker", async () => {
  const says = (word: string) => `export const word = "${word}";\n`;
  const { cwd, client } = await run({
    "base/tsconfig.json":
      '{ "compilerOptions": { "paths": { "@lib/*": ["${configDir}/one/*"], "@far": ["./far.ts"] } } }',
    "base/far.ts": says("far"),
    "one/word.ts": says("one"),
    "two/word.ts": says("two"),
    "node_modules/@tsconfig/jsx/tsconfig.json":
      '{ "compilerOptions": { "jsx": "react", "jsxFactory": "make", "experimentalDecorators": true } }',
    "tsconfig.json": '{ "extends": ["@tsconfig/jsx", "./base/tsconfig"] }',
    "props/lab/backend/view.tsx":
      "const make = (name: string) => `<${name}>`;\nexport const view: string = <lamp /> as unknown as string;\n",
    "props/lab/backend/worker.ts": workerSource(
      "async start() { await super.start(); this.telemetry('says', `${word} ${far} ${view}`); }",
      'import { word } from "@lib/word";\nimport { word as far } from "@far";\nimport { view } from "./view.tsx";',
    ),
  });
  await client.expect("halloween/lab/telemetry/says", "one far <lamp>");
  writeFiles(cwd, {
    "tsconfig.json":
      '{ "extends": "@tsconfig/jsx/tsconfig.json", "compilerOptions": { "baseUrl": ".", "paths": { "@lib/*": ["two/*"], "@far": ["base/far"] } } }',
  });
  await client.expect("halloween/lab/telemetry/says", "two far <lamp>");
  writeFiles(cwd, { "tsconfig.json": '{ "extends": ' });
  await client.expect("halloween/lab/status/error", /tsconfig\.json: expected JSON.*; the old one runs on$/);
});

test("a package.json that says files have no side effects takes none of them out", async () => {
  const { client } = await run({
    "props/lab/package.json": '{ "sideEffects": false }',
    "props/lab/backend/setup.ts": "Object.assign(globalThis, { limit: 7 });\n",
    "props/lab/backend/worker.ts": workerSource(
      "async start() { await super.start(); this.telemetry('limit', Reflect.get(globalThis, 'limit') ?? 'none'); }",
      'import "./setup.ts";',
    ),
  });
  expect(await client.expect("halloween/lab/telemetry/limit")).toBe("7");
});
