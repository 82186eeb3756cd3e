import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { TestClient } from "../harness/client.ts";
import { compose } from "../harness/compose.ts";
import { makeFolder, workerSource, writeFiles } from "../harness/folder.ts";
import { ROOT, startHost, type TestHost } from "../harness/host.ts";
import { composed, containerEnvironment, mounts } from "../harness/image.ts";

const run = promisify(execFile);
const DOCS = readFileSync(join(ROOT, "docs/your-own-haunt.md"), "utf8");
/** The lines of its blocks, in their order. */
const LINES = [...DOCS.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].flatMap(([, text = ""]) => text.trim().split("\n"));
/** They change the machine, or need a Docker. */
const NOT_RUN = /^(sudo|docker) /;

/** Somebody who does what docs/your-own-haunt.md says, from a clone of the repository on. */
class Owner {
  readonly home = makeFolder();
  readonly folder = join(this.home, "my-haunt");
  cwd = ROOT;
  host: TestHost | undefined;
  readonly #env: Record<string, string | undefined>;

  constructor() {
    const npmConfig = (key: string) => execFileSync("npm", ["config", "get", key], { encoding: "utf8" }).trim();
    // What npx keeps ends with the test; what was fetched is shared with all others.
    const fetched = join(npmConfig("cache"), "_cacache");
    mkdirSync(fetched, { recursive: true });
    mkdirSync(join(this.home, ".npm"));
    symlinkSync(fetched, join(this.home, ".npm/_cacache"));
    const git = { GIT_AUTHOR_NAME: "a", GIT_AUTHOR_EMAIL: "a@b", GIT_COMMITTER_NAME: "a", GIT_COMMITTER_EMAIL: "a@b" };
    this.#env = containerEnvironment({
      ...git,
      HOME: this.home,
      npm_config_userconfig: npmConfig("userconfig"),
      npm_config_engine_strict: "true",
      npm_config_yes: "true",
    });
  }

  /** Gives what it says; what npm warns of is a failure. */
  async sh(line: string, input = ""): Promise<string> {
    const port = this.host && (await this.host.port());
    const env = { ...this.#env, ...(port ? { WORKER_BROKER_PORT: String(port) } : {}) };
    const done = run("sh", ["-c", line], { cwd: this.cwd, env });
    // A command that reads nothing may have ended by now.
    if (input === "") done.child.stdin?.destroy();
    else done.child.stdin?.end(input);
    const { stdout, stderr } = await done;
    expect(stderr, line).not.toMatch(/npm warn|npm error/i);
    return `${stdout}${stderr}`;
  }

  async follow(line: string): Promise<void> {
    if (line.startsWith("cd ")) this.cwd = resolve(this.cwd, line.slice("cd ".length).replace("~", this.home));
    else if (line === "npm start") await this.#start();
    // The build that `npm test` began with is what goes in.
    else if (line.startsWith("npm pack ")) await this.sh(`${line} --ignore-scripts`);
    else if (line === "npm ci") await this.#cloneAndInstall();
    else if (line.endsWith(".tgz init")) await this.#init(line);
    else await this.sh(line);
  }

  async #init(line: string): Promise<void> {
    expect(await this.sh(line, "\n\n\n")).toContain("first prop's id");
    // The one that our own tests run with: what a newer one asks for, a registry may lack, and then `npm ci` fails.
    const { version } = JSON.parse(readFileSync(join(ROOT, "node_modules/vite/package.json"), "utf8"));
    await this.sh(`npm install --save-dev vite@${version}`);
  }

  async #cloneAndInstall(): Promise<void> {
    await this.sh("git clone --quiet . ../elsewhere");
    this.cwd = join(this.home, "elsewhere");
    await this.sh("npm ci");
  }

  async #start(): Promise<void> {
    await this.host?.stop();
    const command: [string, ...string[]] = ["npm", "start", "--"];
    this.host = await startHost({ cwd: this.cwd, builtins: "shipped", page: true, command });
  }
}

