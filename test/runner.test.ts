import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { RunnerSetup, ToRunner } from "../worker-host/worker/messages.ts";
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
  const runner = fork(join(ROOT, "dist/runner.js"), [], {
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  onTestFinished(() => {
    runner.kill("SIGKILL");
  });
  let said = "";
  runner.stderr?.on("data", (data) => {
    said += String(data);
  });
  const exit = once(runner, "close");
  const send = (message: ToRunner) => runner.send(message);
  const blackBox = join(makeFolder(), "gone", "black_box");
  send({ type: "setup", setup: SETUP, blackBox });
  send({ type: "gate", open: true });
  expect(await patiently(exit, () => `its end; it said:\n${said.slice(0, 1000)}`)).toEqual([null, "SIGKILL"]);
  expect(said).toMatch(
    /^this process of workers can't be set up: Error: ENOENT: no such file or directory, open '.*'\n$/,
  );
});

test("the public module is loaded before any worker: Node can't require() one that is still being imported", () => {
  expect(readFileSync(join(ROOT, "dist/runner.js"), "utf8")).toMatch(/^import "\.\/index\.js";$/m);
});
