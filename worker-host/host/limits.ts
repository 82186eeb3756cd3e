// Limits of the host's process. docs/limits.md is made of this file, by test/docs.test.ts.

export const SETTLE_MS = 10_000; // How long the host waits for its workers at its start before it takes edits in
// More than a worker may take to stop, which is 30 s at most.
export const FORCE_AFTER_MS = 40_000; // How long the host may take to stop; then it ends at once
export const RESTART_MIN_MS = 500; // The longest pause before a worker that failed is started again, at first …
export const RESTART_MAX_MS = 30_000; // … and after many failures
export const PROVEN_MS = 10_000; // A process of workers that lived so long is started again at once when it dies
export const PROCESS_RESTART_MIN_MS = 100; // The pause before the next process where it lived less, at first …
export const PROCESS_RESTART_MAX_MS = 5_000; // … and after many deaths
export const HEED_MS = 250; // How long a process of workers has to say that it has heard of all-stop before it is ended
// A loop that spins leaves its inspector little of a busy machine. It is not longer, since a process that comes round
// meanwhile runs the commands that waited in it.
export const STALL_LOOK_MS = 1_000; // How long a process that hangs has to show what it is in before it is ended
export const MEMORY_LOOK_MS = 500; // The same for a process that takes too much memory, which others miss meanwhile
export const BUILD_MS = 30_000; // How long the build of a worker may take
// Each has a copy of what all share: without a limit, a file of 64 kB becomes gigabytes.
export const MOST_INSTANCES = 200; // How many `instances` a config may have

// Each look at any worker reads its config anew.
export const MAX_CONFIG_BYTES = 64 * 1024; // A longer config file is refused
// A change of 64 kB takes a second or two, on a busy machine ten.
export const CONFIG_MS = 30_000; // How long it may take to read a config file, or to change it
export const MAX_CONFIG_MB = 256; // How much memory that may take; a file that takes more is refused
export const HALF_WRITTEN_MS = 2_000; // How long a config file that seems half written has to stay as it is

// Bundles of some hundred workers.
export const DATA_ROOM_BYTES = 4 * 1024 * 1024; // With less room for data, workers are built in the temporary folder
export const WRITE_AGAIN_MS = 1_000; // The pause after a write of all-stop, lock-outs or the show that failed
export const DISK_MS = 2_000; // How long the answer to such a command waits for the disk
export const CLOSE_MS = 2_000; // How long the host's end waits for the disk

export const LOG_GATHER_MS = 100; // What is logged within this time is written at once
export const LOG_AGAIN_MS = 5_000; // The pause after a write of logs that failed, as on a full disk
export const MAX_LOG_WAITING_BYTES = 8 * 1_048_576; // How much of all logs waits to be written; the rest is left out
// A container is killed 10 s after it was told to stop.
export const LOG_END_MS = 3_000; // How long the host's end waits for the last lines to be written

export const UPTIME_EVERY_MS = 10_000; // How often the host says its uptime
export const DESCRIBE_EVERY_MS = 200; // How often it says its description anew, at most
export const ECHO_MS = 5_000; // How long a broker has to bring back what a host claims
// Longer than a host that was cut off takes to come back.
export const CLAIM_AGAIN_MS = 5_000; // How often a standby asks for the name again, at least
export const YOUNG_BROKER_S = 60; // A broker that has run for less has the roll called
export const BROKER_UPTIME_MS = 2_000; // How long a broker has to say how long it has run
export const ASK_AFTER_MS = 30_000; // An id that is silent for so long in a roll call gets a `ping` …
export const SILENT_AFTER_ASK_MS = 30_000; // … and is set `offline` after so long a silence more
export const MOST_DOUBTS = 1_000; // How many ids a roll call has
// A board whose radio sleeps to save power takes 300 ms and more.
export const PING_MS = 2_000; // How long a board has to answer whether it has an id

export const COLLECT_MS = 2_000; // How long a worker, or a board, has to confirm a stop
export const MAX_REASON_CHARS = 200; // A longer reason for a lock-out is cut
export const MOST_COMMANDS_WAITING = 256; // How many commands to the host may wait for their turn
export const HTTP_MS = 10_000; // How long a connection to the health port lasts, whatever its client does
export const MOST_HTTP_CONNECTIONS = 200; // How many connections to the health port there may be
export const MOST_ENTITIES = 100; // How many commands, and how many values, of a prop are shown in Home Assistant

export const DROP_FROM_BYTES = 256 * 1024; // Embedded broker: a client with more unsent is sent no QoS 0 for a while
// So a flood from a few publishers is slowed down, not answered by disconnecting the host or a worker that it is for.
export const MAX_AHEAD_BYTES = 32 * 1024; // A publisher with more waiting for one client at QoS 1 or 2 has to wait
// Four messages of the largest size fit.
export const MAX_UNSENT_BYTES = 4 * 1024 * 1024; // A client that has more unsent is disconnected …
export const DRAIN_TIMEOUT_MS = 2_000; // … and so is one that has not caught up in this time
export const MOST_CLIENTS = 4_000; // How many clients there may be: more belong on mosquitto
export const MOST_AT_THE_DOOR = 16; // How many connections may be open besides that have sent no CONNECT
export const CLIENT_CONNECT_MS = 5_000; // A client that has not sent its whole CONNECT by then is disconnected
export const MAX_CONNECT_BYTES = 64 * 1024; // A client whose CONNECT is longer, with its will, is disconnected
export const MAX_PACKET_BYTES = 1024 * 1024; // A client that sends a longer packet of any other kind is disconnected
// A host alone may have some 1,000, one for each id that it asks whether it is there.
export const MOST_FILTERS = 5_000; // How many filters a client may have …
export const MAX_FILTER_CHARS = 1_024; // … and how long each of them may be
export const MOST_RETAINED = 50_000; // How many messages are retained …
export const MAX_RETAINED_BYTES = 64 * 1024 * 1024; // … and how much; the rest is passed on, and not kept
// A state doesn't go stale for want of room.
export const SMALL_RETAINED_BYTES = 1_024; // A payload of up to this size always takes the place of the last one
export const PASSWORD_PAUSE_MS = 1_000; // The pause after a wrong password, for all of that address
export const MOST_PASSWORDS_WAITING = 20; // How many of one address may wait for its end
export const REFUSALS_EVERY_MS = 10_000; // What is refused again and again is logged once in this time, with a count
