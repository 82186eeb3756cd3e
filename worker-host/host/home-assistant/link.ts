import { existsSync } from "node:fs";
import type { Supervisor } from "../runners/supervisor.ts";
import type { ShowNight } from "../safety/show-night.ts";
import { trailFile } from "./announcer.ts";
import type { HomeAssistant, HomeAssistantOptions } from "./home-assistant.ts";

export interface HomeAssistantLinkOptions extends Omit<HomeAssistantOptions, "workers" | "lockedOut"> {
  supervisor: Supervisor;
  night: ShowNight;
}

/** Loads what tells Home Assistant of this host, where that is wanted, or was and is to be taken back. */
export class HomeAssistantLink {
  #homeAssistant: HomeAssistant | undefined;
  #stopped = false;

  constructor(private readonly options: HomeAssistantLinkOptions) {}

  /** To be called when all workers are known. Never rejects. */
  async start(): Promise<void> {
    const { settings, supervisor, night, log } = this.options;
    if (!settings.homeAssistant.enabled && !existsSync(trailFile(settings))) return;
    try {
      const { HomeAssistant } = await import("./home-assistant.ts");
      if (this.#stopped) return;
      this.#homeAssistant = new HomeAssistant({
        ...this.options,
        workers: () => supervisor.records.all,
        lockedOut: () => night.allLockedOut,
      });
      await this.#homeAssistant.start();
    } catch (error) {
      log.error({ err: error }, "Home Assistant is not told of the props: restart the host once that is mended");
    }
  }

  /** To be called whenever a worker has come, gone or changed, or somebody was locked out. */
  update(): void {
    this.#homeAssistant?.update();
  }

  stop(): void {
    this.#stopped = true;
    this.#homeAssistant?.stop();
  }
}
