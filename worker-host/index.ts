export { z } from "zod";
export type { Command } from "./contract/command.ts";
export { type ErrorCode, WorkerHostError } from "./contract/errors.ts";
export {
  type AnyConfig,
  BaseWorker,
  type IncomingMessage,
  type WatchedValue,
  type WorkerContext,
} from "./worker/base-worker.ts";
export { CallError, type CallErrorCode } from "./worker/calls.ts";
export { type CommandMode, type CommandSpec, command, type RunningCommand } from "./worker/command-spec.ts";
export { duration } from "./worker/duration.ts";
export type { Schema } from "./worker/schema.ts";
export { AbortError, type Task } from "./worker/scope.ts";
export type { PublishOptions } from "./worker/wire.ts";
