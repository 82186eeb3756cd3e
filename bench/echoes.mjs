/** The baselines, each a process of its own. */
import { fork, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { atExit } from "./at-exit.mjs";

/** @param {string} name */
const beside = (name) => fileURLToPath(new URL(name, import.meta.url));

/**
 * @typedef {object} Echoes
 * @property {(what: string) => Promise<import("./probe.mjs").Probed>} probe
 * @property {() => Promise<void>} stop
 */

/** Bare mqtt.js clients, all in one process. @param {import("./echo.mjs").EchoOptions} options @returns {Promise<Echoes>} */
export async function startEchoes(options) {
  const child = fork(beside("echo.mjs"), [JSON.stringify(options)]);
  await once(child, "message");
  return {
    probe: async (what) => {
      child.send(what);
      const [probed] = await once(child, "message");
      return probed;
    },
    stop: async () => {
      child.disconnect();
      await once(child, "exit");
    },
  };
}

/** Builds the client in C; undefined where no compiler or no libmosquitto is there. */
export function buildEchoInC() {
  const folder = mkdtempSync(join(tmpdir(), "worker-host-bench-"));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  const path = join(folder, "echo");
  const { status } = spawnSync("cc", ["-O2", "-Wall", "-Werror", "-o", path, beside("echo.c"), "-lmosquitto"]);
  atExit(remove);
  return status === 0 ? path : undefined;
}

/** @param {string} path of the built one @param {string} url @param {string} id */
export async function startEchoInC(path, url, id) {
  const child = spawn(path, [new URL(url).port, id], { stdio: ["ignore", "pipe", "inherit"] });
  const done = atExit(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return async () => {
    child.kill();
    await once(child, "exit");
    done();
  };
}
