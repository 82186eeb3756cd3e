// Preloaded into the host and its processes of workers: they say what is left on their heaps by a collection.
const { writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { setFlagsFromString } = require("node:v8");
const { runInNewContext } = require("node:vm");

const EVERY_MS = 20_000;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

function weigh() {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  writeFileSync(join(process.env.SOAK_HEAPS ?? "", String(process.pid)), String(heapUsed + external));
}

// Not all at the same moment: on two cores that would hold them up for longer than they may be.
setTimeout(() => setInterval(weigh, EVERY_MS).unref(), Math.random() * EVERY_MS).unref();
