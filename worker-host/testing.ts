export { CallError } from "./mqtt/calls.ts";
export {
  type SentCommand,
  type StartWorkerOptions,
  startWorker,
  type TestMessage,
  TestWorker,
} from "./testing/test-worker.ts";
