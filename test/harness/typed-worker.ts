import { BaseWorker, command, duration, z } from "worker-host";

/** What an author writes. It is never run: the compiler, in `npm run check`, is its test. */
export class Typed extends BaseWorker<z.infer<typeof Typed.config>> {
  static config = z.object({ tick_interval: z.number().positive().default(5), name: z.string().optional() });

  override async start() {
    await super.start();
    const ms: number = this.config.tick_interval * 1000;
    const name: string | undefined = this.config.name;
    // @ts-expect-error: the schema has no such key
    const wrong: unknown = this.config.tick_intervall;
    this.telemetry("ms", [ms, name, wrong]);
  }

  @command({ args: z.number().int().max(5000).default(500), mode: "single" })
  async do_fire(ms: number) {
    await this.sleep(ms);
  }

  @command({ args: duration().default("3min"), timeoutMs: "5min", cooldownMs: "1s" })
  async do_glow(ms: number) {
    await this.sleep(ms);
    await this.sleep("2s");
  }

  // @ts-expect-error: the schema lets a number through
  @command({ args: z.number() })
  do_wrong(text: string) {
    this.telemetry("wrong", text);
  }
}
