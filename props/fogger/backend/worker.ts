import { BaseWorker, command, duration, type Task, type Telemetry, z } from "worker-host";

/** The server side of a fog machine; its board switches the pump. */
export class Worker extends BaseWorker<z.infer<typeof Worker.config>> {
  static config = z.object({
    start_ms: duration().default(3000),
    max_on_ms: duration().default(10_000),
  });
  static description = "A fog machine";
  static telemetry: Telemetry = { mode: { type: "string", description: "The answer to set_mode" } };

  readonly board = `${this.id}_hw`;
  #mode = "ready";
  #fogging?: Task;

  override async start() {
    await super.start();
    this.state = "idle";
  }

  @command({
    description: "Fog for a while; one under way ends, and this one takes its place",
    args: duration()
      .optional()
      .meta({ title: "How long", description: "By its config, start_ms if left empty, max_on_ms at most" }),
    mode: "restart",
    widget: { type: "button", label: "Fog", confirm: true },
  })
  async do_start(ms = this.config.start_ms) {
    if (this.#mode === "off") throw new Error('the fogger is off: send "set_mode ready" first');
    if (ms > this.config.max_on_ms) throw new RangeError(`at most ${this.config.max_on_ms} ms, got ${ms}`);
    await this.requireOnline(this.board);
    const on = () => {
      this.state = "fogging";
      return this.command(this.board, "start", ms);
    };
    this.#fogging = this.spawn(() => this.hold(ms, on, () => this.do_stop()));
    await this.#fogging.done;
  }

  @command({ description: "End the fog at once" })
  async do_stop() {
    this.state = "idle";
    await this.command(this.board, "stop");
  }

  @command({
    description: "off: take no start, such as while it is refilled; ready: take them again",
    args: z.enum(["ready", "off"]).default("ready"),
    safe: true,
  })
  do_set_mode(mode: string) {
    this.#mode = mode;
    if (mode === "off") this.#fogging?.cancel();
    this.telemetry("mode", mode);
  }
}
