import { type DestinationStream, type Logger, pino, stdTimeFunctions } from "pino";
import type { Clock } from "./clock.ts";
import { Output, type OutputTarget } from "./output.ts";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";

export interface LogOptions {
  level: LogLevel;
  /** For people at a terminal; JSON lines otherwise. */
  pretty: boolean;
  /** What workers' processes log is kept in files. */
  kept?: boolean;
}

/** Where lines of the log go, each with its line end. */
export interface LogPath {
  /** Standard output. */
  target: OutputTarget;
  clock: Clock;
  /** Takes out what must not be seen. */
  clean?: (line: string) => string;
  /** Takes them beside standard output. */
  keep?: (line: string) => void;
}

/** Each process has one logger, which never waits for its output; a worker's is `log.child({ worker: id })`. */
export async function createLogger(
  { level, pretty }: LogOptions,
  { target, clock, clean, keep }: LogPath,
): Promise<{ log: Logger; output: Output }> {
  const output = new Output({
    ...target,
    clock,
    onGap: (lines) => log.warn(`${lines} lines were left out: they came faster than standard output takes them`),
  });
  const shown = pretty ? (await import("./pretty-log.ts")).prettyLog({ colors: true }) : (line: string) => line;
  const destination: DestinationStream = {
    write(said: string) {
      const line = clean?.(said) ?? said;
      output.write(shown(line));
      keep?.(line);
    },
  };
  const log = pino({ level, base: null, timestamp: stdTimeFunctions.isoTime }, destination);
  return { log, output };
}

/** For what is a part of something that tells its faults itself. */
export function silentLog(): Logger {
  return pino({ level: "silent" });
}
