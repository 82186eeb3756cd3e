// Limits of a process that runs workers. docs/limits.md is made of this file, by test/docs.test.ts.

export const LOAD_MS = 10_000; // How long a worker's top-level code may take, and the check of its config
export const START_MS = 10_000; // How long `start()` may take
export const ON_CONFIG_MS = 10_000; // How long `onConfig()` may take
export const DRAIN_MS = 10_000; // How long a reload waits for the commands that run
export const RECLAIM_MS = 1_000; // How long what a worker started, and its store, have after its `stop()`
export const LOOP_INTERVAL_MS = 1_000; // The pause between two calls of `loop()`, unless `loopIntervalMs` says
export const LOOP_BACKOFF_MIN_MS = 100; // The shortest pause after an error of `loop()` …
export const LOOP_BACKOFF_MAX_MS = 60_000; // … and the longest, after many in a row, unless `loopIntervalMs` is more
export const RETRY_MIN_MS = 1_000; // The pause before `retry` calls a function again, at first …
export const RETRY_MAX_MS = 60_000; // … and the longest

export const EXEC_GRACE_MS = 500; // How long a program of `exec` has to end by itself before it is killed
export const MAX_EXEC_CHARS = 65_536; // How much of a program's output `exec` gives back: the end of it
export const MAX_EXEC_LINE_CHARS = 4_096; // A longer line of its output is cut in the log
export const MAX_STORE_BYTES = 1_048_576; // How large a worker's store may be
export const MAX_STORE_KEY_CHARS = 256; // How long a key in it may be

export const HOST_SILENT_MS = 10_000; // After so long a silence of the host, its workers warn of it
export const ORPHANED_MS = 500; // How long workers have to switch off what they switched on, once their host is gone
