import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "./harness/host.ts";

const UNIT = readFileSync(join(ROOT, "systemd/worker-host.service"), "utf8");

/** A setting of the unit. */
function setting(name: string): string {
  return new RegExp(`^${name}=(.*)$`, "m").exec(UNIT)?.[1] ?? "";
}

test("the systemd unit starts node itself, with room for a thousand workers, and gives the host time to stop them", () => {
  const [env, node, file = ""] = setting("ExecStart").split(" ");
  expect([env, node]).toEqual(["/usr/bin/env", "node"]);
  expect(existsSync(join(ROOT, file))).toBe(true);
  expect(Number(setting("LimitNOFILE"))).toBeGreaterThan(10_000);
  // The host takes 40 s at most.
  expect(Number(setting("TimeoutStopSec"))).toBeGreaterThan(40);
  expect(setting("Restart")).toBe("always");
  // One that stands still doesn't feed it; test/faults/host.test.ts sees that.
  expect([setting("WatchdogSec"), setting("WatchdogSignal"), setting("NotifyAccess")]).toEqual([
    "30",
    "SIGKILL",
    "all",
  ]);
  expect(setting("WorkingDirectory")).toBe(setting("ReadWritePaths"));
});

test("docs/operating.md installs it as it is", () => {
  const docs = readFileSync(join(ROOT, "docs/operating.md"), "utf8");
  expect(docs).toContain(`--home-dir ${setting("WorkingDirectory").replace(/\/worker-host$/, "")} haunt`);
  expect(docs).toContain(`${setting("WorkingDirectory")}/systemd/worker-host.service /etc/systemd/system/`);
  expect(docs).toContain(setting("EnvironmentFile").replace(/^-/, ""));
});
