/** A command as it was sent. */
export interface Sent {
  id: string;
  target: string;
  /** Whether the target notes each run in its journal; boards don't. */
  journaled: boolean;
  /** It runs under all-stop. */
  safe: boolean;
  /** How long it works, in ms. */
  workMs: number;
  /** In ms since 1970. */
  expiresAt?: number;
  /** MQTT 5's, in ms from its sending. */
  expiryMs?: number;
  /** It is sent again later, under the same id. */
  resent: boolean;
}

/** What has to be seen before somebody counts as undisturbed again. */
export type Need =
  /** Any sign of life: it answers what was sent since, or says `online`. */
  | { kind: "sign" }
  /** The broker is back; then a sign of life. */
  | { kind: "broker" }
  /** It was told to start again; then a sign of life. */
  | { kind: "start" }
  /** It starts in another process; then a sign of life. */
  | { kind: "life"; notPid: number | undefined }
  /** It starts with this code or newer; then a sign of life. */
  | { kind: "code"; edition: number }
  /** It starts with this config or newer; then a sign of life. */
  | { kind: "config"; edition: number };

/** How somebody's connection ended. */
export type Ending = "closed" | "half_open";

/** What a fault does to one of those whom it hits. */
export interface Hit {
  who: string;
  need: Need;
  /** Its connection has ended; until it is back it may not be shown online. */
  gone?: Ending;
  /** By when, from now, it has to be shown online; without it, from its `started` on. */
  backMs?: number;
}

/**
 * All that the model is told, in the order in which it was seen; `at` is in ms since 1970. A fault that disturbs nobody
 * may still be `about` somebody, of whom the host then complains.
 */
export type Happening = { at: number } & (
  | { type: "sent"; command: Sent }
  | { type: "acked"; id: string; heard: boolean }
  | { type: "unsure"; id: string }
  | { type: "reply"; id: string; status: "ok" | "error"; refused: boolean; error: string }
  | { type: "ran"; id: string; worker: string; ranAt: number; lifeAt: number }
  | { type: "life"; worker: string; lifeAt: number; pid: number; code: number; config: number }
  | { type: "config"; worker: string; config: number }
  | { type: "shown"; who: string; online: boolean; live: boolean }
  | { type: "all_stop_shown"; engaged: boolean; live: boolean }
  | { type: "all_stop_told"; engaged: boolean }
  | { type: "fault"; what: string; hits: Hit[]; about?: string }
  | { type: "edited"; who: string; what: "code" | "config"; edition: number }
  | { type: "started"; who: string; backMs: number }
  | { type: "connected" }
  | { type: "disconnected" }
  | { type: "broker_down" }
  | { type: "broker_up" }
  | { type: "output"; board: string; pin: number; value: number }
  /** What a process has to itself, and what a collection last left on its heap, in MB. */
  | { type: "memory"; pid: number; role: string; mb: number; heapMb?: number }
  | { type: "log"; level: number; text: string; worker?: string }
  | { type: "failed"; who: string; how: string }
);

export type HappeningOf<T extends Happening["type"]> = Extract<Happening, { type: T }>;

/** Something that must not be. */
export interface Violation {
  rule: "lost" | "twice" | "stale" | "availability" | "all_stop" | "memory" | "edit" | "error";
  /** What was expected, and what was found. */
  text: string;
}
