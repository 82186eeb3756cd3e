/** The worker of each prop in the bench: what a plain one does, and what the bench asks of it. */
import { BaseWorker, command } from "worker-host";
import { probe } from "./probe.mjs";

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

  /** Takes its time, and leaves the process to others meanwhile. */
  async do_wait(text: string) {
    await this.sleep(Number(text));
    this.telemetry("waited", text);
  }

  /** Holds up its process, with breaks in which others get on. */
  async do_hang(text: string) {
    const [times = 0, ms = 0, breakMs = 0] = text.split(" ").map(Number);
    for (let i = 0; i < times; i++) {
      const until = performance.now() + ms;
      while (performance.now() < until);
      await this.sleep(breakMs);
    }
    this.telemetry("hung", text);
  }

  async do_probe(text: string) {
    this.telemetry("probed", await probe(text));
  }

  do_stop() {
    this.telemetry("stopped", "");
  }
}
