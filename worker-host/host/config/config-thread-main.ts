import { parentPort, workerData } from "node:worker_threads";
import { WorkerHostError } from "../../contract/errors.ts";
import { parseConfigText } from "./config-file.ts";
import type { ConfigJob, ConfigOutcome } from "./config-thread.ts";
import { editConfigText } from "./edit-config.ts";

// The thread that `ConfigThread` starts, for one job.

function outcomeOf(job: ConfigJob): ConfigOutcome {
  try {
    if (job.kind === "parse") return { result: parseConfigText(job.name, job.text, job.env) };
    return { result: editConfigText(job.name, job.text, job.at, job.patch) };
  } catch (error) {
    if (error instanceof WorkerHostError) return { code: error.code, message: error.message };
    throw error;
  }
}

parentPort?.postMessage(outcomeOf(workerData as ConfigJob));
