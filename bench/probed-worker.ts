/** The worker of those props in the bench that tell of their process, and keep it busy. */
import { probe } from "./probe.mjs";
import { Worker as Plain } from "./worker.ts";

export class Worker extends Plain {
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
}
