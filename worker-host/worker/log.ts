import { type DestinationStream, type Logger, pino, stdTimeFunctions } from "pino";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";

export interface LogOptions {
  level: LogLevel;
  /** For people at a terminal; JSON lines otherwise. */
  pretty: boolean;
  /** What workers' processes log is kept in files. */
  kept?: boolean;
}

/** Where lines of the log go beside standard output, each with its line end. */
export interface LogPath {
  /** Takes out what must not be seen. */
  clean?: (line: string) => string;
  keep?: (line: string) => void;
}

/** Writes to standard output. Each process has one; a worker's is `log.child({ worker: id })`. */
export async function createLogger({ level, pretty }: LogOptions, { clean, keep }: LogPath = {}): Promise<Logger> {
  const output = pino.destination({ fd: 1, sync: pretty });
  const shown = pretty ? (await import("./pretty-log.ts")).prettyLog({ colors: true }) : (line: string) => line;
  const destination: DestinationStream = {
    write(said: string) {
      const line = clean?.(said) ?? said;
      output.write(shown(line));
      keep?.(line);
    },
  };
  return pino({ level, base: null, timestamp: stdTimeFunctions.isoTime }, destination);
}

/** For what is a part of something that tells its faults itself. */
export function silentLog(): Logger {
  return pino({ level: "silent" });
}
