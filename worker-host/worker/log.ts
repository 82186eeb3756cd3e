import { type DestinationStream, type Logger, pino, stdTimeFunctions } from "pino";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";

export interface LogOptions {
  level: LogLevel;
  /** For people at a terminal; JSON lines otherwise. */
  pretty: boolean;
}

/** Writes to standard output. Each process has one; a worker's is `log.child({ worker: id })`. */
export async function createLogger({ level, pretty }: LogOptions): Promise<Logger> {
  const destination: DestinationStream = pretty
    ? (await import("pino-pretty")).default({
        colorize: true,
        sync: true,
        ignore: "pid,hostname,worker",
        translateTime: "SYS:HH:MM:ss",
        messageFormat: "{if worker}{worker}: {end}{msg}",
      })
    : pino.destination({ fd: 1, sync: false });
  return pino({ level, base: null, timestamp: stdTimeFunctions.isoTime }, destination);
}
