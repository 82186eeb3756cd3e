// build.mjs has a host and its runner load this first: it keeps what V8 has compiled of them, as far as they have come.
"use strict";
const { mkdirSync, renameSync, writeFileSync } = require("node:fs");
const { dirname } = require("node:path");
const { bundles } = require("./worker-host/load.cjs");

setInterval(() => {
  for (const { compiled, script } of bundles.values()) {
    mkdirSync(dirname(compiled), { recursive: true });
    writeFileSync(`${compiled}.new`, script.createCachedData());
    renameSync(`${compiled}.new`, compiled);
  }
}, 500).unref();
