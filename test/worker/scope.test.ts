import { pino } from "pino";
import { describe, expect, test } from "vitest";
import type { Clock } from "../../worker-host/base/clock.ts";
import { Scope } from "../../worker-host/base/scope.ts";
import { AbortError, type ScopeOwner } from "../../worker-host/base/scope-owner.ts";
import { every } from "../../worker-host/base/timers.ts";
import { WorkerHostError } from "../../worker-host/contract/errors.ts";

/** Lets all promises that can settle do so. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Time that passes only when a test says so. */
class FakeClock implements Clock {
  #now = 1_000_000;
  readonly #timers = new Set<{ at: number; callback: () => void }>();

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get pending(): number {
    return this.#timers.size;
  }

  /** Lets `ms` pass, and all that follows from it happen. */
  async pass(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settle();
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
      await settle();
    }
    this.#now = until;
  }
}

class Owner implements ScopeOwner {
  readonly id = "fogger";
  readonly log = pino({ level: "silent" });
  readonly reports: string[] = [];

  report(error: unknown, where: string): void {
    this.reports.push(`${where}: ${(error as Error).message}`);
  }
}

function setUp() {
  const clock = new FakeClock();
  const owner = new Owner();
  return { clock, owner, scope: new Scope(owner, clock), events: [] as string[] };
}

/** What has become of `work` by now. */
async function outcome(work: Promise<unknown>): Promise<string> {
  let state = "pending";
  work.then(
    () => {
      state = "fulfilled";
    },
    (error: Error) => {
      state = error.name;
    },
  );
  await settle();
  return state;
}

/** A promise to be settled from outside. */
function deferred() {
  let resolve = () => {};
  let reject = (_: Error) => {};
  const promise = new Promise<void>((fulfil, refuse) => {
    resolve = fulfil;
    reject = refuse;
  });
  return { promise, resolve, reject };
}

async function isIdle(scope: Scope): Promise<boolean> {
  return (await outcome(scope.idle())) === "fulfilled";
}

const NOT_DELAYS = [-1, Number.NaN, "500", undefined, null, Number.NEGATIVE_INFINITY] as number[];

describe("sleep", () => {
  test("waits so long and no longer", async () => {
    const { clock, scope } = setUp();
    const sleep = scope.sleep(100);
    await clock.pass(99);
    expect(await outcome(sleep)).toBe("pending");
    await clock.pass(1);
    expect(await outcome(sleep)).toBe("fulfilled");
    expect(await isIdle(scope)).toBe(true);
  });

  test("rejects at once when the scope ends, and leaves no timer", async () => {
    const { clock, scope } = setUp();
    const sleep = scope.sleep(100);
    scope.end(new AbortError("the worker stops"));
    await expect(sleep).rejects.toThrow("the worker stops");
    expect(clock.pending).toBe(0);
    expect(await isIdle(scope)).toBe(true);
  });

  test("each of those that are under way rejects", async () => {
    const { scope } = setUp();
    const sleeps = [scope.sleep(1), scope.sleep(2), scope.sleep(3)];
    scope.end();
    expect(await Promise.all(sleeps.map(outcome))).toEqual(["AbortError", "AbortError", "AbortError"]);
  });

  test("in an ended scope rejects once; a later one never settles", async () => {
    const { clock, scope } = setUp();
    scope.end();
    expect(await outcome(scope.sleep(1))).toBe("AbortError");
    const later = scope.sleep(1);
    await clock.pass(10_000);
    expect(await outcome(later)).toBe("pending");
    expect(await isIdle(scope)).toBe(true);
  });

  test("a loop that catches everything doesn't spin, and counts as over", async () => {
    const { clock, scope, owner } = setUp();
    let rounds = 0;
    let caught = 0;
    const task = scope.spawn(async (inner) => {
      for (;;) {
        rounds++;
        try {
          await inner.sleep(100);
        } catch {
          caught++;
        }
      }
    });
    await clock.pass(250);
    expect(rounds).toBe(3);
    scope.end();
    await clock.pass(10_000);
    expect({ rounds, caught }).toEqual({ rounds: 4, caught: 1 });
    expect(await isIdle(scope)).toBe(true);
    expect(await outcome(task.done)).toBe("fulfilled");
    expect(owner.reports).toEqual([]);
  });

  test.each(NOT_DELAYS)("of %j ms is refused in words", (ms) => {
    const { scope } = setUp();
    expect(() => scope.sleep(ms)).toThrow(WorkerHostError);
    expect(() => scope.sleep(ms)).toThrow(`sleep(${String(ms)}): expected a number of ms, 0 or more`);
  });
});

