import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atExit } from "./at-exit.mjs";
import { canConnect, freePort } from "./ports.mjs";

/** mosquitto writes its version to its help text. */
export function mosquittoVersion() {
  const { stdout, error } = spawnSync("mosquitto", ["-h"], { encoding: "utf8" });
  return error ? undefined : (/version (\S+)/.exec(stdout)?.[1] ?? "of unknown version");
}

/**
 * A mosquitto of our own, on 127.0.0.1.
 *
 * @param {number} [port] a free one if not given
 * @returns {Promise<{ pid: number, port: number, stop: () => Promise<void> }>}
 */
export async function startMosquitto(port) {
  const folder = mkdtempSync(join(tmpdir(), "worker-host-bench-"));
  port ??= await freePort();
  const config = [
    `listener ${port} 127.0.0.1`,
    "allow_anonymous true",
    "set_tcp_nodelay true",
    "persistence false",
    "",
  ];
  writeFileSync(join(folder, "mosquitto.conf"), config.join("\n"));
  const child = spawn("mosquitto", ["-c", join(folder, "mosquitto.conf")], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (data) => {
    said += String(data);
  });
  const remove = () => rmSync(folder, { recursive: true, force: true });
  const done = atExit(() => {
    child.kill("SIGKILL");
    remove();
  });
  const exited = once(child, "exit");
  while (!(await canConnect(port))) {
    if (child.exitCode !== null) throw new Error(`mosquitto ended: ${said}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return {
    pid: Number(child.pid),
    port,
    stop: async () => {
      child.kill();
      await exited;
      done();
      remove();
    },
  };
}

/** @param {string} broker @returns {Promise<Awaited<ReturnType<typeof startMosquitto>> | undefined>} undefined: the host's own is wanted */
export async function startBroker(broker) {
  return broker === "mosquitto" ? startMosquitto() : undefined;
}
