import type { Clock } from "../base/clock.ts";
import type { Message, MessageHandler } from "./wire.ts";

/** How long a broker has, after it granted a subscription, to send what it retains. */
const RETAINED_MS = 2_000;

/**
 * One of those who share a subscription. A broker sends what it retains again for each that comes, and doesn't say for
 * whom: who is not new has it already.
 */
export class Listener {
  /** When the broker answered its subscription, in ms since 1970. */
  #answeredAt: number | undefined;
  /** The topics whose retained messages it had while it is new. */
  readonly #told = new Set<string>();
  #ended = false;

  /** @param retainAsPublished the retain flag of a message doesn't say that it was retained before */
  constructor(
    readonly handler: MessageHandler,
    private readonly clock: Clock,
    private readonly retainAsPublished = false,
  ) {}

  /** It is new: on each connection, what is retained may be something else. */
  begin(): void {
    this.#answeredAt = undefined;
    this.#told.clear();
  }

  /** The broker has answered its subscription, now or before. */
  answered(): void {
    this.#answeredAt ??= this.clock.monotonic();
  }

  end(): void {
    this.#ended = true;
  }

  /** What the broker retains may still be on its way to it. */
  get isNew(): boolean {
    return this.#answeredAt === undefined || this.clock.monotonic() - this.#answeredAt < RETAINED_MS;
  }

  /**
   * Whether it is to have that message: what is retained it has once.
   *
   * @param forNew it came because of those who are new
   */
  wants({ topic, retain }: Message, forNew: boolean): boolean {
    if (this.#ended || this.retainAsPublished) return !this.#ended;
    const { isNew } = this;
    if (!isNew) this.#told.clear();
    if (!retain) return true;
    if ((forNew && !isNew) || this.#told.has(topic)) return false;
    if (isNew) this.#told.add(topic);
    return true;
  }
}
