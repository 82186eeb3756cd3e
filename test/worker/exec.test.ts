import { writeFileSync } from "node:fs";
import { join } from "node:path";
import pino from "pino";
import { expect, onTestFinished, test, vi } from "vitest";
import { systemClock } from "../../worker-host/base/clock.ts";
import { Scope } from "../../worker-host/base/scope.ts";
import { type ExecOptions, execIn } from "../../worker-host/worker/exec.ts";
import { startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { makeFolder, workerSource } from "../harness/folder.ts";
import { runCli, startHost } from "../harness/host.ts";
import { Happenings, patiently } from "../harness/wait.ts";

function make() {
  const lines = new Happenings<string>();
  const groups = new Map<number, boolean>();
  const scope = new Scope({ id: "lab", log: pino({ level: "silent" }), report: () => {} }, systemClock);
  const dir = makeFolder();
  onTestFinished(() => scope.end());
  const context = {
    dir,
    log: (line: string) => lines.add(line),
    onGroup: (pid: number, alive: boolean) => void groups.set(pid, alive),
  };
  const exec = (file: string, args: (string | number)[] = [], options: ExecOptions = {}) =>
    execIn(scope, file, args, options, context);
  return {
    scope,
    dir,
    lines,
    groups,
    exec,
    sh: (script: string, options?: ExecOptions) => exec("sh", ["-c", script], options),
  };
}

/** Fulfils when nobody has that process id. */
async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("it gives what the program wrote, logs it by the line, and runs it in the worker's folder", async () => {
  const { dir, lines, groups, exec, sh } = make();
  expect(await sh("pwd; echo two; printf three; echo four >&2")).toEqual({
    stdout: `${dir}\ntwo\nthree`,
    stderr: "four\n",
  });
  expect([...lines.all].sort()).toEqual([dir, "four", "three", "two"].sort());
  expect(await exec("echo", ["$HOME", "a b", 5])).toMatchObject({ stdout: "$HOME a b 5\n" });
  expect(await exec("cat", [], { input: "to it", cwd: "/" })).toMatchObject({ stdout: "to it" });
  expect([...groups.values()]).toEqual([false, false, false]);
});

test("an exit code, a signal, and a program that is not there are told", async () => {
  const { exec, sh } = make();
  await expect(sh("echo first >&2; echo no device >&2; exit 3")).rejects.toMatchObject({
    name: "ExecError",
    code: "failed",
    exitCode: 3,
    message: "sh ended with exit code 3: no device",
  });
  await expect(sh("kill -9 $$")).rejects.toMatchObject({
    code: "failed",
    signal: "SIGKILL",
    message: "sh ended by SIGKILL",
  });
  await expect(exec("no-such-player")).rejects.toMatchObject({
    code: "not_found",
    message: 'there is no program "no-such-player" on this machine: install it, or give its path',
  });
  await expect(exec("ls", [], { cwd: "/nowhere" })).rejects.toThrow("exec ls: there is no folder /nowhere");
});

test("with its scope it ends, and all that it started, what ignores SIGTERM too", async () => {
  const { scope, lines, sh } = make();
  const running = sh(
    "trap '' TERM; sleep 1000 & echo $!; (trap '' TERM; while :; do sleep 1; done) & echo $!; wait; wait; sleep 1000",
  );
  const ended = expect(running).rejects.toMatchObject({ name: "AbortError" });
  await lines.find(() => lines.all.length === 2, "two process ids");
  scope.end();
  await ended;
  await Promise.all(lines.all.map((pid) => gone(Number(pid))));
  await scope.idle();
});

test("what a program leaves behind doesn't outlive it", async () => {
  const { sh } = make();
  const { stdout } = await sh("sleep 1000 & echo $!");
  await gone(Number(stdout));
});

test("after its timeout it is killed", async () => {
  const { sh } = make();
  await expect(sh("sleep 1000", { timeoutMs: 50 })).rejects.toMatchObject({
    code: "timeout",
    message: "sh took longer than 50 ms",
  });
});

test("however much it writes, only the end is kept, from the start of a line", async () => {
  const { dir, lines, exec } = make();
  writeFileSync(
    join(dir, "flood.mjs"),
    `for (let i = 0; i < 200_000; i++) console.log("line " + i); process.stdout.write("x".repeat(100_000));`,
  );
  const { stdout } = await exec(process.execPath, ["flood.mjs"]);
  expect(stdout.length).toBeLessThanOrEqual(65_536);
  const { stdout: bytes } = await exec("printf", ["\\\\377\\\\376 ok"]);
  expect(bytes).toMatch(/ ok$/);
  expect(lines.all.filter(({ length }) => length > 4096)).toEqual([]);
});

test("in a scope that has ended nothing runs; odd arguments are refused", async () => {
  const { scope, groups, exec } = make();
  await expect(exec("echo", ["a\0b"])).rejects.toThrow("exec: an argument has a NUL byte in it");
  await expect(exec("echo", [{} as never])).rejects.toThrow("exec: expected texts as arguments, got object");
  await expect(exec("")).rejects.toThrow('exec: expected a program, got ""');
  scope.end();
  await expect(exec("echo")).rejects.toMatchObject({ name: "AbortError" });
  expect(groups.size).toBe(0);
});

test.each([
  ["its process", "runner"],
  ["the host", "host"],
] as const)("what a worker runs ends with %s, killed as it may be", async (_, victim) => {
  const source = workerSource(
    `do_play() { return this.exec("sh", ["-c", "trap '' TERM; echo $$; sleep 1000"]); }
    do_where() { this.telemetry("pid", process.pid); }`,
  );
  const host = await startHost({ props: { "lab/backend/worker.ts": source } });
  const client = await TestClient.connect(await host.url());
  await client.command("lab", "play");
  const { msg } = await host.logged(/^sh: \d+$/);
  await client.command("lab", "where");
  const runner = Number(await client.expect("halloween/lab/telemetry/pid"));
  process.kill(victim === "runner" ? runner : host.pid, "SIGKILL");
  await gone(Number(msg.slice("sh: ".length)));
});

test("what it started has its time to end, too", async () => {
  const { scope, lines, sh } = make();
  const running = sh(`sh -c 'trap "echo cleaned; exit" TERM; echo ready; while :; do sleep 0.01; done' & wait`);
  const ended = expect(running).rejects.toMatchObject({ name: "AbortError" });
  await lines.find((line) => line === "ready", "ready");
  scope.end();
  await ended;
  expect(lines.all).toContain("cleaned");
});

test.each([
  ["exits", "read go", { stdout: /^daemon \d+\n$/ }],
  ["is killed", "sleep 1000", { name: "AbortError" }],
])("a daemon that holds its output open doesn't hold it up when it %s", async (_, then, outcome) => {
  const { scope, dir, lines, sh } = make();
  const running = sh(`mkfifo go; setsid sh -c 'echo daemon $$; exec sleep 1000' & exec < go; ${then}`);
  const settled = running.then(
    ({ stdout }) => expect(stdout).toMatch((outcome as { stdout: RegExp }).stdout),
    (error: unknown) => expect(error).toMatchObject(outcome),
  );
  const pid = Number((await lines.find((line) => line.startsWith("daemon"), "the daemon")).split(" ")[1]);
  onTestFinished(() => void process.kill(pid, "SIGKILL"));
  writeFileSync(join(dir, "go"), "go\n");
  if (then !== "read go") scope.end();
  await patiently(settled, () => "its end");
});

test("what can't be killed doesn't keep the scope's end from others", async () => {
  const { scope, lines, sh } = make();
  const running = sh("echo up; read go", { timeoutMs: 60_000 });
  await lines.find((line) => line === "up", "up");
  const kill = vi.spyOn(process, "kill").mockImplementationOnce(() => {
    throw Object.assign(new Error("kill EPERM"), { code: "EPERM" });
  });
  onTestFinished(() => kill.mockRestore());
  let off = false;
  const held = scope.hold(
    1_000_000,
    () => {},
    () => {
      off = true;
    },
  );
  scope.end();
  expect(off).toBe(true);
  expect(lines.all).toContain("SIGTERM is not permitted: it runs as another user");
  await expect(held).rejects.toMatchObject({ name: "AbortError" });
  await expect(running).rejects.toMatchObject({ name: "AbortError" });
});

test("what can't be run says so; odd options are refused before anything runs", async () => {
  const { groups, exec } = make();
  await expect(exec("echo", ["x".repeat(3_000_000)])).rejects.toMatchObject({
    name: "ExecError",
    code: "failed",
    message: "echo can't be run: spawn E2BIG",
  });
  await expect(exec("cat", [], { input: 5 as never })).rejects.toThrow(
    "exec cat: expected a text as input, got number",
  );
  for (const timeoutMs of [Number.NaN, Number.POSITIVE_INFINITY, -1, "5" as never])
    await expect(exec("echo", [], { timeoutMs })).rejects.toThrow(
      /exec echo: timeoutMs is .*: expected a number of ms/,
    );
  expect(groups.size).toBe(0);
});

test("neither a worker nor a program that it runs has the broker's password in its environment", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const worker = workerSource(
    `async do_env() {
      const { stdout } = await this.exec("env", []);
      return { kept: process.env.LAMP_TOKEN, all: stdout + JSON.stringify(process.env) };
    }`,
    "for (const [name, value] of Object.entries(process.env)) if (/pa55word/.test(String(value))) throw new Error(name);",
  );
  const props = makeFolder({
    "lab/backend/worker.ts": worker,
    "own/backend/worker.ts": worker,
    "own/backend/config.yaml": "worker: { isolation: own }\n",
  });
  const env = {
    ...{ MQTT_URL: `mqtt://haunt:pa55word@127.0.0.1:${broker.port}`, MQTT_USERNAME: "haunt" },
    ...{ MQTT_PASSWORD: "pa55word", LAMP_TOKEN: "t0ken" },
  };
  await startHost({ args: ["--props", props], env });
  for (const id of ["lab", "own"]) {
    await client.command(id, { action: "env", reply_to: `halloween/cli/reply/${id}` });
    const { result } = JSON.parse(await client.expect(`halloween/cli/reply/${id}`));
    expect(result.kept).toBe("t0ken");
    expect(result.all).toContain("t0ken");
    expect(result.all).not.toMatch(/pa55word|MQTT_PASSWORD|MQTT_URL/);
  }
  const checked = await runCli(["check", "--props", props], { env });
  expect(checked.stdout + checked.stderr).not.toMatch(/MQTT_PASSWORD|MQTT_URL/);
});
