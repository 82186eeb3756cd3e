import { setImmediate } from "node:timers/promises";
import type { EndReason } from "../commands/stopping.ts";
import type { Life } from "./life.ts";
import type { About, ConfigSpec, StartOptions, WorkerSpec } from "./messages.ts";

/** A worker's life under an id, and the one that it takes over from until that has ended. */
interface Place {
  life: Life;
  run: number;
  before: Place | undefined;
}

const STARTS_A_TURN = 16;

/** The workers of a process, one under each id: the next one's life begins when the one before has ended. */
export class Lives {
  readonly #places = new Map<string, Place>();
  #turn: Promise<unknown> = Promise.resolve();
  #starts = 0;

  /** @param create makes a life; `run` counts the worker's starts by its host, `seen` are the ids that it ran elsewhere */
  constructor(private readonly create: (spec: WorkerSpec, run: number, seen: readonly string[]) => Life) {}

  /** Starts a worker in the place of the one that has its id. */
  start(spec: WorkerSpec, run: number, options: StartOptions): void {
    const life = this.create(spec, run, options.seen);
    const place: Place = { life, run, before: this.#places.get(spec.id) };
    this.#places.set(spec.id, place);
    void this.#take(place, options);
  }

  async #take(place: Place, { patient, recover }: StartOptions): Promise<void> {
    if (place.before && patient) await this.#drain(place.before);
    if (place.before) await this.#vacate(place.before, "reload");
    place.before = undefined;
    await this.#inTurn();
    await place.life.start({ recover });
  }

  /** A few start in each turn of the event loop: a thousand at once would hold up the process. */
  #inTurn(): Promise<unknown> {
    if (this.#starts++ % STARTS_A_TURN === 0) this.#turn = this.#turn.then(() => setImmediate());
    return this.#turn;
  }

  async #drain({ life, before }: Place): Promise<void> {
    if (before) await this.#drain(before);
    await life.drain();
  }

  async #vacate({ life, before }: Place, reason: EndReason, quiet = false): Promise<void> {
    if (before) await this.#vacate(before, reason, quiet);
    await life.stop(reason, quiet);
  }

  /** @param quiet after its connection has ended, so that nothing of it is heard */
  async stop(id: string, quiet = false): Promise<void> {
    const place = this.#places.get(id);
    if (!place) return;
    await this.#vacate(place, "end", quiet);
    // Until then whoever comes next waits for it.
    if (this.#places.get(id) === place) this.#places.delete(id);
  }

  /**
   * Gives a worker what its config file says now; one that can't take it while it runs is started anew.
   *
   * @throws WorkerHostError `invalid_config`; whatever its `onConfig` throws
   */
  async configure(id: string, config: ConfigSpec, about: About): Promise<void> {
    const place = this.#places.get(id);
    const configured = await place?.life.configure(config, about);
    if (!place || configured !== "restart" || this.#places.get(id) !== place) return;
    this.start({ ...place.life.spec, config, about }, place.run, { patient: true, recover: false, seen: [] });
  }

  /** It takes no command but `stop`; `undefined` releases it. */
  lockOut(id: string, reason: string | undefined): void {
    for (const life of livesOf(this.#places.get(id))) life.lockOut(reason);
  }

  /** Tells people of something that concerns all workers of this process. */
  warnAll(text: string): void {
    for (const place of this.#places.values()) for (const life of livesOf(place)) life.warn(text);
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#places.keys()].map((id) => this.stop(id)));
  }
}

/** The lives under one id: the next one, and those before it, which run until it begins. */
function livesOf(place: Place | undefined): Life[] {
  return place ? [place.life, ...livesOf(place.before)] : [];
}
