/**
 * How fast and how big worker-host is, beside bare MQTT clients on the same broker, in the same run. Prints a table and
 * writes bench/result.json. Times never fail it: they depend on the machine. Given names, it measures only those parts,
 * and writes no file: `npm run bench -- speed mosquitto`.
 */
import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { mosquittoVersion } from "./brokers.mjs";
import { measureCommandLine } from "./command-line.mjs";
import { measureLasting } from "./lasting.mjs";
import { measureMany } from "./many.mjs";
import { canMeasureMemory } from "./processes.mjs";
import { measureQuiet } from "./quiet.mjs";
import { measureReloads } from "./reloads.mjs";
import { table } from "./report.mjs";
import { measureSpeed } from "./speed.mjs";
import { measureStarts } from "./start-up.mjs";

const PARTS = new Map([
  ["speed", measureSpeed],
  ["quiet", measureQuiet],
  ["many", measureMany],
  ["starts", measureStarts],
  ["reloads", measureReloads],
  ["lasting", measureLasting],
  ["command-line", measureCommandLine],
]);
const BROKERS = ["mosquitto", "embedded"];

const chosen = process.argv.slice(2);
const strange = chosen.find((name) => !PARTS.has(name) && !BROKERS.includes(name));
if (strange !== undefined) {
  console.error(`${strange}: there are ${[...PARTS.keys(), ...BROKERS].join(", ")}`);
  process.exit(2);
}
/** Where none of a kind is chosen, all are. @param {string[]} names */
const wanted = (names) =>
  names.some((name) => chosen.includes(name)) ? names.filter((name) => chosen.includes(name)) : names;

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
for (const broker of wanted(version === undefined ? ["embedded"] : BROKERS)) {
  for (const part of wanted([...PARTS.keys()])) {
    const at = Math.round((performance.now() - began) / 1000);
    console.log(`${at} s: measuring ${part} on ${broker} …`);
    rows.push(...((await PARTS.get(part)?.(broker)) ?? []));
  }
}

const seconds = Math.round((performance.now() - began) / 1000);
console.log(`\n${table(rows)}\n`);
console.log("Each figure: median (lowest-highest) of its rounds. A ratio is taken round by round.");
const took = `Took ${seconds} s`;
if (chosen.length > 0) console.log(`${took}.`);
else {
  const result = { at: new Date().toISOString(), seconds, ...machine, rows };
  writeFileSync(new URL("result.json", import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
  console.log(`${took}; bench/result.json has it all.`);
}
