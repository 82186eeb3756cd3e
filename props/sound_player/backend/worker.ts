import { resolve } from "node:path";
import { BaseWorker, command, type Telemetry, z } from "worker-host";

/** Plays sounds on this machine, with a program that is installed on it. */
export class Worker extends BaseWorker<z.infer<typeof Worker.config>> {
  static config = z.object({
    player: z.string().meta({ author: true }).default("aplay"),
    player_args: z.array(z.string()).meta({ author: true }).default(["-q"]),
    sounds: z.record(z.string(), z.string()).meta({ author: true }).default({}),
  });
  static description = "Plays sounds on this machine";
  static telemetry: Telemetry = {
    playing: { type: "string", description: "The name of the sound that plays; empty when it is over" },
  };

  override async start() {
    await super.start();
    this.state = "idle";
  }

  @command({
    description: "Play a sound, by its name in the config; one that plays ends, and this one takes its place",
    args: z.string(),
    mode: "restart",
  })
  async do_play(name: string) {
    // The name comes from the network: the file is the config's.
    const sounds = new Map(Object.entries(this.config.sounds));
    const file = sounds.get(name);
    if (file === undefined) {
      throw new RangeError(`there is no sound "${name}"; there are: ${[...sounds.keys()].join(", ") || "none"}`);
    }
    this.state = "playing";
    this.telemetry("playing", name);
    try {
      await this.exec(this.config.player, [...this.config.player_args, resolve(this.dir, file)]);
    } finally {
      // What ended it otherwise, a stop or another sound, has said what it is doing now.
      if (!this.signal.aborted) this.rest();
    }
  }

  @command({ description: "End the sound that plays" })
  do_stop() {
    this.rest();
  }

  rest() {
    this.state = "idle";
    this.telemetry("playing", "");
  }
}
