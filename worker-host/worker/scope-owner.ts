import type { Logger } from "pino";
import type { Latch } from "./latch.ts";

/** Whose scope it is: told of the errors that nobody caught in it. */
export interface ScopeOwner {
  readonly id: string;
  readonly log: Logger;
  /** While it is engaged, nothing is switched on outside of commands. */
  readonly latch?: Latch;
  /** `where` says what was running: `ticker`, `do_fire`. */
  report(error: unknown, where: string): void;
  /** Code of its own is entered now; `where` says which, as far as it has a name. */
  entered?(where: string): void;
  /** A function is called that may hold up the process: `execSync`. */
  blocks?(name: string): void;
}
