// The globals that worker-host itself uses, as they are before any worker is loaded. esbuild puts them in the place of
// their names (build.mjs), in our code and in the packages that are bundled with it.
const { Buffer: B, Date: D, JSON: J, Map: M, Promise: P, Set: S, WeakMap: W } = globalThis;
const { console: c, performance: perf, process: p } = globalThis;
const { clearImmediate: cI, clearInterval: cV, clearTimeout: cT, queueMicrotask: q } = globalThis;
const { setImmediate: sI, setInterval: sV, setTimeout: sT } = globalThis;
const { now: kept_Date_now } = D;
const { parse: kept_JSON_parse, stringify: kept_JSON_stringify } = J;
const { nextTick: kept_process_nextTick } = p;

export {
  B as Buffer,
  c as console,
  cI as clearImmediate,
  cT as clearTimeout,
  cV as clearInterval,
  D as Date,
  J as JSON,
  kept_Date_now,
  kept_JSON_parse,
  kept_JSON_stringify,
  kept_process_nextTick,
  M as Map,
  P as Promise,
  p as process,
  perf as performance,
  q as queueMicrotask,
  S as Set,
  sI as setImmediate,
  sT as setTimeout,
  sV as setInterval,
  W as WeakMap,
};
