import { BaseWorker, type IncomingMessage, type Task } from "worker-host";

/** Props that join in a scare: all of `ids` get `<action> <ms>`, and `stop` at its end. */
interface Target {
  ids: string[];
  action: string;
  ms: number;
}

/** The coordinator of a scare: whoever walks past the armed coffin makes its lid jump, and other props join in. */
export class Worker extends BaseWorker {
  readonly board = `${this.id}_hw`;
  readonly triggerTopic: string = this.config.trigger_topic ?? `halloween/${this.board}/telemetry/pir`;
  readonly maxOnMs: number = this.config.max_on_ms ?? 5000;
  readonly jumpMs = numberFrom("config: jump_ms", this.config.jump_ms ?? 1500, this.maxOnMs);
  readonly cooldownMs: number = (this.config.cooldown_s ?? 20) * 1000;
  readonly targets: Target[] = this.config.targets ?? [];
  #armed = false;
  #scares = 0;
  #show?: Task;

  override async start() {
    await super.start();
    for (const target of this.targets) assertTarget(target);
    this.state = "idle";
    await this.subscribe(this.triggerTopic, this.onMotion);
  }

  async onMotion({ text, retain }: IncomingMessage) {
    // A retained message tells of somebody who is long gone.
    if (text === "1" && !retain && this.state === "armed") await this.perform(this.scare);
  }

  do_arm() {
    this.#armed = true;
    if (this.state === "idle") this.rest();
  }

  do_disarm() {
    this.#armed = false;
    this.#show?.cancel();
    this.rest();
  }

  async do_jump(duration: unknown = this.jumpMs) {
    const ms = numberFrom("jump", duration, this.maxOnMs);
    await this.perform(() => this.jump(ms));
  }

  async do_stop() {
    this.do_disarm();
    await this.command(this.board, "stop");
  }

  /** Runs one show at a time: a new one ends the one before. */
  async perform(show: (this: this) => Promise<void>) {
    this.#show?.cancel();
    this.state = "firing";
    const task = this.spawn(show);
    this.#show = task;
    await task.done;
    if (this.#show === task) this.rest();
  }

  async scare() {
    this.telemetry("scare", ++this.#scares);
    await Promise.all([this.jump(this.jumpMs), ...this.targets.map((target) => this.cue(target))]);
    this.state = "cooldown";
    await this.sleep(this.cooldownMs);
  }

  jump(ms: number) {
    return this.hold(
      ms,
      () => this.command(this.board, "jump", ms),
      () => this.command(this.board, "stop"),
    );
  }

  cue({ ids, action, ms }: Target) {
    return this.hold(
      ms,
      () => this.broadcast(ids, action, ms),
      () => this.broadcast(ids, "stop"),
    );
  }

  rest() {
    this.state = this.#armed ? "armed" : "idle";
  }
}

function assertTarget(target: Target): void {
  const { ids, action, ms } = target;
  if (Array.isArray(ids) && typeof action === "string" && ms >= 1) return;
  const found = JSON.stringify(target);
  throw new RangeError(`config: targets: expected such as { ids: [fogger], action: start, ms: 3000 }, got ${found}`);
}

/** `jump 750` brings a text, JSON a number. */
function numberFrom(name: string, value: unknown, max: number): number {
  const found = typeof value === "string" ? Number(value) : value;
  if (typeof found === "number" && found >= 1 && found <= max) return found;
  throw new RangeError(`${name}: expected a number of ms from 1 to ${max}, got ${JSON.stringify(value)}`);
}
