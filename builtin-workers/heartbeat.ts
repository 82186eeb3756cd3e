import { BaseWorker } from "worker-host";

const MODES = ["idle", "armed", "firing"];

/** A pulse to see that all is well, and something to try commands on. */
export class Worker extends BaseWorker {
  override async start() {
    await super.start();
    this.spawn(this.ticker);
  }

  async ticker() {
    const tickMs = (this.config.tick_interval ?? 5) * 1000;
    for (let i = 0; ; i++) {
      this.telemetry("tick", i);
      await this.sleep(tickMs);
    }
  }

  async do_ping(text?: string) {
    this.telemetry("pong", text ?? "ok");
  }

  async do_set_mode(mode = "idle") {
    if (MODES.includes(mode)) this.telemetry("mode", mode);
    else this.status("error", `set_mode: there is no mode "${mode}"; there are ${MODES.join(", ")}`);
  }

  async do_fire(duration: string | number = 500) {
    const ms = Number(duration);
    if (!(ms >= 0)) throw new RangeError(`fire: expected ms, such as 750, got "${duration}"`);
    await this.hold(
      ms,
      () => this.telemetry("event", `fire start ${ms}ms`),
      () => this.telemetry("event", "fire end"),
    );
  }
}
