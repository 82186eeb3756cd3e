import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { TestClient } from "../harness/client.ts";
import { makeFolder, workerSource, writeFiles } from "../harness/folder.ts";
import { cleanEnvironment, ROOT, startHost } from "../harness/host.ts";

const run = promisify(execFile);

test("what would be published installs elsewhere, types a prop and runs it", { timeout: 180_000 }, async () => {
  const folder = makeFolder({
    "package.json": '{"name": "my-haunt", "private": true, "type": "module"}',
    "tsconfig.json": JSON.stringify({
      compilerOptions: { module: "nodenext", strict: true, noEmit: true, skipLibCheck: true, types: [] },
      include: ["props"],
    }),
    "props/lab/backend/worker.ts": workerSource("do_ping(text?: string) { this.telemetry('pong', text ?? 'ok'); }"),
  });
  const npm = (args: string[], cwd: string) => run("npm", args, { cwd, env: cleanEnvironment() });
  // The build that `npm test` began with is what goes in.
  const packed = await npm(["pack", "--ignore-scripts", "--json", "--pack-destination", folder], ROOT);
  const [{ filename, files }] = JSON.parse(packed.stdout) as [{ filename: string; files: { path: string }[] }];
  const paths = files.map(({ path }) => path);
  expect(paths).toEqual(
    expect.arrayContaining([
      "dist/cli.cjs",
      "dist/index.d.ts",
      "worker-host/bin.cjs",
      "builtin-workers/heartbeat.ts",
      "builtin-workers/console/verbs.ts",
      "dist/contract/bus.js",
      "dist/dashboard/index.html",
      "LICENSE",
      "README.md",
    ]),
  );
  expect(paths.filter((path) => /^test\/|\.test\.|bench|\.ci|^props|buildinfo/.test(path))).toEqual([]);

  await npm(
    ["install", "--engine-strict", "--prefer-offline", "--no-audit", "--no-fund", "--omit=dev", join(folder, filename)],
    folder,
  );
  await run(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", folder], { cwd: folder });

  const host = await startHost({ cwd: folder, builtins: "shipped", page: true, command: ["npx", "worker-host"] });
  expect(await (await fetch(await host.page())).text()).toContain("<title>");
  const client = await TestClient.connect(await host.url());
  await client.expect("halloween/heartbeat/status/availability", "online");
  await client.command("lab", "ping hello");
  await client.expect("halloween/lab/telemetry/pong", "hello");

  // What runs a haunt installs no compiler; what writes props says which one to install.
  const cli = (args: string[]) => run("npx", ["worker-host", ...args], { cwd: folder, env: cleanEnvironment() });
  const install = /npm install --save-dev typescript @types\/node/;
  expect((await cli(["check", "lab"])).stderr).toMatch(install);
  expect((await cli(["new", "prop", "lamp"])).stdout).toMatch(install);
  await npm(
    ["install", "--prefer-offline", "--no-audit", "--no-fund", "--save-dev", "typescript", "@types/node"],
    folder,
  );
  expect(await cli(["check", "lab", "lamp"])).toMatchObject({
    stdout: expect.stringMatching(/^ok {6}lab$/m),
    stderr: "",
  });
  writeFiles(folder, { "props/lab/backend/worker.ts": workerSource("do_ping(text: string) { text.nothing(); }") });
  await expect(cli(["check", "lab"])).rejects.toMatchObject({ stderr: expect.stringContaining("TS2339") });
});
