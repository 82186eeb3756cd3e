import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { canConnect, freePort } from "../../bench/ports.mjs";
import { atEnd } from "./ending.ts";
import { makeFolder } from "./folder.ts";
import { runCli } from "./host.ts";

/** `worker-host access …` in a folder. */
export async function access(cwd: string, ...args: string[]) {
  return runCli(["access", ...args], { cwd });
}

/** A folder with a user of each role; their passwords by name. `init` is what its first command is given. */
export async function makeAccess(...init: string[]): Promise<{ cwd: string; passwords: Map<string, string> }> {
  const cwd = makeFolder();
  expect((await access(cwd, "init", ...init)).code).toBe(0);
  const passwords = new Map<string, string>();
  for (const [name, role, ...more] of [
    ["fogger_hw", "board"],
    ["lamp", "board"],
    ["ext", "worker", "--also", "readwrite zigbee2mqtt/#"],
    ["gate", "operator"],
    ["wall", "viewer"],
  ] as const) {
    const { code, stdout } = await access(cwd, "add", name, "--role", role, ...more);
    expect(code).toBe(0);
    passwords.set(name, stdout.trim());
  }
  const env = readFileSync(join(cwd, ".env"), "utf8");
  passwords.set("worker_host", /^MQTT_PASSWORD=(.+)$/m.exec(env)?.[1] ?? "");
  return { cwd, passwords };
}

/** mosquitto with the files of `access` as they are mounted, but for ports and folders. */
export async function startGuardedBroker(cwd: string): Promise<{ port: number; tlsPort: number; pid: number }> {
  const [port, tlsPort] = [await freePort(), await freePort()];
  const [mounted, data] = [join(cwd, "access/mosquitto"), makeFolder()];
  const config = readFileSync(join(mounted, "mosquitto.conf"), "utf8")
    .replace(/^listener 1883$/m, `listener ${port} 127.0.0.1`)
    .replace(/^listener 8883$/m, `listener ${tlsPort} 127.0.0.1`)
    .replace(/^persistence_location .*$/m, `persistence_location ${data}/`)
    .replaceAll("/mosquitto/access", mounted);
  writeFileSync(join(data, "mosquitto.conf"), `user root\n${config}`);
  const child = spawn("mosquitto", ["-c", join(data, "mosquitto.conf")], { stdio: "ignore" });
  const exited = once(child, "exit").then(() => true);
  atEnd(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  while (!(await canConnect(port))) {
    const over = await Promise.race([exited, new Promise((resolve) => setTimeout(resolve, 10))]);
    if (over) throw new Error("mosquitto did not start with these files");
  }
  return { port, tlsPort, pid: child.pid ?? 0 };
}
