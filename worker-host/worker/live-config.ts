import { type Clock, within } from "../base/clock.ts";
import type { Secrets } from "../base/secrets.ts";
import { secretTexts } from "../commands/schema.ts";
import { WorkerHostError } from "../contract/errors.ts";
import type { BaseWorker } from "./base-worker.ts";
import { type CheckedConfig, checkConfig } from "./config.ts";
import type { ConfigSpec } from "./messages.ts";

const ON_CONFIG_MS = 10_000;

/** A worker's config while it runs. */
export class LiveConfig {
  #value: unknown;

  /**
   * @param schema the class's `static config`
   * @param file the worker's file, as it is shown to people
   * @param secrets told what no log may hold
   */
  constructor(
    private readonly schema: unknown,
    private readonly file: string,
    private readonly secrets?: Secrets,
  ) {}

  /** What holds now. */
  get value(): unknown {
    return this.#value;
  }

  /** @throws WorkerHostError `invalid_config`, `load_failed` */
  async check(config: ConfigSpec): Promise<CheckedConfig> {
    const checked = await checkConfig(this.schema, config, this.file);
    if (checked.json) for (const text of secretTexts(checked.value, checked.json)) this.secrets?.add(text);
    return checked;
  }

  /** Takes the first one. */
  begin({ value }: CheckedConfig): void {
    this.#value = value;
  }

  /**
   * Hands a running worker the next one; where it throws, the one before holds again.
   *
   * @throws WorkerHostError `timeout`; whatever `onConfig` throws
   */
  async change(worker: BaseWorker, { value }: CheckedConfig, clock: Clock): Promise<void> {
    const previous = this.#value;
    this.#value = value;
    try {
      const taken = Promise.resolve(worker.onConfig?.(value as never, previous as never));
      if (await within(clock, ON_CONFIG_MS, taken)) return;
      throw new WorkerHostError("timeout", `onConfig() has not ended in ${ON_CONFIG_MS / 1000} s`);
    } catch (error) {
      this.#value = previous;
      throw error;
    }
  }
}
