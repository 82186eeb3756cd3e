import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import type { RunnerSetup, ToRunner } from "../worker-host/worker/channel.ts";
import { makeFolder } from "./harness/folder.ts";
import { ROOT } from "./harness/host.ts";
import { patiently } from "./harness/wait.ts";

const SETUP: RunnerSetup = {
  broker: { url: "mqtt://127.0.0.1:1", protocolVersion: 5 },
  prefix: "halloween",
  hostName: "worker_host",
  log: { level: "info", pretty: false, kept: false },
  allStop: false,
  gateOpen: false,
};

test("a runner that can't be set up says why, and ends", async () => {
  const runner = spawn(process.execPath, [join(ROOT, "worker-host/runner.cjs")], {
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  onTestFinished(() => {
    runner.kill("SIGKILL");
  });
  let said = "";
  runner.stderr?.on("data", (data) => {
    said += String(data);
  });
  const exit = once(runner, "close");
  const send = (message: ToRunner) => (runner.stdio[3] as Writable).write(`${JSON.stringify(message)}\n`);
  const blackBox = join(makeFolder(), "gone", "black_box");
  send({ type: "setup", setup: SETUP, blackBox });
  send({ type: "gate", open: true });
  expect(await patiently(exit, () => `its end; it said:\n${said.slice(0, 1000)}`)).toEqual([null, "SIGKILL"]);
  expect(said).toMatch(
    /^this process of workers can't be set up: Error: ENOENT: no such file or directory, open '.*'\n$/,
  );
});

test.each([
  ["a host", "cli", []],
  ["a process of workers", "worker", ["--enable-source-maps", "--inspect-port=0", "--max-old-space-size=640"]],
])("%s has nothing to compile that the build compiled", (_what, bundle, flags) => {
  const load = JSON.stringify(join(ROOT, "worker-host/load.cjs"));
  const code = `const { load, bundles } = require(${load}); load("${bundle}"); bundles.get("${bundle}").script.cachedDataRejected`;
  expect(execFileSync(process.execPath, [...flags, "-p", code], { encoding: "utf8" })).toBe("false\n");
});
