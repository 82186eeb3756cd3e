import { BaseWorker, command, duration, type Telemetry, z } from "worker-host";

/** A lamp to begin with: it glows when it is told to, and goes out by itself. */
export class Worker extends BaseWorker<z.infer<typeof Worker.config>> {
  static config = z.object({
    glow_ms: duration().default(1000),
  });
  static description = "A lamp";
  static telemetry: Telemetry = { glows: { type: "number", description: "How often it has glowed" } };

  override async start() {
    await super.start();
    this.state = "dark";
  }

  @command({ description: "Glow for a while", args: duration().optional(), mode: "restart" })
  async do_glow(ms = this.config.glow_ms) {
    await this.hold(
      ms,
      () => {
        this.state = "glowing";
      },
      () => this.do_stop(),
    );
    const glows = (this.store.get<number>("glows") ?? 0) + 1;
    await this.store.set("glows", glows);
    this.telemetry("glows", glows);
  }

  /** Where the worker's process was ended while the lamp was on, nothing else puts it out. */
  @command({ description: "Go out at once" })
  do_stop() {
    this.state = "dark";
  }

  @command({ description: "Say that it is there", safe: true })
  do_ping(text?: string) {
    this.telemetry("pong", text ?? "ok");
  }
}
