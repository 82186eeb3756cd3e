import type { AbortError } from "../base/abort-error.ts";
import type { Scope } from "../base/scope.ts";
import type { Command } from "../contract/command.ts";
import type { RunningCommand } from "./command-spec.ts";
import type { StopReason } from "./stopping.ts";

/** A command that has arrived, and how to answer it. */
export interface Request {
  command: Command;
  /** On the monotonic clock. */
  receivedAt: number;
  correlationData?: Uint8Array;
}

/** What came of a command: what its handler gave, why it was not run, what ended it early, or what its handler threw. */
export type Outcome =
  | { status: "done"; result: unknown }
  | { status: "refused"; why: string }
  | { status: "aborted"; error: AbortError }
  | { status: "failed"; error: unknown };

/** A command as its handler gets it; its signal is made when somebody asks for it. */
export class CommandInScope implements RunningCommand {
  readonly action: string;
  readonly args: unknown;
  declare readonly text?: true;
  declare readonly id?: string;
  declare readonly replyTo?: string;
  declare readonly expiresAt?: number;
  declare readonly reason?: StopReason;
  readonly #scope: Scope;

  constructor(scope: Scope, { action, text, id, replyTo, expiresAt }: Command, args: unknown, reason?: StopReason) {
    this.#scope = scope;
    this.action = action;
    this.args = args;
    if (text !== undefined) this.text = text;
    if (id !== undefined) this.id = id;
    if (replyTo !== undefined) this.replyTo = replyTo;
    if (expiresAt !== undefined) this.expiresAt = expiresAt;
    if (reason !== undefined) this.reason = reason;
  }

  get signal(): AbortSignal {
    return this.#scope.signal;
  }
}
