// Imports a module. Apart from the bundles, since code that V8 has compiled before (see load.cjs) can't do so.
"use strict";
/** @type {(url: string) => Promise<Record<string, unknown>>} */
module.exports = (url) => import(url);
