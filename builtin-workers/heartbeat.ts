import { BaseWorker, command, duration, type Telemetry, z } from "worker-host";

const MODES = ["idle", "armed", "firing"] as const;

/** A pulse to see that all is well, and something to try commands on. */
export class Worker extends BaseWorker<z.infer<typeof Worker.config>> {
  static config = z.object({ tick_interval: z.number().positive().default(5) });
  static description = "A pulse to see that all is well, and something to try commands on";
  static telemetry: Telemetry = {
    tick: { type: "number", description: "0, 1, 2 …, every tick_interval seconds" },
    pong: { description: "The answer to ping" },
    mode: { type: "string", description: "The answer to set_mode" },
    event: { type: "string", description: "That a fire began or ended" },
  };

  override async start() {
    await super.start();
    this.spawn(this.ticker);
  }

  async ticker() {
    for (let i = 0; ; i++) {
      this.telemetry("tick", i);
      await this.sleep(this.config.tick_interval * 1000);
    }
  }

  @command({ description: "Answer on telemetry/pong, with the text or with ok", safe: true })
  do_ping(text?: unknown) {
    this.telemetry("pong", text ?? "ok");
  }

  @command({ description: "Say a mode on telemetry/mode", args: z.enum(MODES).default("idle"), safe: true })
  do_set_mode(mode: string) {
    this.telemetry("mode", mode);
  }

  @command({ description: "Say that it fires, and after a while that it doesn't", args: duration().default(500) })
  async do_fire(ms: number) {
    await this.hold(
      ms,
      () => this.telemetry("event", `fire start ${ms}ms`),
      () => this.telemetry("event", "fire end"),
    );
  }
}
