// Limits that hold on the wire, and in every process. docs/limits.md is made of this file, by test/docs.test.ts.

export const MAX_COMMAND_BYTES = 65_536; // A longer command is refused
export const MAX_COMMAND_ID_CHARS = 128; // A command with a longer `id` is refused
// Whatever walks JSON level by level runs out of stack.
export const MOST_JSON_LEVELS = 100; // A command or a config file that is nested deeper is refused
export const COMMAND_EXPIRY_S = 5; // How long an MQTT 5 broker may hold back a command that worker-host sends
export const SEEN_IDS = 1024; // How many ids of commands are remembered of each worker: none of them runs twice
export const MOST_RUNS = 256; // How many runs of one command there may be at once, where its `max` says nothing
export const MOST_QUEUED = 10; // How many runs of a `queued` one may run or wait, where its `max` says nothing
export const STOP_TIMEOUT_MS = 5_000; // How long `do_stop` and `stop()` may take together, unless `stopTimeoutMs` says
export const MAX_STOP_TIMEOUT_MS = 30_000; // The most that `stopTimeoutMs` may say
export const AT_LATE_MS = 120_000; // What `at` calls is left out where the clock goes past its time by more at once
export const AFTER_OFF_MS = 5_000; // How long what the `off` of a `hold` has begun may go on after its end
export const CALL_TIMEOUT_MS = 30_000; // How long a `call` waits, unless it or the target's description says
export const MOST_HEARD = 1_000; // How many ids each list of who has heard an all-stop names; the rest are counted

export const PAIRING_MS = 120_000; // How long the link of `console pair` is good; it pairs one device
export const MOST_DEVICES = 100; // How many devices may be paired with the page

export const MAX_TOPIC_BYTES = 65_535; // A longer topic is refused
export const MOST_TOPIC_LEVELS = 100; // A topic of more levels is refused
export const MAX_KEY_BYTES = 1_000; // A longer prefix, or key of a topic, is refused
export const MOST_KEY_LEVELS = 40; // A prefix, or a key of a topic, of more levels is refused
export const MAX_DESCRIPTION_BYTES = 65_536; // A longer description of a prop is not read

export const KEEPALIVE_S = 10; // The keepalive: a broker ends a connection that is silent 1.5 times as long
export const CONNECT_TIMEOUT_MS = 10_000; // How long a broker has to let a client in
export const RECONNECT_MIN_MS = 100; // The longest pause before a connection is tried again, at first …
export const RECONNECT_MAX_MS = 5_000; // … and after many tries
export const LASTING_MS = 5_000; // A connection that held for so long is made again at once
export const MAX_SENDING_BYTES = 8 * 1024 * 1024; // How much may be on its way to the broker; the rest is dropped …
export const MOST_SENDING = 10_000; // … and how many messages

export const MOST_SAID = 20; // How many warnings, or errors, a worker or the host says in one go …
export const SAID_EVERY_MS = 500; // … and then one in this time; the rest are counted
export const MAX_LOG_LINE_CHARS = 65_536; // A longer line of a worker's log is not kept
export const MAX_LOG_PIPE_BYTES = 1_048_576; // How much of a process's log waits for a host that is held up
export const MAX_OUTPUT_BYTES = 262_144; // How much of the log waits for a standard output that takes nothing
