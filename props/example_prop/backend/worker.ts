import { BaseWorker, command, duration, type Telemetry, z } from "worker-host";

/** A prop to copy: it ticks, answers `ping`, and on `fire` has the fogger make fog. */
export class Worker extends BaseWorker<z.infer<typeof Worker.config>> {
  static config = z.object({
    tick_interval: z.number().positive().default(5),
    fire_ms: duration().default(2000),
    max_fire_ms: duration().default(10_000),
  });
  static description = "A prop to copy: it ticks, answers ping, and has the fogger make fog";
  static telemetry: Telemetry = {
    tick: { type: "number", description: "0, 1, 2 …, every tick_interval seconds" },
    pong: { description: "The answer to ping" },
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

  @command({
    description: "Have the fogger make fog for a while",
    args: duration()
      .optional()
      .meta({ title: "How long", description: "By its config, fire_ms if left empty, max_fire_ms at most" }),
  })
  async do_fire(ms = this.config.fire_ms) {
    if (ms > this.config.max_fire_ms) throw new RangeError(`at most ${this.config.max_fire_ms} ms, got ${ms}`);
    await this.hold(
      ms,
      () => this.command("fogger", "start", ms),
      () => this.command("fogger", "stop"),
    );
  }
}
