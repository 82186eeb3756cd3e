import { Worker } from "node:worker_threads";
import type { Clock } from "../../base/clock.ts";
import { packageFile } from "../../base/paths.ts";
import { SerialQueue } from "../../base/promises.ts";
import { describeError, type ErrorCode, WorkerHostError } from "../../contract/errors.ts";
import { CONFIG_MS, MAX_CONFIG_MB } from "../limits.ts";
import { type Environment, type ParsedConfig, parseConfigText, type Values } from "./config-file.ts";

/** What the thread is to do. */
export type ConfigJob =
  | { kind: "parse"; name: string; text: string; env: Environment }
  | { kind: "edit"; name: string; text: string; at: readonly string[]; patch: Values };

/** What the thread answers: a result, or what a `WorkerHostError` said. */
export type ConfigOutcome = { result: unknown } | { code: ErrorCode; message: string };

/** A shorter text is parsed in a few milliseconds. */
const SHORT = 4096;

/** Parses and edits long configs in a thread: 64 kB take a while, in which the host's own thread would hear nothing. */
export class ConfigThread {
  readonly #queue = new SerialQueue();
  /** The last text of each file, by its name: most looks find it unchanged. */
  readonly #parsed = new Map<string, { text: string; parsed: ParsedConfig }>();

  constructor(private readonly clock: Clock) {}

  /** Does what `parseConfigText` does. Also a text that takes too long has a fault. */
  async parse(name: string, text: string, env: Environment): Promise<ParsedConfig> {
    if (text.length < SHORT) return parseConfigText(name, text, env);
    return this.#queue.take(async () => {
      const known = this.#parsed.get(name);
      if (known?.text === text) return known.parsed;
      try {
        const parsed = (await this.#run({ kind: "parse", name, text, env })) as ParsedConfig;
        this.#parsed.set(name, { text, parsed });
        return parsed;
      } catch (error) {
        const fault =
          error instanceof WorkerHostError ? error.message : `${name}: can't be read (${describeError(error)})`;
        return { config: {}, fault, warnings: [], lines: {} };
      }
    });
  }

  /**
   * Does what `editConfigText` does.
   *
   * @throws WorkerHostError as `editConfigText`; `invalid_config` where it takes too long
   */
  async edit(name: string, text: string, at: readonly string[], patch: Values): Promise<string> {
    return this.#queue.take(async () => (await this.#run({ kind: "edit", name, text, at, patch })) as string);
  }

  /** The thread lives for one job. */
  async #run(job: ConfigJob): Promise<unknown> {
    const thread = new Worker(packageFile("worker-host/config-thread.cjs"), {
      workerData: job,
      resourceLimits: { maxOldGenerationSizeMb: MAX_CONFIG_MB },
    });
    let cancel = () => {};
    const outcome = new Promise<ConfigOutcome>((resolve, reject) => {
      const refuse = (why: string) =>
        resolve({ code: "invalid_config", message: `${job.name}: ${why}: make it shorter or simpler` });
      thread.once("message", resolve);
      thread.once("error", (error: NodeJS.ErrnoException) => {
        if (error.code === "ERR_WORKER_OUT_OF_MEMORY") refuse(`it takes more than ${MAX_CONFIG_MB} MB of memory`);
        else reject(error);
      });
      cancel = this.clock.after(CONFIG_MS, () => refuse(`it takes more than ${CONFIG_MS / 1000} s`));
    });
    try {
      const answer = await outcome;
      if ("result" in answer) return answer.result;
      throw new WorkerHostError(answer.code, answer.message);
    } finally {
      cancel();
      await thread.terminate();
    }
  }
}
