import { expect, onTestFinished, test } from "vitest";
import { BaseWorker, command, z } from "worker-host";
import { startWorker } from "worker-host/testing";
import { RateLimiter } from "../worker-host/base/log.ts";
import { TestClock } from "../worker-host/testing/test-clock.ts";
import { TestClient } from "./harness/client.ts";
import { startHost } from "./harness/host.ts";

const HOUR_MS = 3_600_000;

class Bell extends BaseWorker {
  override async start() {
    await super.start();
    let rings = 0;
    this.every(60_000, () => this.telemetry("rings", ++rings));
  }

  @command({ cooldownMs: 10_000, args: z.number().default(0) })
  async do_ring(ms: number) {
    await this.sleep(ms);
  }
}

for (const ms of [-HOUR_MS, HOUR_MS]) {
  test(`a clock that is set by ${ms / HOUR_MS} h: every, cooldowns and replies go by the time that has passed`, async () => {
    const bell = await startWorker(Bell);
    onTestFinished(() => bell.stop());
    const rung = () => bell.messages.filter(({ topic }) => topic.endsWith("/rings")).length;
    const replies = () => bell.messages.filter(({ topic }) => topic.includes("/reply/")).map(({ text }) => text);
    await bell.advance(60_000);
    expect(rung()).toBe(1);
    const ringing = bell.call("ring", 5_000);
    await bell.advance(0);
    bell.setClockForward(ms);
    await bell.advance(5_000);
    await ringing;
    expect(replies().map((text) => Math.round(JSON.parse(text).ms / 1000))).toEqual([5]);
    await bell.advance(1_000);
    await expect(bell.call("ring")).rejects.toThrow(/cooling down: (8|9)\d{3} ms left/);
    await bell.advance(54_000);
    expect(rung()).toBe(2);
    await bell.advance(60_000);
    expect(rung()).toBe(3);
  });

  test(`a clock that is set by ${ms / HOUR_MS} h: what floods the log gets neither more room nor less`, async () => {
    const clock = new TestClock();
    const told: string[] = [];
    const limiter = new RateLimiter(clock, (text) => told.push(text), 2);
    for (const text of ["1", "2"]) limiter.say(text);
    clock.setForward(ms);
    limiter.say("left out");
    expect(told).toEqual(["1", "2"]);
    await clock.advance(1_000);
    limiter.say("3");
    expect(told).toEqual(["1", "2", "left out", "3"]);
  });
}

test("a host tells since when it runs as a moment, and how long as a span", async () => {
  const host = await startHost({ props: {} });
  const client = await TestClient.connect(await host.url(), ["halloween/worker_host/#"]);
  const { since } = JSON.parse(await client.expect("halloween/worker_host/status/runstate", /running/));
  expect(Math.abs(Date.parse(since) - Date.now())).toBeLessThan(600_000);
  expect(Number(await client.expect("halloween/worker_host/uptime"))).toBeLessThan(600);
});
