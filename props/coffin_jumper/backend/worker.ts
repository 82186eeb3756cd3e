import { BaseWorker, command, duration, type Task, type Telemetry, z } from "worker-host";

/** Props that join in a scare: all of `ids` get `<action> <ms>`, and `stop` at its end. */
const target = z.object({ ids: z.array(z.string()), action: z.string(), ms: duration() });

/** The coordinator of a scare: whoever walks past the armed coffin makes its lid jump, and other props join in. */
export class Worker extends BaseWorker<z.infer<typeof Worker.config>> {
  static config = z.object({
    jump_ms: duration().default(1500),
    max_on_ms: duration().default(5000),
    cooldown_s: z.number().nonnegative().default(20),
    trigger_topic: z.string().meta({ author: true }).optional(),
    targets: z.array(target).default([]),
  });
  static description = "A coffin whose lid jumps at whoever walks past, and others join in";
  static telemetry: Telemetry = { scare: { type: "number", description: "How many scares since it started" } };

  readonly board = `${this.id}_hw`;
  #boardState = "";
  #scares = 0;
  #show?: Task | undefined;

  override async start() {
    await super.start();
    this.state = "idle";
    await this.watchState(this.board, (state) => this.onBoard(state));
    const topic = this.config.trigger_topic;
    if (topic) await this.subscribe(topic, ({ text, retain }) => this.onMotion(text === "1", retain));
    else await this.watch(this.board, "pir", (value, { retain }) => this.onMotion(value === 1, retain));
  }

  async onMotion(somebody: boolean, retain: boolean) {
    // A retained message tells of somebody who is long gone.
    if (somebody && !retain && this.state === "armed") await this.perform(this.scare);
  }

  /** A board that restarted, or was told so past us, is not armed any more. */
  onBoard(state: string) {
    this.#boardState = state;
    if (this.state === "idle" || (state !== "disarmed" && state !== "fault")) return;
    this.disarm();
    this.status("warn", `disarmed, since the state of ${this.board} is ${state}`);
  }

  @command({ description: "Arm the board, and let the next motion scare" })
  async do_arm() {
    if (this.#boardState === "fault") throw new Error(`${this.board} is at fault: look at it, then send it "reset"`);
    await this.requireOnline(this.board);
    if (this.state === "idle") this.state = "armed";
    await this.command(this.board, "arm");
  }

  @command({ description: "Let nothing move; a scare under way ends", safe: true })
  async do_disarm() {
    this.disarm();
    await this.command(this.board, "disarm", undefined, { safe: true });
  }

  disarm() {
    this.#show?.cancel();
    this.#show = undefined;
    this.state = "idle";
  }

  @command({
    description: "Make the lid alone jump, while it is armed; a scare under way ends",
    args: duration()
      .optional()
      .meta({ title: "How long", description: "By its config, jump_ms if left empty, max_on_ms at most" }),
    widget: { type: "button", label: "Jump", confirm: true },
  })
  async do_jump(ms = this.config.jump_ms) {
    if (this.state === "idle") throw new Error('it is disarmed: send "arm" first');
    if (ms > this.config.max_on_ms) throw new RangeError(`at most ${this.config.max_on_ms} ms, got ${ms}`);
    await this.requireOnline(this.board);
    await this.perform(() => this.jump(ms));
  }

  @command({ description: "As disarm, at once" })
  async do_stop() {
    this.disarm();
    await this.command(this.board, "stop");
  }

  /** Runs one show at a time: a new one ends the one before. */
  async perform(show: (this: this) => Promise<void>) {
    this.#show?.cancel();
    this.state = "firing";
    const task = this.spawn(show);
    this.#show = task;
    await task.done;
    if (this.#show === task) this.state = "armed";
  }

  async scare() {
    this.telemetry("scare", ++this.#scares);
    await Promise.all([this.jump(this.config.jump_ms), ...this.config.targets.map((each) => this.cue(each))]);
    this.state = "cooldown";
    await this.sleep(this.config.cooldown_s * 1000);
  }

  /** The board ends it by itself; a `stop` would disarm it. */
  async jump(ms: number) {
    await this.command(this.board, "jump", ms);
    await this.sleep(ms);
  }

  cue({ ids, action, ms }: z.infer<typeof target>) {
    return this.hold(
      ms,
      () => this.broadcast(ids, action, ms),
      () => this.broadcast(ids, "stop"),
    );
  }
}
