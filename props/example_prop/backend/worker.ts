import { BaseWorker } from "worker-host";

/** A prop to copy: it ticks, answers `ping`, and on `fire` has the fogger make fog. */
export class Worker extends BaseWorker {
  readonly tickMs: number = (this.config.tick_interval ?? 5) * 1000;
  readonly fireMs: number = this.config.fire_ms ?? 2000;
  readonly maxFireMs: number = this.config.max_fire_ms ?? 10_000;

  override async start() {
    await super.start();
    this.spawn(this.ticker);
  }

  async ticker() {
    for (let i = 0; ; i++) {
      this.telemetry("tick", i);
      await this.sleep(this.tickMs);
    }
  }

  async do_ping(text?: string) {
    this.telemetry("pong", text ?? "ok");
  }

  async do_fire(duration: unknown = this.fireMs) {
    const ms = numberFrom("fire", duration, this.maxFireMs);
    await this.hold(
      ms,
      () => this.command("fogger", "start", ms),
      () => this.command("fogger", "stop"),
    );
  }
}

/** `fire 750` brings a text, JSON a number. */
function numberFrom(name: string, value: unknown, max: number): number {
  const found = typeof value === "string" ? Number(value) : value;
  if (typeof found === "number" && found >= 1 && found <= max) return found;
  throw new RangeError(`${name}: expected a number of ms from 1 to ${max}, got ${JSON.stringify(value)}`);
}
