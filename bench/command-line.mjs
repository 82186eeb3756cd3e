import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { startBroker } from "./brokers.mjs";
import { propIds, ROOT, startHost } from "./host-process.mjs";
import { childrenCpuTimeMs } from "./processes.mjs";
import { row } from "./report.mjs";
import { interleave } from "./rounds.mjs";

const run = promisify(execFile);
const ROUNDS = 9;
/** The kernel counts CPU time in hundredths of a second: one process is too short for that. */
const TIMES = 5;
const CLI = ["worker-host/bin.cjs"];

/**
 * The CPU time of a command line, beside that of a Node that does nothing.
 *
 * @param {string} broker
 * @returns {Promise<import("./report.mjs").Row[]>}
 */
export async function measureCommandLine(broker) {
  const mosquitto = await startBroker(broker);
  const [id = ""] = propIds(1);
  const host = await startHost([id], mosquitto?.port);
  await host.ready;
  const { port } = new URL(host.url);
  const env = { ...process.env, MQTT_URL: `mqtt://127.0.0.1:${port}` };
  /** @param {string[]} args */
  const cpuOf = (args) => async () => {
    const before = childrenCpuTimeMs();
    for (let i = 0; i < TIMES; i++) await run(process.execPath, args, { cwd: ROOT, env });
    return (childrenCpuTimeMs() - before) / TIMES;
  };
  const { empty, help, send } = await interleave(ROUNDS, {
    empty: cpuOf(["-e", "0"]),
    help: cpuOf([...CLI, "--help"]),
    send: cpuOf([...CLI, "send", id, "ping", "hello"]),
  });
  await host.stop();
  await mosquitto?.stop();
  const common = { broker, unit: "ms", baselineName: "node -e 0", compared: /** @type {const} */ ("ratio") };
  return [
    row({ ...common, name: "CPU time, worker-host --help", target: { atMost: 2.5 } }, help, empty),
    row({ ...common, name: "CPU time, worker-host send", target: { atMost: 4 } }, send, empty),
  ];
}
