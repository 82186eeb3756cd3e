import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { type Files, makeFolder, writeFiles } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

const WORKER = `import { BaseWorker, z } from "worker-host";
import { word } from "./word.js";
export class Worker extends BaseWorker {
  static config = z.object({ level: z.number().max(10).default(1) });
  async start() { await super.start(); this.telemetry("says", { word, level: this.config.level }); }
}`;

const PACKAGES: Files = {
  "package.json": JSON.stringify({ dependencies: { "@haunt/fogger": "1", two: "1", plain: "1", bad: "1" } }),
  "node_modules/@haunt/fogger/package.json": JSON.stringify({
    name: "@haunt/fogger",
    version: "2.3.4",
    type: "module",
    "worker-host": { workers: ["./dist/fogger.js"] },
  }),
  "node_modules/@haunt/fogger/dist/fogger.js": WORKER,
  "node_modules/@haunt/fogger/dist/word.js": "export const word = 'fog';",
  "node_modules/two/package.json": JSON.stringify({ "worker-host": { workers: ["./a.mjs", "./b.mjs"] } }),
  "node_modules/two/a.mjs": WORKER.replace("./word.js", "./word.mjs"),
  "node_modules/two/b.mjs": WORKER.replace("./word.js", "./word.mjs"),
  "node_modules/two/word.mjs": "export const word = 'two';",
  "node_modules/plain/package.json": "{}",
  "node_modules/bad/package.json": JSON.stringify({ "worker-host": { workers: ["../../../etc/passwd"] } }),
  "node_modules/undeclared/package.json": JSON.stringify({ "worker-host": { workers: ["./a.mjs"] } }),
};

async function run(files: Files) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const cwd = makeFolder({ ...PACKAGES, ...files });
  return { client, cwd, host: await startHost({ broker, cwd }) };
}

test("a package's worker runs under the id that worker-host.yaml gives it, as often as it does", async () => {
  const { client, cwd, host } = await run({
    "worker-host.yaml": [
      "packages:",
      '  front_fogger: "@haunt/fogger"',
      "  back_fogger: { package: '@haunt/fogger', config: { level: 5 } }",
      "  lamp: { package: two, worker: ./b.mjs }",
    ].join("\n"),
  });
  await client.expect("halloween/front_fogger/telemetry/says", '{"word":"fog","level":1}');
  await client.expect("halloween/back_fogger/telemetry/says", '{"word":"fog","level":5}');
  await client.expect("halloween/lamp/telemetry/says", '{"word":"two","level":1}');
  await client.expect("halloween/front_fogger/description", /"version":"2\.3\.4"/);
  await host.logged(/^node_modules\/bad\/package\.json: "worker-host": expected \{ "workers"/);

  // As for a prop: an edit by hand, and by command.
  writeFiles(cwd, {
    "worker-host.yaml":
      'packages:\n  front_fogger:\n    package: "@haunt/fogger" # ours\n    config:\n      level: 7\n',
  });
  await client.expect("halloween/front_fogger/telemetry/says", '{"word":"fog","level":7}');
  await client.expect("halloween/lamp/description", "");
  const configure = { id: "front_fogger", config: { level: 70 } };
  await client.command("worker_host", { action: "configure", args: configure, reply_to: "halloween/cli/reply/1" });
  expect(await client.expect("halloween/cli/reply/1")).toContain("worker-host.yaml:5 level:");
  await client.command("worker_host", { action: "configure", args: { ...configure, config: { level: 8 } } });
  await client.expect("halloween/front_fogger/telemetry/says", '{"word":"fog","level":8}');
});

test("what is not named is told, with what to write; what is named wrongly fails, with its line", async () => {
  const { client, host } = await run({
    "worker-host.yaml": "packages:\n  lamp: two\n  ghost: nowhere\n  other: { package: undeclared }\n",
  });
  const detail = async (id: string) =>
    JSON.parse(await client.expect(`halloween/${id}/status/runstate`, /failed/)).detail;
  expect(await detail("lamp")).toBe(
    'worker-host.yaml:2 packages.lamp: expected "worker" to be one of ./a.mjs, ./b.mjs, got undefined',
  );
  expect(await detail("ghost")).toBe(
    'worker-host.yaml:3 packages.ghost: expected a package that brings workers, got "nowhere"; installed in the folder of props/: @haunt/fogger, two',
  );
  expect(await detail("other")).toContain('got "undeclared"');
  await host.logged(
    '@haunt/fogger brings ./dist/fogger.js: to run it, write "packages: { my_prop: "@haunt/fogger" }" into worker-host.yaml',
  );
});

test("without a package.json, or with one that is broken, all else runs; list knows packages too", async () => {
  const cwd = makeFolder({ ...PACKAGES, "worker-host.yaml": 'packages: { fog: "@haunt/fogger" }' });
  const { stdout } = await runCli(["list", "--json", "--broker-port", "1"], { cwd });
  expect(JSON.parse(stdout)).toContainEqual({
    id: "fog",
    file: "node_modules/@haunt/fogger/dist/fogger.js",
    config: "worker-host.yaml",
    state: "would load",
  });
  rmSync(join(cwd, "package.json"));
  const { stdout: without } = await runCli(["list", "--json", "--broker-port", "1"], { cwd });
  expect(JSON.parse(without)).toContainEqual(expect.objectContaining({ id: "fog", state: "failed" }));
});
