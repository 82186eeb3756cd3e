export {
  type SentCommand,
  type StartWorkerOptions,
  startWorker,
  type TestMessage,
  TestWorker,
} from "./testing/test-worker.ts";
export { CallError } from "./worker/calls.ts";
