import { execFile } from "node:child_process";
import { chmodSync, existsSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { tsconfig } from "../worker-host/cli/new.ts";
import { resolveSettings } from "../worker-host/host/settings/settings.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, writeFiles } from "./harness/folder.ts";
import { cleanEnvironment, ROOT, runCli, startHost } from "./harness/host.ts";
import { linkedFolder } from "./harness/linked.ts";

const run = promisify(execFile);

test("new prop writes one that passes check, and runs, where nothing is installed", async () => {
  const cwd = makeFolder();
  const made = await runCli(["new", "prop", "lantern"], { cwd });
  expect(made).toMatchObject({ code: 0, stderr: "" });
  for (const path of ["backend/worker.ts", "backend/config.yaml", "README.md"]) {
    expect(made.stdout).toContain(`wrote props/lantern/${path}\n`);
  }
  expect(made.stdout).toContain("wrote tsconfig.json");
  expect(await runCli(["check", "lantern"], { cwd })).toEqual({ code: 0, stdout: "ok      lantern\n", stderr: "" });

  const host = await startHost({ cwd });
  const client = await TestClient.connect(await host.url());
  const lines = readFileSync(join(cwd, "props/lantern/README.md"), "utf8").matchAll(
    /mosquitto_pub -t (\S+) -m '(.+?)'/g,
  );
  const commands = [...lines].map(([, topic = "", text = ""]) => ({ topic, text }));
  expect(commands.map(({ text }) => text)).toEqual(["glow", "glow 2s", "stop", "ping"]);
  for (const { topic, text } of commands) await client.publish(topic, text);
  await client.expect("halloween/lantern/state", "glowing");
  await client.expect("halloween/lantern/telemetry/pong", "ok");
  await client.barrier();
  expect(client.texts("halloween/lantern/status/warn")).toEqual([]);
});

test("a second one shares the tsconfig; one that is somebody's own stays, and is told what to add", async () => {
  const cwd = makeFolder({ "haunt/tsconfig.json": "{}" });
  const { code, stdout } = await runCli(["new", "prop", "lantern", "--props", "haunt/props"], { cwd });
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /for your editor, add to compilerOptions in haunt\/tsconfig\.json: "paths": \{"worker-host":\["\/.*index\.d\.ts"\]/,
  );
  expect(readFileSync(join(cwd, "haunt/tsconfig.json"), "utf8")).toBe("{}");
  expect((await runCli(["check", "lantern", "--props", "haunt/props"], { cwd })).code).toBe(0);
});

test.each(["/props", "/haunt/props"])("the tsconfig beside %s takes in the props", (folder) => {
  expect(JSON.parse(tsconfig(folder))).toMatchObject({ include: ["props"] });
});

test.each([
  [[], /an id is missing; there is: npx worker-host new prop <id>/],
  [["prop", "mine", "--from", "fog"], /--from: no prop "fog" comes with worker-host; there are: coffin_jumper, /],
  [["prop", "fog machine"], /"fog machine" can't be an id: write it with letters, .* such as "fog_machine"/],
  [["prop", "broadcast"], /"broadcast" is reserved/],
  [["prop", "graph"], /"graph" is reserved for the builtin worker of that name: name it otherwise, such as "my_graph"/],
  [["prop", "../evil"], /"\.\.\/evil" can't be an id/],
  [["prop", "there"], /props\/there is there already: take another id, or remove it first/],
  [["worker", "lantern"], /there is no "worker" to make; there is: npx worker-host new prop <id>/],
])("new %j is refused, and writes nothing", async (args, says) => {
  const cwd = makeFolder({ "props/there/note.txt": "mine" });
  const { code, stderr } = await runCli(["new", ...args], { cwd });
  expect(stderr).toMatch(says);
  expect(code).toBe(2);
  expect(readdirSync(cwd, { recursive: true }).toSorted()).toEqual(["props", "props/there", "props/there/note.txt"]);
});

const SHIPPED = ["coffin_jumper", "example_prop", "fogger", "grave_shaker", "panic_button", "show"];
SHIPPED.push("sound_player", "wled_strip");

test("new --list has each shipped prop; --from makes it mine: its id, its links, its tests, which pass", {
  timeout: 120_000,
}, async () => {
  const cwd = linkedFolder({
    "worker-host.yaml": "mqtt_prefix: haunt\nbuiltins_disable: console\n",
    "vitest.config.ts": 'export { default } from "worker-host/vitest";\n',
  });
  const { stdout } = await runCli(["new", "--list"], { cwd });
  expect(stdout.split("\n").map((line) => line.split(" ")[0])).toEqual([...SHIPPED, ""]);
  expect(stdout).toMatch(/^fogger {10}A fog machine$/m);
  for (const id of SHIPPED) {
    const made = await runCli(["new", "prop", `my_${id}`, "--from", id], { cwd });
    expect(made, id).toMatchObject({ code: 0, stderr: "" });
    expect(made.stdout).toContain(`props/my_${id}/README.md says what it does`);
  }
  const mine = join(cwd, "props/my_fogger");
  expect(readFileSync(join(mine, "README.md"), "utf8")).toMatch(/mosquitto_pub -t haunt\/my_fogger\/cmd/);
  // The kind of a sketch is not its board's id.
  expect(readFileSync(join(mine, "firmware/firmware.ino"), "utf8")).toContain(
    '.kind = "fogger", .defaultId = "my_fogger_hw"',
  );
  const linked = [
    ["README.md", /\((\S+docs\/firmware\.md)\)/],
    ["firmware/sketch.yaml", /dir: (\S+HalloweenProp)/],
    ["firmware/platformio.ini", /lib_extra_dirs = (\S+)/],
  ] as const;
  for (const [file, pattern] of linked) {
    const [, link = ""] = pattern.exec(readFileSync(join(mine, file), "utf8")) ?? [];
    expect(existsSync(resolve(join(mine, file, ".."), link)), `${file}: ${link}`).toBe(true);
  }
  const checked = await runCli(["check"], { cwd });
  expect(checked).toMatchObject({ code: 0, stderr: "" });
  for (const id of SHIPPED.filter((each) => each !== "panic_button"))
    expect(checked.stdout).toContain(`ok      my_${id}\n`);
  const vitest = [join(cwd, "node_modules/vitest/vitest.mjs"), "run", "--reporter=json"];
  const tested = await run(process.execPath, vitest, { cwd, env: cleanEnvironment(), maxBuffer: 2 ** 24 });
  expect(JSON.parse(tested.stdout)).toMatchObject({ success: true, numPassedTestSuites: SHIPPED.length - 1 });
});

test("new never nests: in a prop's folder it writes beside that prop, or says where to go", async () => {
  const cwd = makeFolder({ "worker-host.yaml": "", "props/fogger/backend/worker.js": "" });
  expect((await runCli(["new", "prop", "lantern"], { cwd: join(cwd, "props/fogger/backend") })).code).toBe(0);
  expect(readdirSync(join(cwd, "props"))).toEqual(["fogger", "lantern"]);
  const bare = makeFolder({ "props/fogger/backend/worker.js": "" });
  for (const folder of ["props", "props/fogger"]) {
    const { code, stderr } = await runCli(["new", "prop", "lantern"], { cwd: join(bare, folder) });
    expect(stderr).toBe(`this is inside ${join(bare, "props")}, and props don't nest: go to ${bare}\n`);
    expect(code).toBe(2);
  }
});

/** All files of a folder, with what is in them. */
function filesOf(folder: string): Record<string, string> {
  const paths = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(paths.map((path) => [path, readFileSync(path, "utf8")]));
}

test("init makes a haunt that check passes; what was given is set; run again, it changes nothing", async () => {
  const cwd = makeFolder();
  const args = ["init", "--no-install"];
  const made = await runCli(
    [...args, "--yes", "--prop", "candle", "--mqtt-host", "10.0.0.9", "--mqtt-prefix", "haunt"],
    { cwd },
  );
  expect(made).toMatchObject({ code: 0, stderr: "" });
  expect(made.stdout).toMatch(/^wrote props\/candle\/backend\/worker\.test\.ts$/m);
  const settings = readFileSync(join(cwd, "worker-host.yaml"), "utf8");
  expect(parse(settings)).toEqual({ mqtt_host: "10.0.0.9", mqtt_prefix: "haunt" });
  expect(readFileSync(join(cwd, "docker-compose.yml"), "utf8")).toMatch(/MQTT_PREFIX: \$\{MQTT_PREFIX:-haunt\}/);
  expect(JSON.parse(readFileSync(join(cwd, "package.json"), "utf8"))).toMatchObject({
    type: "module",
    scripts: { start: "worker-host" },
    dependencies: { "worker-host": `file:${ROOT.replace(/\/$/, "")}` },
  });
  expect(await runCli(["check", "candle"], { cwd })).toMatchObject({ code: 0, stdout: "ok      candle\n" });

  const before = filesOf(cwd);
  expect((await runCli(args, { cwd })).stdout).toContain("nothing was written");
  expect(filesOf(cwd)).toEqual(before);
});

test("what the settings file of init shows behind # is what holds without it", async () => {
  const cwd = makeFolder();
  await runCli(["init", "--no-install", "--yes"], { cwd });
  const text = readFileSync(join(cwd, "worker-host.yaml"), "utf8");
  const settingsWith = (yaml: string) => {
    writeFiles(cwd, { "worker-host.yaml": yaml });
    return resolveSettings({ flags: new Map(), env: {}, cwd, shippedBuiltins: "/shipped" });
  };
  const set = text.replaceAll(/^# (?=[a-z_]+: \S)/gm, "");
  expect(Object.keys(parse(set)).length).toBeGreaterThan(20);
  const { embedded, ...rest } = settingsWith(text);
  expect(settingsWith(set)).toEqual({ ...rest, embedded: { ...embedded, isPortGiven: true } });
});

test("init asks; an answer that can't be is refused, and writes nothing", async () => {
  const ask = async (cwd: string, input: string) => {
    const child = run(process.execPath, [join(ROOT, "worker-host/bin.cjs"), "init", "--no-install"], {
      cwd,
      env: cleanEnvironment(),
    });
    child.child.stdin?.end(input);
    return child;
  };
  const cwd = makeFolder();
  const { stdout } = await ask(cwd, "candle\n10.0.0.9\n");
  expect(stdout.match(/\?/g)).toHaveLength(3);
  expect(readdirSync(join(cwd, "props"))).toEqual(["candle"]);
  expect(parse(readFileSync(join(cwd, "worker-host.yaml"), "utf8"))).toEqual({ mqtt_host: "10.0.0.9" });

  for (const [input, says] of [
    ["a b\n", /"a b" can't be an id/],
    ["\n\n#\n", /--mqtt-prefix: "#" can't start a topic/],
  ] as const) {
    const empty = makeFolder();
    await expect(ask(empty, input)).rejects.toMatchObject({ code: 2, stderr: expect.stringMatching(says) });
    expect(readdirSync(empty)).toEqual([]);
  }
});

test("init overwrites nothing: files stay, a package.json gets what it lacks, props that are there are the first ones", async () => {
  const own = { name: "ours", scripts: { test: "true" }, devDependencies: { vitest: "^3.0.0" } };
  const mine = { Dockerfile: "FROM mine\n", "props/fogger/backend/worker.js": "" };
  const cwd = makeFolder({ ...mine, "package.json": `\uFEFF${JSON.stringify(own, null, "\t")}` });
  const { code, stdout } = await runCli(["init", "--yes", "--no-install"], { cwd });
  expect(code).toBe(0);
  expect(stdout).not.toMatch(/Dockerfile|lantern/);
  expect(stdout).toContain('package.json: scripts.test stays "true"; a haunt\'s is "vitest run"\n');
  for (const [path, text] of Object.entries(mine)) expect(readFileSync(join(cwd, path), "utf8")).toBe(text);
  const text = readFileSync(join(cwd, "package.json"), "utf8");
  expect(text).toMatch(/^\{\n\t"name": "ours",\n/);
  // What its .js files mean stays, too.
  expect(JSON.parse(text)).not.toHaveProperty("type");
  expect(JSON.parse(text)).toMatchObject({
    ...own,
    scripts: { test: "true", start: "worker-host" },
    devDependencies: { vitest: "^3.0.0", typescript: expect.any(String) },
  });
});

test.each([
  [
    "in another haunt's folder",
    { "worker-host.yaml": "" },
    "sub",
    [],
    /this is inside another haunt, .*: take a folder of its own/,
  ],
  ["in a prop's folder", { "props/sub/backend/worker.js": "" }, "props/sub", [], /this is inside another haunt/],
  ["in worker-host itself", { "package.json": '{"name": "worker-host"}' }, ".", [], /this is worker-host itself/],
  ["with a package.json that is none", { "package.json": "[" }, ".", [], /package\.json: expected an object in JSON/],
  [
    "with scripts that are none",
    { "package.json": '{"scripts": "x"}' },
    ".",
    [],
    /package\.json: "scripts" is "x": expected an object; mend it first/,
  ],
  ["with settings that are there", { "worker-host.yaml": "" }, ".", ["--mqtt-host", "h"], /write mqtt_host .* into it/],
  [
    "with props that are there",
    { "props/note.txt": "" },
    ".",
    ["--prop", "a"],
    /props is there already: npx worker-host new prop/,
  ],
])("init is refused %s, and writes nothing", async (_, files, sub, args, says) => {
  const root = makeFolder({ ...files, [`${sub}/note.txt`]: "" });
  const before = filesOf(root);
  const { code, stderr } = await runCli(["init", "--yes", "--no-install", ...args], { cwd: join(root, sub) });
  expect(stderr).toMatch(says);
  expect(code).toBe(2);
  expect(filesOf(root)).toEqual(before);
});

test("install has npm install what props need, each in its folder, as far as it is not installed", async () => {
  const bin = makeFolder({
    // Not the real one, which test/install/ has: one that notes what it is told.
    npm: '#!/bin/sh\necho "$PWD $@" >> "$NOTES"\ncase $PWD in *broken) exit 1;; esac\nmkdir -p node_modules && touch node_modules/.package-lock.json\n',
  });
  chmodSync(join(bin, "npm"), 0o755);
  const needs = '{"dependencies": {"words": "1.0.0"}}';
  const cwd = makeFolder({
    "props/a/package.json": needs,
    "props/b/backend/package.json": needs,
    "props/_c/package.json": needs,
    "props/d/package.json": '{"dependencies": {}}',
    // An install that was interrupted.
    "props/e/package.json": needs,
    "props/e/node_modules/words/package.json": "{}",
    "props/f/note": "",
  });
  const notes = join(bin, "notes");
  const env = { PATH: `${bin}:${process.env.PATH}`, NOTES: notes };
  const install = async () => {
    writeFileSync(notes, "");
    const outcome = await runCli(["install"], { cwd, env });
    const told = readFileSync(notes, "utf8").split("\n").slice(0, -1);
    return { ...outcome, in: told.map((line) => relative(join(cwd, "props"), line.split(" ")[0] ?? "")) };
  };
  expect(await install()).toMatchObject({ code: 0, stderr: "", in: ["a", "b/backend", "e"] });
  expect(await install()).toMatchObject({ in: [], stdout: expect.stringContaining("nothing to install") });
  // A dependency that is added later.
  const later = new Date(Date.now() + 5_000);
  utimesSync(join(cwd, "props/a/package.json"), later, later);
  // What one prop lacks keeps no other from its packages.
  writeFiles(cwd, {
    "props/aa_broken/package.json": needs,
    "props/aa_odd/package.json": "{",
    "props/z/package.json": needs,
  });
  const failed = await install();
  expect(failed).toMatchObject({ code: 1, in: ["a", "aa_broken", "z"] });
  expect(failed.stderr).toContain("npm install in props/aa_broken failed");
  expect(failed.stderr).toMatch(/props\/aa_odd\/package\.json: expected an object in JSON/);
  const without = await runCli(["install"], { cwd, env: { PATH: makeFolder() } });
  expect(without).toMatchObject({ code: 1, stderr: expect.stringContaining("failed (spawn npm ENOENT)") });
});

test("new refuses the ids of builtin workers and of boards, and says where no haunt is", async () => {
  const cwd = makeFolder();
  for (const [id, says] of [
    ["heartbeat", /"heartbeat" is a builtin worker that comes with worker-host/],
    ["console", /"console" is reserved for the builtin worker/],
    ["fogger_hw", /"fogger_hw" is the id of the board of "fogger"/],
  ] as const)
    expect(await runCli(["new", "prop", id], { cwd })).toMatchObject({ code: 2, stderr: expect.stringMatching(says) });
  const first = await runCli(["new", "prop", "lamp"], { cwd });
  expect(first.stdout).toMatch(/^there was no haunt here; for all that belongs to one: npx worker-host init$/m);
  expect((await runCli(["new", "prop", "other"], { cwd })).stdout).not.toContain("there was no haunt");
  // A list for people has no markup.
  expect((await runCli(["new", "--list"], { cwd })).stdout).not.toMatch(/\]\(/);
});

test("init writes around a link that leads nowhere, and says where it may not write", async () => {
  const cwd = makeFolder();
  symlinkSync("nowhere", join(cwd, "worker-host.yaml"));
  expect(await runCli(["init", "--yes", "--no-install"], { cwd })).toMatchObject({ code: 0, stderr: "" });
  expect(existsSync(join(cwd, "worker-host.yaml"))).toBe(false);
  expect(existsSync(join(cwd, "props/lantern/backend/worker.ts"))).toBe(true);
  // The name of a folder that is needed is taken by a file.
  const taken = makeFolder({ systemd: "" });
  expect(await runCli(["init", "--yes", "--no-install"], { cwd: taken })).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/systemd\/worker-host\.service can't be written \((EEXIST|ENOTDIR)\): mend that/),
  });
});
