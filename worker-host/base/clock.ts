/** Time, handed in by whoever runs a worker, so that a test can hand in its own. */
export interface Clock {
  /** ms since 1970, for moments that are told: somebody may set this clock. */
  now(): number;
  /** ms on a clock that nothing sets, for spans of time. */
  monotonic(): number;
  /** Calls `callback` once, `ms` from now; the function it gives back cancels that. */
  after(ms: number, callback: () => void): () => void;
}

/** `setTimeout` takes a delay of more than 31 bits for 1 ms. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, callback) {
    let timer: NodeJS.Timeout;
    const wait = (left: number) => {
      const next = Math.min(left, MAX_TIMEOUT_MS);
      timer = setTimeout(() => (left > next ? wait(left - next) : callback()), next);
    };
    wait(ms);
    return () => clearTimeout(timer);
  },
};

/** Waits `ms`. */
export function delay(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}

/** What `work` gives, or `undefined` where it isn't done in `ms`. A late failure of `work` is let go. */
export async function within<T>(clock: Clock, ms: number, work: Promise<T>): Promise<{ value: T } | undefined> {
  let cancel = () => {};
  const timeout = new Promise<undefined>((resolve) => {
    cancel = clock.after(ms, () => resolve(undefined));
  });
  try {
    return await Promise.race([work.then((value) => ({ value })), timeout]);
  } finally {
    cancel();
  }
}
