import { BaseWorker, type Task } from "worker-host";

const MODES = ["ready", "off"];

/** The server side of a fog machine; its board switches the pump. */
export class Worker extends BaseWorker {
  readonly board = `${this.id}_hw`;
  readonly startMs: number = this.config.start_ms ?? 3000;
  readonly maxOnMs: number = this.config.max_on_ms ?? 10_000;
  #mode = "ready";
  #fogging?: Task;

  override async start() {
    await super.start();
    this.state = "idle";
  }

  async do_start(duration: unknown = this.startMs) {
    const ms = numberFrom("start", duration, this.maxOnMs);
    if (this.#mode === "off") throw new Error('the fogger is off: send "set_mode ready" first');
    // A new start takes the place of one that is under way, or the earlier end would cut it short.
    this.#fogging?.cancel();
    this.#fogging = this.spawn(() => this.fog(ms));
    await this.#fogging.done;
  }

  async fog(ms: number) {
    await this.hold(
      ms,
      () => {
        this.state = "fogging";
        return this.command(this.board, "start", ms);
      },
      () => this.do_stop(),
    );
  }

  async do_stop() {
    this.state = "idle";
    await this.command(this.board, "stop");
  }

  async do_set_mode(mode: unknown = "ready") {
    if (typeof mode !== "string" || !MODES.includes(mode)) {
      throw new RangeError(`set_mode: expected ${MODES.join(" or ")}, got ${JSON.stringify(mode)}`);
    }
    this.#mode = mode;
    if (mode === "off") this.#fogging?.cancel();
    this.telemetry("mode", mode);
  }
}

/** `start 3000` brings a text, JSON a number. */
function numberFrom(name: string, value: unknown, max: number): number {
  const found = typeof value === "string" ? Number(value) : value;
  if (typeof found === "number" && found >= 1 && found <= max) return found;
  throw new RangeError(`${name}: expected a number of ms from 1 to ${max}, got ${JSON.stringify(value)}`);
}
