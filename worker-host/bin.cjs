#!/usr/bin/env node
// Plain JavaScript that any Node can run, to say so where this one is too old for the rest.
"use strict";
/** @type {[number, number]} */
var OLDEST = [20, 19];
var version = process.versions.node.split(".");
if (Number(version[0]) < OLDEST[0] || (Number(version[0]) === OLDEST[0] && Number(version[1]) < OLDEST[1])) {
  console.error(
    "worker-host needs Node " +
      OLDEST.join(".") +
      " or newer, and this is Node " +
      process.versions.node +
      ". " +
      "Get a newer one at https://nodejs.org/en/download, or with a version manager: nvm install 24"
  );
  process.exit(1);
} else {
  require("./load.cjs").load("cli").cli();
}
