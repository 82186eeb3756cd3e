import { BaseWorker, type Task } from "worker-host";

/** The server side of a grave that shakes; its board drives the motor. */
export class Worker extends BaseWorker {
  readonly board = `${this.id}_hw`;
  readonly shakeMs: number = this.config.shake_ms ?? 1500;
  readonly level: number = this.config.level ?? 80;
  readonly maxOnMs: number = this.config.max_on_ms ?? 10_000;
  readonly maxLevel: number = this.config.max_level ?? 100;
  #shaking?: Task;

  override async start() {
    await super.start();
    this.state = "idle";
  }

  async do_shake(args?: unknown) {
    const given = fieldsOf(args);
    const ms = numberFrom("shake: ms", given.ms ?? this.shakeMs, this.maxOnMs);
    const level = numberFrom("shake: level", given.level ?? this.level, this.maxLevel);
    // A new shake takes the place of one that is under way, or the earlier end would cut it short.
    this.#shaking?.cancel();
    this.#shaking = this.spawn(() => this.shake(ms, level));
    await this.#shaking.done;
  }

  async shake(ms: number, level: number) {
    await this.hold(
      ms,
      () => {
        this.state = "shaking";
        this.telemetry("level", level);
        return this.command(this.board, "shake", { ms, level });
      },
      () => this.do_stop(),
    );
  }

  async do_stop() {
    this.state = "idle";
    this.telemetry("level", 0);
    await this.command(this.board, "stop");
  }
}

/** `shake 1500 80` brings a text; JSON brings `{"ms": 1500, "level": 80}`, or `1500` alone. */
function fieldsOf(args: unknown): { ms?: unknown; level?: unknown } {
  if (typeof args === "string") {
    const [ms, ...level] = args.split(/\s+/);
    return { ms, level: level.length > 0 ? level.join(" ") : undefined };
  }
  return typeof args === "object" && !Array.isArray(args) ? { ...args } : { ms: args };
}

function numberFrom(name: string, value: unknown, max: number): number {
  const found = typeof value === "string" ? Number(value) : value;
  if (typeof found === "number" && found >= 1 && found <= max) return found;
  throw new RangeError(`${name}: expected a number from 1 to ${max}, got ${JSON.stringify(value)}`);
}