describe("every", () => {
  test("calls first after the interval, then at each, without drift", async () => {
    const { clock, scope } = setUp();
    const times: number[] = [];
    const begun = clock.now();
    every(scope, 100, async () => {
      times.push(clock.now() - begun);
      await scope.sleep(30);
    });
    await clock.pass(450);
    expect(times).toEqual([100, 200, 300, 400]);
  });

  test("never overlaps: what is late is not made up for", async () => {
    const { clock, scope } = setUp();
    const times: number[] = [];
    const begun = clock.now();
    let running = 0;
    every(scope, 100, async () => {
      times.push(clock.now() - begun);
      expect(++running).toBe(1);
      await scope.sleep(250);
      running--;
    });
    await clock.pass(1_000);
    expect(times).toEqual([100, 350, 600, 850]);
  });

  test("after a slow call comes one at once, and then the interval again", async () => {
    const { clock, scope } = setUp();
    const times: number[] = [];
    const begun = clock.now();
    every(scope, 100, async () => {
      times.push(clock.now() - begun);
      if (times.length === 1) await scope.sleep(350);
    });
    await clock.pass(700);
    expect(times).toEqual([100, 450, 550, 650]);
  });

  test("an error is reported, and the next call comes", async () => {
    const { clock, scope, owner } = setUp();
    let calls = 0;
    every(
      scope,
      100,
      () => {
        calls++;
        if (calls === 1) throw new Error("sync");
        if (calls === 2) return Promise.reject(new Error("async"));
        return undefined;
      },
      "poll",
    );
    await clock.pass(350);
    expect(calls).toBe(3);
    expect(owner.reports).toEqual(["poll: sync", "poll: async"]);
  });

  test("ends when it is cancelled, also in the midst of a call, and says so", async () => {
    const { clock, scope, owner, events } = setUp();
    const task = every(scope, 100, async () => {
      events.push("begin");
      await Scope.current()?.sleep(50);
      events.push("end");
    });
    await clock.pass(120);
    task.cancel();
    await clock.pass(1_000);
    expect(events).toEqual(["begin"]);
    expect(await outcome(task.done)).toBe("fulfilled");
    expect(await isIdle(scope)).toBe(true);
    expect(clock.pending).toBe(0);
    expect(owner.reports).toEqual([]);
  });

  test.each(NOT_DELAYS)("of %j ms is refused in words", (ms) => {
    const { scope } = setUp();
    expect(() => every(scope, ms, () => {})).toThrow(/^every\(.*expected a number of ms/);
  });
});

describe("hold", () => {
  const holding = (context: ReturnType<typeof setUp>, ms: number) =>
    context.scope.hold(
      ms,
      () => context.events.push("on"),
      () => context.events.push("off"),
    );

  test("turns on, and off at the end", async () => {
    const context = setUp();
    const hold = holding(context, 100);
    await context.clock.pass(99);
    expect(context.events).toEqual(["on"]);
    await context.clock.pass(1);
    expect(context.events).toEqual(["on", "off"]);
    expect(await outcome(hold)).toBe("fulfilled");
    expect(await isIdle(context.scope)).toBe(true);
  });

  test("turns off at once when the scope ends: in the same turn, not a moment later", async () => {
    const context = setUp();
    const hold = holding(context, 100);
    await context.clock.pass(50);
    context.scope.end();
    expect(context.events).toEqual(["on", "off"]);
    expect(await outcome(hold)).toBe("AbortError");
    expect(context.events).toEqual(["on", "off"]);
    expect(context.clock.pending).toBe(0);
    expect(await isIdle(context.scope)).toBe(true);
  });

  test.each([
    [
      "throws",
      () => {
        throw new Error("no power");
      },
    ],
    ["rejects", () => Promise.reject(new Error("no power"))],
  ])("turns off when `on` %s", async (_how, on) => {
    const { scope, events } = setUp();
    await expect(scope.hold(100, on, () => events.push("off"))).rejects.toThrow("no power");
    expect(events).toEqual(["off"]);
    expect(await isIdle(scope)).toBe(true);
  });

  test("when the scope ends while `on` is pending, turns off at once and again once it is on", async () => {
    const { scope, events, clock } = setUp();
    const turningOn = deferred();
    const hold = scope.hold(
      100,
      () => turningOn.promise.then(() => events.push("on")),
      () => events.push("off"),
    );
    scope.end();
    expect(events).toEqual(["off"]);
    expect(await outcome(hold)).toBe("pending");
    turningOn.resolve();
    expect(await outcome(hold)).toBe("AbortError");
    expect(events).toEqual(["off", "on", "off"]);
    expect(clock.pending).toBe(0);
    expect(await isIdle(scope)).toBe(true);
  });

  test("when the scope ends while `on` is pending and `on` then throws, it is off all the same", async () => {
    const { scope, events } = setUp();
    const turningOn = deferred();
    const hold = scope.hold(
      100,
      () => turningOn.promise,
      () => events.push("off"),
    );
    scope.end();
    turningOn.reject(new Error("no power"));
    await expect(hold).rejects.toThrow("no power");
    expect(events.at(-1)).toBe("off");
  });

  test("in a scope that has ended, doesn't turn on", async () => {
    const context = setUp();
    context.scope.end();
    expect(await outcome(holding(context, 100))).toBe("AbortError");
    expect(context.events).toEqual([]);
  });

  test("`off` may take its time, even after the end: the scope isn't idle before it is done", async () => {
    const { scope, events, clock } = setUp();
    const hold = scope.hold(
      100,
      () => events.push("on"),
      async () => {
        events.push("close valve");
        await Scope.current()?.sleep(20);
        events.push("vent");
      },
    );
    const aborted = expect(hold).rejects.toThrow(AbortError);
    await settle();
    scope.end();
    const idle = scope.idle();
    expect(events).toEqual(["on", "close valve"]);
    expect(await outcome(idle)).toBe("pending");
    await clock.pass(20);
    expect(events).toEqual(["on", "close valve", "vent"]);
    expect(await outcome(idle)).toBe("fulfilled");
    await aborted;
  });

  test("an error in `off` is told to whoever waits", async () => {
    const { scope, clock } = setUp();
    const hold = scope.hold(
      100,
      () => {},
      () => {
        throw new Error("valve stuck");
      },
    );
    const told = expect(hold).rejects.toThrow("valve stuck");
    await clock.pass(100);
    await told;
    expect(await isIdle(scope)).toBe(true);
  });

  test("an error in `off` at the end of the scope is told too, not hidden by the abort", async () => {
    const { scope, clock } = setUp();
    const hold = scope.hold(
      100,
      () => {},
      () => Promise.reject(new Error("valve stuck")),
    );
    const told = expect(hold).rejects.toThrow("valve stuck");
    await clock.pass(50);
    scope.end();
    await told;
  });

  test("side by side, each turns off", async () => {
    const { scope, events } = setUp();
    const holds = ["a", "b"].map((name) =>
      scope.hold(
        100,
        () => events.push(`${name} on`),
        () => events.push(`${name} off`),
      ),
    );
    await settle();
    scope.end();
    expect(events).toEqual(["a on", "b on", "a off", "b off"]);
    expect(await Promise.all(holds.map(outcome))).toEqual(["AbortError", "AbortError"]);
  });

  test("one inside the other: both turn off", async () => {
    const { scope, events } = setUp();
    const hold = scope.hold(
      100,
      () => {
        events.push("outer on");
        return scope.hold(
          50,
          () => events.push("inner on"),
          () => events.push("inner off"),
        );
      },
      () => events.push("outer off"),
    );
    await settle();
    scope.end();
    expect(await outcome(hold)).toBe("AbortError");
    expect(events.filter((event) => event.endsWith("on"))).toEqual(["outer on", "inner on"]);
    expect(events).toContain("inner off");
    expect(events.at(-1)).toBe("outer off");
  });

  test.each(NOT_DELAYS)("of %j ms is refused before anything is turned on", async (ms) => {
    const context = setUp();
    await expect(holding(context, ms)).rejects.toThrow(/^hold\(.*expected a number of ms/);
    expect(context.events).toEqual([]);
  });
});

describe("spawn", () => {
  test("starts at once, and is over when its function is", async () => {
    const { scope, events, clock } = setUp();
    const task = scope.spawn(async (inner) => {
      events.push("begun");
      await inner.sleep(100);
      events.push("done");
    });
    expect(events).toEqual(["begun"]);
    expect(await outcome(task.done)).toBe("pending");
    expect(await isIdle(scope)).toBe(false);
    await clock.pass(100);
    expect(events).toEqual(["begun", "done"]);
    expect(await outcome(task.done)).toBe("fulfilled");
    expect(await isIdle(scope)).toBe(true);
  });

  test("takes a promise", async () => {
    const { scope, owner } = setUp();
    const [good, bad] = [deferred(), deferred()];
    const tasks = [scope.spawn(good.promise), scope.spawn(bad.promise, "upload")];
    expect(await isIdle(scope)).toBe(false);
    good.resolve();
    bad.reject(new Error("refused"));
    for (const { done } of tasks) expect(await outcome(done)).toBe("fulfilled");
    expect(owner.reports).toEqual(["upload: refused"]);
    expect(await isIdle(scope)).toBe(true);
  });

  test("an error, thrown at once or later, is reported and ends nothing else", async () => {
    const { scope, owner, clock } = setUp();
    const other = scope.spawn((inner) => inner.sleep(100));
    const failing = [
      scope.spawn(() => {
        throw new Error("at once");
      }, "ticker"),
      scope.spawn(async (inner) => {
        await inner.sleep(10);
        throw new Error("later");
      }, "ticker"),
    ];
    await clock.pass(10);
    for (const { done } of failing) expect(await outcome(done)).toBe("fulfilled");
    expect(owner.reports).toEqual(["ticker: at once", "ticker: later"]);
    expect(await outcome(other.done)).toBe("pending");
    expect(scope.ended).toBe(false);
  });

  test("cancel ends that task alone, twice as well as once", async () => {
    const { scope, owner, events } = setUp();
    const task = scope.spawn((inner) =>
      inner.hold(
        100,
        () => events.push("on"),
        () => events.push("off"),
      ),
    );
    const other = scope.spawn((inner) => inner.sleep(100));
    await settle();
    task.cancel();
    task.cancel();
    expect(events).toEqual(["on", "off"]);
    expect(await outcome(task.done)).toBe("fulfilled");
    expect(await outcome(other.done)).toBe("pending");
    expect(owner.reports).toEqual([]);
  });

  test("an AbortError of somebody else's is an error like any other", async () => {
    const { scope, owner } = setUp();
    await scope.spawn(() => AbortSignal.abort().throwIfAborted(), "download").done;
    expect(owner.reports).toHaveLength(1);
    expect(owner.reports[0]).toMatch(/^download: /);
  });

  test("an error on the way down is reported, the abort itself is not", async () => {
    const { scope, owner } = setUp();
    scope.spawn(async (inner) => {
      try {
        await inner.sleep(100);
      } finally {
        // biome-ignore lint/correctness/noUnsafeFinally: what a careless author writes
        throw new Error("while ending");
      }
    }, "ticker");
    scope.spawn((inner) => inner.sleep(100), "quiet");
    scope.end();
    await settle();
    expect(owner.reports).toEqual(["ticker: while ending"]);
  });

  test("in a scope that has ended, starts nothing", async () => {
    const { scope, events } = setUp();
    scope.end();
    const task = scope.spawn(() => events.push("begun"));
    expect(await outcome(task.done)).toBe("fulfilled");
    expect(events).toEqual([]);
  });
});

describe("a scope inside another", () => {
  test("ends with it, however deep, with the same reason", async () => {
    const { scope, events } = setUp();
    const reasons: Promise<string>[] = [];
    scope.spawn((child) =>
      child.spawn((grandchild) => {
        reasons.push(
          grandchild
            .hold(
              100,
              () => events.push("on"),
              () => events.push("off"),
            )
            .then(
              () => "fulfilled",
              (error: Error) => error.message,
            ),
        );
        return grandchild.sleep(1_000);
      }),
    );
    await settle();
    scope.end(new AbortError("all stop"));
    expect(events).toEqual(["on", "off"]);
    expect(await Promise.all(reasons)).toEqual(["all stop"]);
    expect(await isIdle(scope)).toBe(true);
  });

  test("ends alone", async () => {
    const { scope, clock } = setUp();
    const sleep = scope.sleep(100);
    const child = scope.child();
    const inner = child.sleep(100);
    child.end();
    expect(await outcome(inner)).toBe("AbortError");
    expect([scope.ended, child.ended]).toEqual([false, true]);
    await clock.pass(100);
    expect(await outcome(sleep)).toBe("fulfilled");
  });

  test("made when the outer one has ended, it has ended too", async () => {
    const { scope } = setUp();
    scope.end();
    const child = scope.child();
    expect(child.ended).toBe(true);
    expect(child.signal.aborted).toBe(true);
    expect(await outcome(child.sleep(1))).toBe("AbortError");
  });

  test("is busy for it as long as anything runs in it", async () => {
    const { scope, clock } = setUp();
    const child = scope.child();
    expect(await isIdle(scope)).toBe(true);
    const sleep = child.child().sleep(100);
    expect(await isIdle(scope)).toBe(false);
    await clock.pass(100);
    await sleep;
    expect(await isIdle(scope)).toBe(true);
  });

  test("costs nothing once it is over: nobody holds it", async () => {
    const { scope, clock } = setUp();
    const gone: WeakRef<Scope>[] = [];
    for (let count = 0; count < 100; count++) {
      scope.spawn((inner) => {
        gone.push(new WeakRef(inner));
        return inner.hold(
          10,
          () => inner.signal,
          () => {},
        );
      });
    }
    await clock.pass(10);
    expect(await isIdle(scope)).toBe(true);
    await collectGarbage();
    expect(gone.filter((ref) => ref.deref() !== undefined).length).toBeLessThan(5);
  });
});

async function collectGarbage(): Promise<void> {
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  for (let round = 0; round < 3; round++) {
    await settle();
    gc();
  }
}

describe("signal", () => {
  test("aborts when the scope ends, with its reason", () => {
    const { scope } = setUp();
    const { signal } = scope;
    expect(signal.aborted).toBe(false);
    const reason = new AbortError("the worker stops");
    scope.end(reason);
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toBe(reason);
    expect((signal.reason as Error).name).toBe("AbortError");
    expect(scope.signal).toBe(signal);
  });

  test("of a task aborts with the scope around it", async () => {
    const { scope, clock } = setUp();
    const signals: AbortSignal[] = [];
    scope.spawn(async (inner) => {
      signals.push(inner.signal);
      await inner.sleep(100);
    });
    scope.end();
    await clock.pass(0);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });
});

describe("Scope.current", () => {
  test("is the one that the running code was started in, across awaits, timers and siblings", async () => {
    const { scope, clock } = setUp();
    const other = new Scope(new Owner(), clock);
    const seen: [string, boolean][] = [];
    const look = (name: string, expected: Scope) => seen.push([name, Scope.current() === expected]);
    const follow = (name: string) => async (inner: Scope) => {
      look(`${name} at once`, inner);
      await null;
      look(`${name} after an await`, inner);
      await inner.sleep(10);
      look(`${name} after a sleep`, inner);
      await new Promise<void>((resolve) => setTimeout(resolve, 1));
      look(`${name} after a timer`, inner);
      await inner.track(async () => look(`${name} in a helper`, inner));
    };
    expect(Scope.current()).toBeUndefined();
    const tasks = [scope.spawn(follow("a")), scope.spawn(follow("b")), other.spawn(follow("c"))];
    await clock.pass(10);
    await Promise.all(tasks.map(({ done }) => done));
    expect(seen).toHaveLength(15);
    expect(seen.filter(([, right]) => !right)).toEqual([]);
    expect(Scope.current()).toBeUndefined();
  });

  test("in `off` is one that has not ended", async () => {
    const { scope } = setUp();
    const seen: (boolean | undefined)[] = [];
    const hold = scope.hold(
      100,
      () => {},
      () => seen.push(Scope.current()?.ended, Scope.current()?.owner === scope.owner),
    );
    scope.end();
    expect(await outcome(hold)).toBe("AbortError");
    expect(seen.slice(0, 2)).toEqual([false, true]);
  });
});

describe("idle", () => {
  test("fulfils for all who wait, at once where nothing runs", async () => {
    const { scope, clock } = setUp();
    await scope.idle();
    const sleep = scope.sleep(100);
    const waiting = [scope.idle(), scope.idle()];
    await clock.pass(99);
    expect(await Promise.all(waiting.map(outcome))).toEqual(["pending", "pending"]);
    await clock.pass(1);
    await sleep;
    expect(await Promise.all(waiting.map(outcome))).toEqual(["fulfilled", "fulfilled"]);
  });

  test("waits for what is begun while it waits", async () => {
    const { scope, clock } = setUp();
    scope.spawn(async (inner) => {
      await inner.sleep(10);
      scope.spawn((next) => next.sleep(10));
    });
    const idle = scope.idle();
    await clock.pass(15);
    expect(await outcome(idle)).toBe("pending");
    await clock.pass(5);
    expect(await outcome(idle)).toBe("fulfilled");
  });

  test("waits for work that takes no notice of the end", async () => {
    const { scope } = setUp();
    const stubborn = deferred();
    scope.spawn(() => stubborn.promise);
    scope.end();
    expect(await isIdle(scope)).toBe(false);
    stubborn.resolve();
    expect(await isIdle(scope)).toBe(true);
  });
});

test("ending twice changes nothing", async () => {
  const { scope } = setUp();
  const { signal } = scope;
  scope.end(new AbortError("first"));
  scope.end(new AbortError("second"));
  expect((signal.reason as Error).message).toBe("first");
  await expect(scope.sleep(1)).rejects.toThrow("first");
});
