/**
 * How fast and how big worker-host is, beside a bare mqtt.js echo client on the same broker, in the same run. Prints a
 * table and writes bench/result.json. Times never fail it: they depend on the machine.
 */
import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { mosquittoVersion, startMosquitto } from "./brokers.mjs";
import { canMeasureMemory } from "./memory.mjs";
import { speedRows, startRows, table } from "./report.mjs";
import { measureSpeed } from "./speed.mjs";
import { measureStarts } from "./start-up.mjs";

const began = performance.now();
const version = mosquittoVersion();
const machine = {
  node: process.version,
  mosquitto: version ?? "not on the PATH",
  cpus: `${cpus().length} x ${cpus()[0]?.model}`,
  load_before: Number(loadavg()[0]?.toFixed(2)),
};
console.log(`Node ${machine.node}, mosquitto ${machine.mosquitto}, ${machine.cpus}, load ${machine.load_before}`);
if (machine.load_before > cpus().length / 2) console.log("others use this machine now: repeat it when they don't");
if (!canMeasureMemory) console.log("memory: not measured, since there is no /proc/<pid>/smaps_rollup here");

/** @type {import("./report.mjs").Row[]} */
const rows = [];
for (const broker of version === undefined ? ["embedded"] : ["mosquitto", "embedded"]) {
  console.log(`measuring on ${broker} …`);
  const mosquitto = broker === "mosquitto" ? await startMosquitto() : undefined;
  rows.push(...speedRows(broker, await measureSpeed(mosquitto?.port)));
  await mosquitto?.stop();
  rows.push(...startRows(broker, await measureStarts(broker === "mosquitto")));
}

const seconds = Math.round((performance.now() - began) / 1000);
console.log(`\n${table(rows)}\n`);
console.log(
  "Each figure: median (lowest-highest) of its rounds. Baselines: the bare client; npm start with no worker.",
);
writeFileSync(
  new URL("result.json", import.meta.url),
  `${JSON.stringify({ at: new Date().toISOString(), seconds, ...machine, rows }, null, 2)}\n`,
);
console.log(`Took ${seconds} s; bench/result.json has it all.`);
