import type { Logger } from "pino";
import type { HaltReason } from "../contract/command.ts";

/**
 * What a scope is. A `command` and a `run`, which is any other call of a handler, end with every stop. So does a `task`
 * that has moved something; one that only spoke goes on. No stop ends the `start` of a worker, which has more to do than to
 * move; but what that left behind, if it moved something. What belongs to a `stopping` ends with no stop. In a `switching`
 * runs what a `hold` switches on with.
 */
export type ScopeKind = "command" | "run" | "task" | "start" | "stopping" | "switching";

/** Something running in a scope. */
export interface Task {
  /** Ends it: what it sleeps in rejects with `AbortError`, and its `hold`s turn off. */
  cancel(): void;
  /** Fulfils when it is over, however it ended. */
  readonly done: Promise<void>;
}

/** What keeps a worker from moving. */
export interface Standstill {
  /** Which of them holds now; all-stop where both do. */
  readonly holding: HaltReason | undefined;
  /** Calls `callback` whenever one of them begins from now on; the function that it gives back forgets that. */
  whenHeld(callback: () => void): () => void;
}

/** Whose scope it is: told of the errors that nobody caught in it. */
export interface ScopeOwner {
  readonly id: string;
  readonly log: Logger;
  /** While it holds, nothing is switched on outside of commands. */
  readonly standstill?: Standstill;
  /** How often everything that runs was ended, and what the last time was for. */
  readonly stops?: { readonly count: number; readonly reason: AbortError };
  /** Something began that a stop ends: a command, a call of another handler or a task, or what moves something. */
  began?(what: "command" | "run" | "move"): void;
  /** What is said to code that moves something (`hold`) where no stop could end it. */
  outside?(what: string): Error;
  /** A `hold` has something on; to be called when that has been switched off, where it could be. */
  held?(): () => void;
  /** `where` says what was running: `ticker`, `do_fire`. */
  report(error: unknown, where: string): void;
  /** A command has ended while a `sleep` or `hold` that was called in it still runs. */
  outlived?(where: string, what: string): void;
  /** Code of its own is entered now; `where` says which, as far as it has a name. */
  entered?(where: string): void;
  /** A function is called that may hold up the process: `execSync`. */
  blocks?(name: string): void;
}

/** Rejects what was waiting in a scope when it ended; named as Node names it, so that `error.name` can tell. */
export class AbortError extends Error {
  override readonly name = "AbortError";
}
