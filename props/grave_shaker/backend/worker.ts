import { BaseWorker, command, duration, type Telemetry, z } from "worker-host";

const ms = z.number().positive().meta({ unit: "ms" });
const level = z.number().positive().max(100).meta({ unit: "%" });

/** `shake`, `shake 1500`, `shake 1500 80`, `shake ms=1500 level=80`, or the same in JSON. */
const shaking = z
  .union([ms, z.tuple([ms]), z.tuple([ms, level]), z.strictObject({ ms: ms.optional(), level: level.optional() })], {
    error: 'expected ms and a level of 1 to 100, such as "1500 80" or {"ms": 1500, "level": 80}',
  })
  .transform((given) => {
    if (typeof given === "number") return { ms: given };
    return Array.isArray(given) ? { ms: given[0], level: given[1] } : given;
  });

/** The server side of a grave that shakes; its board drives the motor. */
export class Worker extends BaseWorker<z.infer<typeof Worker.config>> {
  static config = z.object({
    shake_ms: duration().default(1500),
    level: level.default(80),
    max_on_ms: duration().default(10_000),
    max_level: level.default(100),
  });
  static description = "A grave that shakes";
  static telemetry: Telemetry = {
    level: { type: "number", description: "How hard it shakes, 1 to 100; 0 at the end", widget: { type: "gauge" } },
  };

  readonly board = `${this.id}_hw`;

  override async start() {
    await super.start();
    this.state = "idle";
  }

  @command({
    description: "Shake for a while; it takes the place of one under way",
    args: shaking.optional(),
    mode: "restart",
    widget: { type: "button", label: "Shake", confirm: true },
  })
  async do_shake(args: { ms?: number | undefined; level?: number | undefined } = {}) {
    const { ms = this.config.shake_ms, level = this.config.level } = args;
    if (ms > this.config.max_on_ms) throw new RangeError(`at most ${this.config.max_on_ms} ms, got ${ms}`);
    if (level > this.config.max_level)
      throw new RangeError(`a level of at most ${this.config.max_level}, got ${level}`);
    await this.requireOnline(this.board);
    const on = () => {
      this.state = "shaking";
      this.telemetry("level", level);
      return this.command(this.board, "shake", { ms, level });
    };
    await this.hold(ms, on, () => this.do_stop());
  }

  @command({ description: "End the shaking at once" })
  async do_stop() {
    this.state = "idle";
    this.telemetry("level", 0);
    await this.command(this.board, "stop");
  }
}
