import { setImmediate } from "node:timers/promises";
import { type Clock, systemClock } from "../base/clock.ts";

interface Timer {
  due: number;
  callback: () => void;
  cancel: () => void;
}

/** How many turns of the event loop a message needs, at most, to go through the broker and back. */
const TURNS = 60;

/** Time that goes on by itself, and can be put forward; while it is, nothing else moves it. */
export class TestClock implements Clock {
  readonly #timers = new Set<Timer>();
  /** By how much it is ahead of the system's, in ms. */
  #ahead = 0;
  /** What the clock on the wall shows beside that: it may be set. */
  #wall = systemClock.now() - systemClock.monotonic();
  #advances = 0;
  /** What it says while it is put forward. */
  #held: number | undefined;

  now(): number {
    return Math.round(this.monotonic() + this.#wall);
  }

  monotonic(): number {
    return this.#held ?? systemClock.monotonic() + this.#ahead;
  }

  /** Sets the clock on the wall forward by `ms`, or back: no time passes. */
  setForward(ms: number): void {
    this.#wall += ms;
  }

  after(ms: number, callback: () => void): () => void {
    const timer: Timer = { due: this.monotonic() + ms, callback, cancel: () => {} };
    this.#timers.add(timer);
    if (this.#held === undefined) this.#arm(timer);
    return () => {
      timer.cancel();
      this.#timers.delete(timer);
    };
  }

  /** Puts time forward by `ms`, calling what is due on the way in its order, each with what came of the one before. */
  async advance(ms: number): Promise<void> {
    this.#hold();
    const end = this.monotonic() + ms;
    try {
      await settle();
      for (let timer = this.#next(end); timer; timer = this.#next(end)) {
        this.#jump(timer.due);
        this.#fire(timer);
        await settle();
      }
      this.#jump(end);
    } finally {
      this.#release();
    }
  }

  #hold(): void {
    if (this.#advances++ > 0) return;
    this.#held = this.monotonic();
    for (const timer of this.#timers) timer.cancel();
  }

  #release(): void {
    if (--this.#advances > 0) return;
    this.#ahead = this.monotonic() - systemClock.monotonic();
    this.#held = undefined;
    for (const timer of this.#timers) this.#arm(timer);
  }

  #next(end: number): Timer | undefined {
    const [first] = [...this.#timers].sort((a, b) => a.due - b.due);
    return first && first.due <= end ? first : undefined;
  }

  #jump(time: number): void {
    this.#held = Math.max(time, this.monotonic());
  }

  #arm(timer: Timer): void {
    timer.cancel = systemClock.after(Math.max(0, timer.due - this.monotonic()), () => this.#fire(timer));
  }

  #fire(timer: Timer): void {
    if (this.#timers.delete(timer)) timer.callback();
  }
}

/** Fulfils when what was published before has arrived, with what was said to it at once. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await setImmediate();
}
