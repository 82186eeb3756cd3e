export type { Command } from "./contract/command.ts";
export { type ErrorCode, WorkerHostError } from "./contract/errors.ts";
export { type AnyConfig, BaseWorker, type IncomingMessage, type WorkerContext } from "./worker/base-worker.ts";
export { AbortError, type Task } from "./worker/scope.ts";
export type { PublishOptions } from "./worker/wire.ts";
