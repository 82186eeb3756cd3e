import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { atExit } from "./at-exit.mjs";
import { argumentsOf, childrenOfAll } from "./processes.mjs";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** @param {string} name */
const beside = (name) => fileURLToPath(new URL(name, import.meta.url));
/** Each prop has it as a file of its own, as props do. */
const PLAIN = readFileSync(beside("worker.ts"), "utf8");
const PROBED = `export { Worker } from ${JSON.stringify(beside("probed-worker.ts"))};\n`;

/** @param {number} count of props */
export const propIds = (count) => Array.from({ length: count }, (_, index) => `prop_${index}`);

/** What the host says on standard output, a line each. @typedef {{ msg: string, port?: number }} LogLine */

/**
 * A worker-host started with `npm start`, as a person does.
 *
 * @typedef {object} HostProcess
 * @property {() => number[]} processes the host's and all that it started; npm's is none of them
 * @property {number} startedAt on the clock of `performance.now()`
 * @property {string} url the broker's
 * @property {string} props the folder
 * @property {Promise<number>} ready when it said so, on the clock of `performance.now()`
 * @property {() => Promise<void>} stop
 */

/**
 * @param {readonly string[]} ids of its props
 * @param {number | undefined} brokerPort the broker's on 127.0.0.1; without one, the embedded broker runs
 * @param {{ own?: readonly string[], probed?: readonly string[] }} [options] those that run in a process of
 *   their own; those that have the commands of `probed-worker.ts` too
 * @returns {Promise<HostProcess>} as soon as it has said where its broker is
 */
export async function startHost(ids, brokerPort, { own = [], probed = [] } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "worker-host-bench-"));
  const props = join(folder, "props");
  mkdirSync(props);
  for (const id of ids) {
    mkdirSync(join(props, id, "backend"), { recursive: true });
    writeFileSync(join(props, id, "backend/worker.ts"), probed.includes(id) ? PROBED : PLAIN);
    if (own.includes(id)) writeFileSync(join(props, id, "backend/config.yaml"), "worker:\n  isolation: own\n");
  }
  const broker =
    brokerPort === undefined ? ["--broker-port", "0"] : ["--mqtt-host", "127.0.0.1", "--mqtt-port", String(brokerPort)];
  const args = ["--props", props, "--data", join(folder, "data"), "--disable-all-builtins", ...broker];
  const env = Object.entries(process.env).filter(([name]) => !/^(MQTT_|WORKER_|LOG_LEVEL)/.test(name));

  const startedAt = performance.now();
  const child = spawn("npm", ["start", "--", ...args], {
    cwd: ROOT,
    env: Object.fromEntries(env),
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const remove = () => rmSync(folder, { recursive: true, force: true });
  // The host's runner ends with it, and so do the workers.
  const done = atExit(() => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-Number(child.pid), "SIGKILL");
    remove();
  });
  const exited = once(child, "close");
  const log = readLog(child);
  const listening = await log.find(/^(the embedded broker listens|using the broker)/);
  return {
    processes: () => hostProcesses(Number(child.pid)),
    startedAt,
    props,
    url: `mqtt://127.0.0.1:${brokerPort ?? listening.line.port}`,
    ready: log.find(/^ready$/).then(({ at }) => at),
    stop: async () => {
      process.kill(-Number(child.pid), "SIGINT");
      await exited;
      done();
      remove();
    },
  };
}

/** @param {number} npm */
function hostProcesses(npm) {
  const children = childrenOfAll();
  /** @param {number} root @returns {number[]} */
  const under = (root) => [root, ...(children.get(root) ?? []).flatMap(under)];
  const host = under(npm).find((pid) => argumentsOf(pid)[1] === "worker-host/bin.cjs");
  if (host === undefined) throw new Error("the host's process was not found");
  return under(host);
}

/** @param {import("node:child_process").ChildProcessByStdio<null, import("node:stream").Readable, import("node:stream").Readable>} child */
function readLog(child) {
  let said = "";
  /** @type {{ line: LogLine, at: number }[]} */
  const seen = [];
  /** @type {Set<() => void>} */
  const waiting = new Set();
  createInterface({ input: child.stdout }).on("line", (text) => {
    said += `${text}\n`;
    if (text.startsWith("{")) seen.push({ line: JSON.parse(text), at: performance.now() });
    for (const look of [...waiting]) look();
  });
  child.stderr.on("data", (data) => {
    said += String(data);
  });
  return {
    /** @param {RegExp} text @returns {Promise<{ line: LogLine, at: number }>} */
    find: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = seen.find(({ line }) => text.test(line.msg));
          if (!found) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        child.once("close", () => reject(new Error(`the host ended:\n${said}`)));
        look();
      }),
  };
}
