import { onTestFinished } from "vitest";
import type { BaseWorker } from "worker-host";
import { startWorker, type TestWorker } from "worker-host/testing";
import type { WorkerContext } from "../../worker-host/worker/context.ts";

/** Runs a worker by itself until the test ends; what is waited for may take its time on a busy machine. */
export async function start<W extends BaseWorker>(Worker: new (context: WorkerContext) => W): Promise<TestWorker<W>> {
  const worker = await startWorker(Worker, { patienceMs: 10_000 });
  onTestFinished(() => worker.stop());
  return worker;
}

/** What was published to a topic so far. */
export function said(worker: Pick<TestWorker<BaseWorker>, "messages">, topic: string): string[] {
  return worker.messages.filter((message) => message.topic === topic).map(({ text }) => text);
}
