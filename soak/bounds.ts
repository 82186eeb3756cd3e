/** What worker-host promises, and how long the soak waits for it, in ms, each with its reason. */

/** The issue's own: a connection that is closed shows in the availability after so long at most. */
export const CLOSED_MS = 2_000;

/**
 * 1.5 keepalives of 10 s, and what mosquitto 2.0 adds to that: it counts whole seconds, drops who has been silent for
 * more than 15 of them, and looks every 6 s (`keepalive__check` in its src/keepalive.c).
 */
export const HALF_OPEN_MS = 15_000 + 2_000 + 6_000;

/** How long a command may stay without an answer where nothing was done to anybody, beside the time that it works. */
export const ANSWER_MS = 5_000;

/** How long an answer takes at most while all is well: what is done to the target later than that explains nothing. */
export const PROMPT_MS = 2_000;

/** A process that is held up is ended after 5 s (`stall_kill_ms`): nothing that waited in it can run later than that. */
export const STALE_MS = 5_000 + 1_000;

/** A worker looks at `expires_at` when a command arrives; its method is entered right after. */
export const ENTER_MS = 100;

/** MQTT 5 counts a message's expiry in whole seconds, and the broker looks only before it hands it out. */
export const EXPIRY_GRAIN_MS = 1_000;

/** A reload waits for running commands (1.5 s at most here); the build, a stop and a start are well below a second. */
export const EDIT_MS = 10_000;

/** A process that died is started again at once, or after 5 s at most where that happens often; then 46 workers start. */
export const RUNNER_BACK_MS = 5_000 + 5_000;

/** The first restarts of one worker wait for 0.5, 1, 2 and 4 s. */
export const OWN_BACK_MS = 4_000 + 5_000;

/** The guard ends what hangs after 5 s; then as a process that died. */
export const WEDGE_MS = 5_000 + RUNNER_BACK_MS;

/** Each connection tries again after 5 s at most; the host's first, which claims its name for a second or two. */
export const BROKER_BACK_MS = 5_000 + 2_000 + 5_000 + 3_000;

/** Fifty builds, the claim of the name (a second), the start of all workers. */
export const HOST_BACK_MS = 15_000;

/** A board that starts, or finds that its line was dead, connects after a second or so, and then tries every 30 s at most. */
export const BOARD_BACK_MS = 15_000;

/**
 * The host says "engaged" and tells the processes of workers at the same time, so that boards needn't wait for them. A
 * process that hasn't heeded it after 250 ms is ended (docs/protocol.md, "All-stop"): from then on nothing may run.
 */
export const HEED_MS = 250 + 50;

/** When all-stop is shown as engaged, boards have been told, or are by then. */
export const OFF_MS = 1_000;

/** A line at level error belongs to a fault of the last so many ms. */
export const EXPLAINED_MS = 20_000;

/** Shorter runs have no process that lives long enough to say anything of its memory; longer ones see to it. */
export const MEMORY_FROM_MS = 180_000;
