import { expect, onTestFinished, test } from "vitest";
import { BaseWorker, command, duration, z } from "worker-host";
import { startWorker } from "worker-host/testing";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";

const text = (value: string) => value as unknown as number;

class Heater extends BaseWorker<z.infer<typeof Heater.config>> {
  static config = z.object({
    on_ms: duration().default("3min"),
    off_ms: duration().meta({ title: "Off" }).default("1.5h"),
    later_ms: duration().default(() => "2s"),
  });
  static loopIntervalMs = "10s";
  static stopTimeoutMs = "2s";

  override async start() {
    await super.start();
    this.every("1min", () => this.telemetry("tick", 1));
  }

  beats = 0;
  override loop() {
    this.telemetry("beats", ++this.beats);
  }

  @command({ args: duration().default("3min"), timeoutMs: "5min", cooldownMs: "2s", maxOnMs: "4min" })
  async do_heat(ms: number) {
    const say = (word: string) => () => this.telemetry("heat", word);
    await this.hold(ms, say("on"), say("off"));
    return ms;
  }

  async do_wait() {
    await this.sleep("2s");
    await this.hold(
      "2s",
      () => {},
      () => {},
    );
    return "waited";
  }

  async do_run() {
    return await this.exec("sleep", ["60"], { timeoutMs: "100ms" });
  }

  async do_ask() {
    await this.call("nobody", "ask", undefined, { timeoutMs: "2s" });
  }

  do_sleep(span: unknown) {
    return this.sleep(span as number);
  }
}

async function start() {
  const heater = await startWorker(Heater);
  onTestFinished(() => heater.stop());
  const count = (key: string) => heater.messages.filter(({ topic }) => topic.endsWith(`/telemetry/${key}`)).length;
  return { heater, count };
}

test("text is a time span in defaults, in what @command says, and in every helper that takes one", async () => {
  const { heater, count } = await start();
  expect(heater.worker.config).toEqual({ on_ms: 180_000, off_ms: 5_400_000, later_ms: 2000 });
  expect(heater.description?.commands?.heat).toMatchObject({
    timeout_ms: 300_000,
    cooldown_ms: 2000,
    max_on_ms: 240_000,
  });
  expect(heater.description).toMatchObject({ stop_timeout_ms: 2000 });
  const heat = heater.call("heat", undefined, { timeoutMs: "1h" });
  expect(await heater.telemetry("heat")).toBe("on");
  await heater.advance("179s");
  expect(count("heat")).toBe(1);
  await heater.advance("1s");
  expect(await heater.telemetry("heat")).toBe("off");
  expect(await heat).toBe(180_000);

  const waited = heater.call("wait");
  await heater.advance("4s");
  expect(await waited).toBe("waited");
  await expect(heater.call("run")).rejects.toThrow(/sleep took longer than 100 ms/);
  const [beats, ticks] = [count("beats"), count("tick")];
  await heater.advance("1min");
  expect(count("tick")).toBe(ticks + 1);
  expect(count("beats")).toBeGreaterThanOrEqual(beats + 5);
  const asked = heater.call("ask").catch((error: Error) => error.message);
  await heater.advance("2s");
  expect(await asked).toMatch(/nobody.*2000 ms/);
});

test.each([["5 seconds"], ["-1s"], ["5"], [""], ["1d"], ["NaN"], [{}], [-1]])(
  "what is no time span is refused: %j",
  async (span) => {
    const { heater } = await start();
    await expect(heater.call("sleep", span)).rejects.toThrow(/sleep\(.*expected a number of ms, 0 or more, or a text/);
    const given = span as number;
    expect(() => duration().default(given)).toThrow(/^duration\(\)\.default\(.*"5s"/);
    class Spec extends BaseWorker {
      @command({ cooldownMs: given })
      do_fire() {}
    }
    await expect(startWorker(Spec)).rejects.toThrow(/the command "fire": cooldownMs: expected ms, or a text/);
    class Looping extends BaseWorker {
      static loopIntervalMs = given;
      override loop() {}
    }
    await expect(startWorker(Looping)).rejects.toThrow(/static loopIntervalMs is .*expected a number of ms/);
  },
);

const ms = duration();
const DEFAULTS: [schema: z.ZodType, says: RegExp | undefined][] = [
  [z.object({ on_ms: ms.optional().default(text("3min")) }), /on_ms: the default is "3min": expected ms/],
  [z.object({ on: z.object({ ms }).default({ ms: text("3min") }) }), /on: the default is {"ms":"3min"}: ms: expected/],
  [z.object({ steps: z.array(ms).default([1, text("3min")]) }), /steps: the default is .*: expected ms/],
  [z.object({ level: z.number().default(text("high")) }), /level: the default is "high": expected number/],
  [z.object({ level: z.number().max(5).default(9) }), /level: the default is 9: Too big/],
  [z.object({ mode: z.enum(["a", "b"]).default("c" as "a") }), /mode: the default is "c": Invalid option/],
  [z.object({ deep: z.array(z.object({ on: z.boolean().default("on" as never) })).default([]) }), /deep\.on: .*"on"/],
  [z.object({ on_ms: ms.prefault("3min"), none: ms.nullable().default(null) }), undefined],
  [z.object({ word: z.string().transform(Number).default(5), name: z.string().default("x") }), undefined],
  [
    z.object({
      id: z
        .string()
        .refine(async () => true)
        .default("a"),
      any: z.unknown().default({}),
    }),
    undefined,
  ],
  [z.object({ on: z.object({ ms, x: ms.default("1s") }).default({ ms: 5, x: 1 }) }), undefined],
];

test.each(DEFAULTS)(
  "a default that its schema would not give is refused when the file loads: %#",
  async (config, says) => {
    class Lamp extends BaseWorker {
      static config = config;
    }
    class Args extends BaseWorker {
      @command({ args: config })
      do_fire() {}
    }
    for (const Worker of [Lamp, Args]) {
      const started = startWorker(Worker as typeof BaseWorker);
      if (says) await expect(started).rejects.toThrow(says);
      else await (await started).stop();
    }
  },
);

test("a host says so, and where", async () => {
  const body = 'static config = z.object({ on_ms: duration().optional().default("3min") });';
  const host = await startHost({
    props: {
      "heater/backend/worker.ts": workerSource(body, 'import { duration, z } from "worker-host";'),
      "lamp/backend/worker.ts": workerSource(
        'static config = duration().default("3 min.");',
        'import { duration } from "worker-host";',
      ),
    },
  });
  await host.logged(/heater\/backend\/worker\.ts: "static config": on_ms: the default is "3min": expected ms/);
  await host.logged(/lamp\/backend\/worker\.ts:\d+: duration\(\)\.default\(3 min\.\): expected a number of ms/);
});
