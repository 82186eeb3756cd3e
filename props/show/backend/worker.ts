import { BaseWorker, command, duration, type Task, type Telemetry, z } from "worker-host";

/** One thing that happens when the show opens. */
const step = z.object({
  after: duration().default(0),
  id: z.string(),
  action: z.string(),
  args: z.unknown().optional(),
});

/** The coordinator of the evening: it opens the haunt step by step, closes it, and switches everything off. */
export class Worker extends BaseWorker<z.infer<typeof Worker.config>> {
  static config = z.object({
    opening: z.array(step).default([]),
    closing: z.array(step).default([]),
    also_off: z.array(z.string()).default([]),
  });
  static description = "Opens the haunt step by step, closes it, and switches everything off";
  static telemetry: Telemetry = { step: { type: "string", description: "What was just told to whom" } };

  #sequence?: Task | undefined;

  override async start() {
    await super.start();
    this.state = "closed";
    this.describe({ states: ["closed", "opening", "open", "closing"] });
  }

  @command({
    description: "Open: tell the props what the config says, one after the other",
    mode: "single",
    widget: { type: "button", label: "Open", confirm: true },
  })
  async do_open() {
    if (await this.perform("opening", this.config.opening)) this.state = "open";
  }

  @command({
    description: "Close: tell the props what the config says, then switch everything off",
    mode: "single",
    widget: { type: "button", label: "Close", confirm: true },
  })
  async do_close() {
    if (await this.perform("closing", this.config.closing)) await this.do_all_off();
  }

  @command({
    description: "End an opening or a closing, and tell all props of the show to stop",
    safe: true,
    widget: { type: "button", label: "All off" },
  })
  async do_all_off() {
    this.#sequence?.cancel();
    this.#sequence = undefined;
    this.state = "closed";
    const steps = [...this.config.opening, ...this.config.closing];
    await this.broadcast(new Set([...steps.map(({ id }) => id), ...this.config.also_off]), "stop");
  }

  @command({ description: "As all_off" })
  async do_stop() {
    await this.do_all_off();
  }

  /** Takes one step after the other; gives whether it came to the end of them. */
  async perform(state: string, steps: z.infer<typeof step>[]): Promise<boolean> {
    this.#sequence?.cancel();
    this.state = state;
    const sequence = this.spawn(() => this.walk(steps));
    this.#sequence = sequence;
    await sequence.done;
    return this.#sequence === sequence;
  }

  async walk(steps: z.infer<typeof step>[]) {
    for (const { after, id, action, args } of steps) {
      await this.sleep(after);
      // Where the prop is absent, status/warn says so, and the show goes on.
      await this.command(id, action, args);
      this.telemetry("step", `${id} ${action}`);
    }
  }
}
