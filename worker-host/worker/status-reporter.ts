import type { Logger } from "pino";
import type { Clock } from "../base/clock.ts";
import { RateLimiter } from "../base/rate-limiter.ts";
import { describeError } from "../contract/errors.ts";

export interface StatusReporterOptions {
  clock: Clock;
  log: Logger;
  /** Publishes something for people on the worker's status topics. */
  publish: (key: "warn" | "error", text: string) => void;
}

/** What is said of a worker for people: to the log, and on its status topics, no more than they can read. */
export class StatusReporter {
  readonly #warnings: RateLimiter;
  readonly #errors: RateLimiter;

  constructor({ clock, log, publish }: StatusReporterOptions) {
    this.#warnings = new RateLimiter(clock, (text) => {
      log.warn(text);
      publish("warn", text);
    });
    this.#errors = new RateLimiter(clock, (text, error) => {
      log.error(error === undefined ? {} : { err: error }, text);
      publish("error", text);
    });
  }

  warn(text: string): void {
    this.#warnings.say(text);
  }

  /** @param where what was running: `ticker`, `do_fire` */
  report(error: unknown, where: string): void {
    this.fail(`${where}: ${describeError(error)}`, error);
  }

  fail(text: string, error: unknown): void {
    this.#errors.say(text, error);
  }
}