test("what would be published makes a haunt of one's own, as docs/your-own-haunt.md says", {
  timeout: 600_000,
}, async () => {
  const owner = new Owner();
  for (const line of LINES.filter((each) => !NOT_RUN.test(each))) {
    await owner.follow(line);
    if (line === "npm start") {
      expect(await (await fetch((await owner.host?.page()) ?? "")).text()).toContain("<title>");
      const client = await TestClient.connect((await owner.host?.url()) ?? "");
      await client.expect("halloween/heartbeat/status/availability", "online");
      await client.command("lantern", "ping hello");
      await client.expect("halloween/lantern/telemetry/pong", "hello");
    }
  }
  await owner.host?.stop();
  owner.host = undefined;
  const { folder } = owner;
  owner.cwd = folder;

  // Run again, it changes nothing.
  const before = await owner.sh("git status --porcelain");
  expect(await owner.sh("npx worker-host init --yes")).toContain("nothing was written");
  expect(await owner.sh("git status --porcelain")).toBe(before);

  // The table says what there is.
  const rows = [...DOCS.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell = ""]) => cell.replaceAll("`", "").split(", "));
  const files = (await owner.sh("git ls-files")).trim().split("\n");
  const own = files.filter((file) => !/\.tgz$|^props\/(?!lantern)/.test(file));
  expect(
    own.filter((file) => !rows.some((row) => file === row || (row.endsWith("/") && file.startsWith(row)))),
  ).toEqual([]);
  expect(rows.filter((row) => !files.some((file) => file.startsWith(row)))).toEqual([]);

  // Types, packages of a prop's own, and mistakes.
  await owner.sh("npx tsc");
  writeFiles(folder, {
    "props/lab/backend/worker.ts": workerSource(
      "do_ping() { this.telemetry('pong', word); }",
      "import { word } from 'words';",
    ),
    "props/lab/package.json": '{"type": "module", "dependencies": {"words": "file:./words"}}',
    "props/lab/words/package.json":
      '{"name": "words", "type": "module", "exports": {"types": "./index.d.ts", "default": "./index.js"}}',
    "props/lab/words/index.js": 'export const word = "hello";',
    "props/lab/words/index.d.ts": "export const word: string;",
  });
  await expect(owner.sh("npx worker-host check lab")).rejects.toThrow(/npx worker-host install/);
  expect(await owner.sh("npx worker-host install")).toContain("npm install in props/lab");
  expect(await owner.sh("npx worker-host install")).toContain("nothing to install");
  expect(await owner.sh("npx worker-host check")).toMatch(/^ok {6}lab$/m);
  writeFiles(folder, { "props/lab/backend/worker.ts": workerSource("do_ping(text: string) { text.nothing(); }") });
  await expect(owner.sh("npx worker-host check lab")).rejects.toThrow(/TS2339/);

  // What docs/recipes.md says of packages: the first block, since the other one needs Docker.
  const [, block = ""] = /^```sh\n([\s\S]*?)^```$/m.exec(readFileSync(join(ROOT, "docs/recipes.md"), "utf8")) ?? [];
  const colour = "do_red() { this.telemetry('red', colord('#f00').toHex()); }";
  writeFiles(folder, { "props/lamp/backend/worker.ts": workerSource(colour, 'import { colord } from "colord";') });
  await expect(owner.sh("npx worker-host check lamp")).rejects.toThrow(/"colord"/);
  await owner.sh(block);
  expect(await owner.sh("npx worker-host check lamp")).toMatch(/^ok {6}lamp$/m);
  rmSync(join(folder, "props/lamp"), { recursive: true });

  // What Docker and systemd would run.
  const [binary = ""] = /\S+bin\.cjs/.exec(readFileSync(join(folder, "systemd/worker-host.service"), "utf8")) ?? [];
  expect(existsSync(join(folder, binary))).toBe(true);
  const [, home = ""] =
    /^WorkingDirectory=(.*)$/m.exec(readFileSync(join(folder, "systemd/worker-host.service"), "utf8")) ?? [];
  for (const line of LINES.filter((each) => /git clone|npm ci --omit|sudo cp/.test(each))) expect(line).toContain(home);
  const places = mounts(compose({}, folder).services.worker_host);
  expect(places.get("/app/worker-host.yaml")).toEqual({ source: "./worker-host.yaml", readOnly: true });
  const image = await composed(folder, ["heartbeat", "lantern", "fogger"]);
  expect(existsSync(join(image.cwd, "node_modules/vitest"))).toBe(false);

  // Where there is no compiler, it says which one to install.
  owner.cwd = image.cwd;
  rmSync(join(image.cwd, "node_modules/typescript"), { recursive: true });
  const install = /npm install --save-dev typescript @types\/node/;
  expect(await owner.sh(`node ${binary} check lantern`)).toMatch(install);
  expect(await owner.sh(`node ${binary} new prop lamp`)).toMatch(install);
});

test("the package holds what comes along, and nothing that is for us alone", async () => {
  const packed = await run("npm", ["pack", "--ignore-scripts", "--json", "--dry-run"], {
    cwd: ROOT,
    maxBuffer: 2 ** 24,
  });
  const [{ files, size }] = JSON.parse(packed.stdout) as [{ files: { path: string }[]; size: number }];
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
      "props/fogger/backend/worker.test.ts",
      "props/fogger/firmware/firmware.ino",
      "props/lib/HalloweenProp/src/HalloweenProp.h",
      "props/lib/host/Makefile",
      "templates/project/gitignore",
      "docs/your-own-haunt.md",
      "systemd/worker-host.service",
      "CHANGELOG.md",
      "LICENSE",
      "README.md",
    ]),
  );
  expect(paths.filter((path) => /^test\/|^bench|\.ci|buildinfo|node_modules|secrets\.h$/.test(path))).toEqual([]);
  expect(size).toBeLessThan(5_000_000);
});
