import type { Command } from "../contract/command.ts";
import type { RunningCommand } from "./command-spec.ts";
import type { Scope } from "./scope.ts";

/** A command that has arrived, and how to answer it. */
export interface Request {
  command: Command;
  receivedAt: number;
  correlationData?: Uint8Array;
  /** Nothing that runs, and no state, is a reason to refuse it. */
  must?: true;
}

/** A command that nobody sent: it must run. */
export function ownRequest(action: string, receivedAt: number): Request {
  return { command: { action, args: undefined }, receivedAt, must: true };
}

/** The command as its handler gets it; its signal is made when somebody asks for it. */
export function commandIn(scope: Scope, command: Command, args: unknown): RunningCommand {
  return {
    ...command,
    args,
    get signal() {
      return scope.signal;
    },
  };
}
