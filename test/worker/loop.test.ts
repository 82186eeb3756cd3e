import pino from "pino";
import { expect, test } from "vitest";
import { Scope } from "../../worker-host/base/scope.ts";
import { TestClock } from "../../worker-host/testing/test-clock.ts";
import { Loop } from "../../worker-host/worker/loop.ts";

function make(call: () => unknown = () => undefined, intervalMs = 60_000) {
  const clock = new TestClock();
  const errors: unknown[] = [];
  const owner = { id: "lab", log: pino({ level: "silent" }), report: () => {} };
  const scope = new Scope(owner, clock);
  let calls = 0;
  const loop = new Loop({
    scope,
    intervalMs,
    call: () => {
      calls++;
      return call();
    },
    report: (error) => errors.push(error),
  });
  return { clock, scope, loop, errors, calls: () => calls };
}

test("it calls at once, then each time a while after the last call has ended", async () => {
  let finish = () => {};
  const { clock, loop, calls } = make(() => new Promise<void>((resolve) => (finish = resolve)));
  loop.start();
  await clock.advance(0);
  expect(calls()).toBe(1);
  await clock.advance(600_000);
  expect(calls()).toBe(1);
  finish();
  await clock.advance(59_000);
  expect(calls()).toBe(1);
  await clock.advance(1_500);
  expect(calls()).toBe(2);
});

test("after errors it waits twice as long each time, up to a minute; a success ends that", async () => {
  let failing = true;
  const { clock, loop, errors, calls } = make(() => {
    if (failing) throw new Error("no power");
  }, 10_000);
  loop.start();
  await clock.advance(0);
  let late = 0;
  for (const [ms, count] of [
    [20_000, 2],
    [40_000, 3],
    [60_000, 4],
    [60_000, 5],
  ] as const) {
    await clock.advance(ms - 1_000 - late);
    expect(calls()).toBe(count - 1);
    await clock.advance(1_500);
    expect(calls()).toBe(count);
    late = 500;
  }
  expect(errors).toHaveLength(5);
  failing = false;
  await clock.advance(60_000);
  expect(calls()).toBe(6);
  await clock.advance(10_500);
  expect(calls()).toBe(7);
});

test("pause, resume and resumeIn, before the start too", async () => {
  const { clock, loop, calls } = make();
  loop.pause();
  loop.start();
  await clock.advance(600_000);
  expect(calls()).toBe(0);
  loop.resume();
  loop.resume();
  await clock.advance(0);
  expect(calls()).toBe(1);
  loop.resumeIn(300_000);
  await clock.advance(299_000);
  expect(calls()).toBe(1);
  await clock.advance(1_500);
  expect(calls()).toBe(2);
  loop.resumeIn(5_000);
  loop.pause();
  await clock.advance(600_000);
  expect(calls()).toBe(2);
});

test("it ends with its scope, whose end is no error", async () => {
  const { clock, scope, loop, errors, calls } = make(() => scope.sleep(1000));
  loop.start();
  await clock.advance(0);
  scope.end();
  await clock.advance(600_000);
  loop.resume();
  await clock.advance(600_000);
  expect([calls(), errors]).toEqual([1, []]);
});

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY, "1 sec" as never])("%o is no interval", (ms) => {
  expect(() => make(undefined, ms)).toThrow(/static loopIntervalMs is .*: expected a number of ms/);
  expect(() => make().loop.resumeIn(ms)).toThrow(/resumeLoopIn\(.*\): expected a number of ms/);
});

test("resumeIn holds when it is called in the call itself, or before the start", async () => {
  const { clock, loop, calls }: ReturnType<typeof make> = make(() => loop.resumeIn(5_000));
  loop.resumeIn(5_000);
  loop.start();
  await clock.advance(0);
  expect(calls()).toBe(0);
  await clock.advance(5_500);
  expect(calls()).toBe(1);
  await clock.advance(5_500);
  expect(calls()).toBe(2);
  loop.resume();
  await clock.advance(0);
  expect(calls()).toBe(3);
});
