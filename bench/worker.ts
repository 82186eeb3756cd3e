/** The worker of each prop in the bench: what a plain one does, and what it is asked for. */
import { BaseWorker, command } from "worker-host";

export class Worker extends BaseWorker {
  override async start() {
    await super.start();
    this.spawn(this.ticker);
  }

  async ticker() {
    for (let i = 0; ; i++) {
      this.telemetry("tick", i);
      await this.sleep(5000);
    }
  }

  async do_ping(text?: string) {
    await undefined;
    this.telemetry("pong", text ?? "ok");
  }

  do_ping_sync(text?: string) {
    this.telemetry("pong", text ?? "ok");
  }

  do_nothing() {}

  @command({ broadcast: true })
  do_cue(text: string) {
    this.telemetry("pong", text);
  }

  do_stop() {
    this.telemetry("stopped", "");
  }
}
