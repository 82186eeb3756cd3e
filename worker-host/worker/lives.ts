import { setImmediate } from "node:timers/promises";
import type { Life } from "./life.ts";
import type { About, ConfigSpec, StartOptions, WorkerSpec } from "./messages.ts";

/** A worker's life under an id, and the one that it takes over from until that has ended. */
interface Seat {
  life: Life;
  run: number;
  before: Seat | undefined;
}

const STARTS_A_TURN = 16;

/** The workers of a process, one under each id: the next one's life begins when the one before has ended. */
export class Seats {
  readonly #seats = new Map<string, Seat>();
  #turn: Promise<unknown> = Promise.resolve();
  #starts = 0;

  /** @param create makes a life; `run` counts the worker's starts by its host, `seen` are the ids that it ran elsewhere */
  constructor(private readonly create: (spec: WorkerSpec, run: number, seen: readonly string[]) => Life) {}

  /** Starts a worker in the place of the one that has its id. */
  start(spec: WorkerSpec, run: number, options: StartOptions): void {
    const life = this.create(spec, run, options.seen);
    const seat: Seat = { life, run, before: this.#seats.get(spec.id) };
    this.#seats.set(spec.id, seat);
    void this.#take(seat, options);
  }

  async #take(seat: Seat, { patient, recover }: StartOptions): Promise<void> {
    if (seat.before && patient) await this.#drain(seat.before);
    if (seat.before) await this.#vacate(seat.before, "reload");
    seat.before = undefined;
    await this.#inTurn();
    await seat.life.start({ recover });
  }

  /** A few start in each turn of the event loop: a thousand at once would hold up the process. */
  #inTurn(): Promise<unknown> {
    if (this.#starts++ % STARTS_A_TURN === 0) this.#turn = this.#turn.then(() => setImmediate());
    return this.#turn;
  }

  async #drain({ life, before }: Seat): Promise<void> {
    if (before) await this.#drain(before);
    await life.drain();
  }

  async #vacate({ life, before }: Seat, reason: "reload" | "end", quiet = false): Promise<void> {
    if (before) await this.#vacate(before, reason, quiet);
    await life.stop(reason, quiet);
  }

  /** @param quiet after its connection has ended, so that nothing of it is heard */
  async stop(id: string, quiet = false): Promise<void> {
    const seat = this.#seats.get(id);
    if (!seat) return;
    await this.#vacate(seat, "end", quiet);
    // Until then whoever comes next waits for it.
    if (this.#seats.get(id) === seat) this.#seats.delete(id);
  }

  /**
   * Gives a worker what its config file says now; one that can't take it while it runs is started anew.
   *
   * @throws WorkerHostError `invalid_config`; whatever its `onConfig` throws
   */
  async configure(id: string, config: ConfigSpec, about: About): Promise<void> {
    const seat = this.#seats.get(id);
    const configured = await seat?.life.configure(config, about);
    if (!seat || configured !== "restart" || this.#seats.get(id) !== seat) return;
    this.start({ ...seat.life.spec, config, about }, seat.run, { patient: true, recover: false, seen: [] });
  }

  /** It takes no command but `stop`; `undefined` releases it. */
  lockOut(id: string, reason: string | undefined): void {
    this.#seats.get(id)?.life.lockOut(reason);
  }

  /** Tells people of something that concerns all workers of this process. */
  warnAll(text: string): void {
    for (const { life } of this.#seats.values()) life.warn(text);
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#seats.keys()].map((id) => this.stop(id)));
  }
}
