// Loads a bundle of dist/. Apart from bin.cjs, since a Node that is too old can't even read this.
"use strict";
const { existsSync, readFileSync } = require("node:fs");
const { createRequire, wrap } = require("node:module");
const { join } = require("node:path");
const { cachedDataVersionTag } = require("node:v8");
const { Script } = require("node:vm");

const DIST = join(__dirname, "../dist");

/** @typedef {Record<"cli" | "configThread" | "runner" | "index" | "testing", () => object>} WaysIn */

/**
 * What is loaded, by its name.
 *
 * @type {Map<string, { script: Script, compiled: string, ways: WaysIn }>}
 */
const bundles = new Map();

/**
 * The ways into a bundle; each loads what it needs once it is called.
 *
 * @param {"cli" | "worker"} name
 * @returns {WaysIn}
 */
function load(name) {
  const known = bundles.get(name);
  if (known) return known.ways;
  const file = join(DIST, `${name}.cjs`);
  // What V8 made of it in the build, with this Node and these flags. Where it is missing, a start takes twice as long.
  const compiled = join(DIST, "compiled", `${name}-${cachedDataVersionTag()}`);
  const script = new Script(wrap(readFileSync(file, "latin1")), {
    filename: file,
    ...(existsSync(compiled) ? { cachedData: readFileSync(compiled) } : {})
  });
  const bundle = { exports: Object.create(null) };
  script.runInThisContext()(bundle.exports, createRequire(file), bundle, file, DIST);
  bundles.set(name, { script, compiled, ways: bundle.exports });
  return bundle.exports;
}

module.exports = { load, bundles };
