import { chmodSync, chownSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { type Files, makeFolder, workerSource, writeFiles } from "./harness/folder.ts";
import { BIN, runCli, startHost } from "./harness/host.ts";

const PING = workerSource("do_ping() { this.telemetry('pong', 1); }");
const says = (word: string) =>
  workerSource(`async start() { await super.start(); this.telemetry("says", "${word}"); }`);

/** Of the user that is nobody in particular. */
const UID = 65534;
/** Of root too, without root's way past what it may not read: it reads the checkout wherever that is. */
const WITHOUT_PRIVILEGE: [string, ...string[]] = [
  "setpriv",
  "--bounding-set=-dac_override,-dac_read_search",
  process.execPath,
  BIN,
];

/** Props that the host can read. */
function makeHaunt(files: Files): { cwd: string; props: string } {
  const cwd = makeFolder({ "props/good/backend/worker.ts": PING });
  const props = join(cwd, "props");
  writeFiles(props, files);
  return { cwd, props };
}

/** Another user's, and nobody else's to read. */
function hide(path: string): void {
  chownSync(path, UID, UID);
  chmodSync(path, 0o700);
}

async function run(files: Files, prepare: (props: string) => void = () => {}) {
  const haunt = makeHaunt(files);
  prepare(haunt.props);
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, cwd: haunt.cwd, command: WITHOUT_PRIVILEGE });
  return { ...haunt, client, host };
}

test.runIf(process.getuid?.() === 0)(
  "a folder that the host's user can't read is named, and the other props run",
  async () => {
    const { client, host, props } = await run(
      { "x/backend/worker.ts": PING, "y/backend/worker.ts": PING, "z/backend/worker.ts": PING, "z/firmware/z.ino": "" },
      (folder) => {
        mkdirSync(join(folder, "lost+found"));
        for (const path of ["lost+found", "x", "y/backend", "z/firmware"]) hide(join(folder, path));
      },
    );
    await client.expect("halloween/good/status/availability", "online");
    await client.expect("halloween/z/status/availability", "online");
    await host.logged(/props\/lost\+found\/backend: can't be read \(EACCES\): let the user of the host read it/);
    await host.logged(/props\/z\/firmware: can't be read \(EACCES\)/);
    for (const id of ["x", "y"]) {
      const runstate = await client.expect(`halloween/${id}/status/runstate`, /"failed"/);
      expect(runstate).toContain(`props/${id}/backend: can't be read (EACCES): let the user of the host read it`);
    }
    // What can be read by now runs, and its edits are seen.
    for (const path of ["x", "y/backend"]) chmodSync(join(props, path), 0o755);
    await client.expect("halloween/x/status/availability", "online");
    await client.expect("halloween/y/status/availability", "online");
    for (const id of ["x", "y"]) {
      writeFiles(props, { [`${id}/backend/worker.ts`]: says("one") });
      await client.expect(`halloween/${id}/telemetry/says`, "one");
    }
  },
);

test.runIf(process.getuid?.() === 0)(
  "one that can't be read any more stops nothing, and edits of the others are taken in",
  async () => {
    const { client, host, props } = await run({
      "x/backend/worker.ts": PING,
      "many/backend/worker.ts": PING,
      "many/backend/config.yaml": "worker: { instances: { one: {}, two: {} } }\n",
      "late/backend/worker.ts": says("one"),
    });
    for (const id of ["x", "one", "two"]) await client.expect(`halloween/${id}/status/availability`, "online");
    hide(join(props, "x"));
    hide(join(props, "many/backend"));
    writeFiles(props, { "late/backend/worker.ts": says("two") });
    await client.expect("halloween/late/telemetry/says", "two");
    await client.expect(
      "halloween/x/status/error",
      /props\/x\/backend: can't be read \(EACCES\).*; the old one runs on$/,
    );
    // The folder of all props, too.
    hide(props);
    await client.command("worker_host", { action: "rescan", reply_to: "halloween/cli/reply/1" });
    expect(JSON.parse(await client.expect("halloween/cli/reply/1"))).toMatchObject({ status: "ok" });
    await host.logged(/props: can't be read \(EACCES\)/);
    chmodSync(props, 0o755);
    await client.command("x", "ping");
    await client.expect("halloween/x/telemetry/pong", "1");
    for (const id of ["x", "one", "two", "good"]) {
      expect(client.texts(`halloween/${id}/status/availability`)).toEqual(["online"]);
    }
    writeFiles(props, { "late/backend/worker.ts": says("three") });
    await client.expect("halloween/late/telemetry/says", "three");
  },
);

test.runIf(process.getuid?.() === 0).each(["check", "doctor"])(
  "%s names what can't be read, and looks at the rest",
  async (command) => {
    const { cwd, props } = makeHaunt({ "x/backend/worker.ts": PING });
    mkdirSync(join(props, "lost+found"));
    for (const path of ["lost+found", "x"]) hide(join(props, path));
    const args = [command, "--disable-all-builtins", "--broker-port", "0"];
    const { code, stdout, stderr } = await runCli(args, { cwd, command: WITHOUT_PRIVILEGE });
    const all = `${stdout}${stderr}`;
    expect(all).toMatch(/props\/x\/backend: can't be read \(EACCES\): let the user of the host read it/);
    expect(all).toMatch(/props\/lost\+found\/backend: can't be read \(EACCES\)/);
    if (command === "check") expect(stdout).toMatch(/^failed {2}x$/m);
    if (command === "check") expect(stdout).toMatch(/^ok {6}good$/m);
    expect(code).toBe(1);
  },
);

test("with CHOKIDAR_USEPOLLING=1, an edit is taken in", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = makeFolder({ "lab/backend/worker.ts": says("one"), "lab/backend/config.yaml": "" });
  await startHost({ broker, args: ["--props", props], env: { CHOKIDAR_USEPOLLING: "1" } });
  await client.expect("halloween/lab/telemetry/says", "one");
  for (const word of ["two", "three"]) {
    writeFiles(props, { "lab/backend/worker.ts": says(word) });
    await client.expect("halloween/lab/telemetry/says", word);
  }
  writeFiles(props, { "late/backend/worker.ts": PING });
  await client.expect("halloween/late/status/availability", "online");
});

test("links to a folder above, or to one folder twice, are followed once at most; all edits are seen", async () => {
  const cwd = makeFolder({ "shared/backend/worker.ts": PING, "shared/backend/config.yaml": "level: 1\n" });
  const worker = workerSource(
    "static config = z.object({ level: z.number() });\n async start() { await super.start(); this.telemetry('level', this.config.level); }",
    'import { z } from "worker-host";',
  );
  writeFiles(cwd, { "shared/backend/worker.ts": worker, "props/good/backend/worker.ts": says("one") });
  const props = join(cwd, "props");
  const deep = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`stuff/${i}/a/b/c/file.txt`, "x"]));
  writeFiles(cwd, deep);
  for (const name of ["a", "b"]) symlinkSync("../shared", join(props, name));
  for (const name of ["up", "over"]) symlinkSync("..", join(props, name));
  for (const name of ["root", "again"]) symlinkSync("/", join(props, "good", name));
  symlinkSync(".", join(props, "good/backend/self"));
  symlinkSync("../../good", join(props, "good/backend/self2"));
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, cwd });
  for (const id of ["a", "b"]) await client.expect(`halloween/${id}/telemetry/level`, "1");
  writeFiles(cwd, { "shared/backend/config.yaml": "level: 2\n" });
  for (const id of ["a", "b"]) await client.expect(`halloween/${id}/telemetry/level`, "2");
  writeFiles(props, { "good/backend/worker.ts": says("two") });
  await client.expect("halloween/good/telemetry/says", "two");
});
