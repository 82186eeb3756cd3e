import { afterEach, describe, expect, onTestFinished, test } from "vitest";
import { BaseWorker, command, z } from "worker-host";
import { type StartWorkerOptions, startWorker } from "worker-host/testing";
import { isWithin, nextAt } from "../worker-host/base/clock.ts";

// biome-ignore lint/suspicious/noExplicitAny: whatever its config is
async function start<W extends BaseWorker<any>>(
  Worker: new (...args: ConstructorParameters<typeof BaseWorker>) => W,
  options: StartWorkerOptions = {},
) {
  const prop = await startWorker(Worker, options);
  onTestFinished(() => prop.stop());
  const said = () => prop.messages.filter(({ topic }) => topic.endsWith("/telemetry/says")).map(({ text }) => text);
  return { prop, said };
}

const warnings = ({ messages }: { messages: readonly { topic: string; text: string }[] }) =>
  messages.filter(({ topic }) => topic.endsWith("/status/warn")).map(({ text }) => text);

class Says extends BaseWorker {
  says(text: string) {
    this.telemetry("says", text);
  }
}

describe("timeline", () => {
  class Scene extends Says {
    async do_scene() {
      await this.scene();
    }

    scene() {
      return this.timeline([
        ["12.5s", () => this.says("late")],
        [
          0,
          () =>
            this.hold(
              "20s",
              () => this.says("on"),
              () => this.says("off"),
            ),
        ],
        [500, () => this.says("early")],
      ]);
    }

    async do_broken() {
      await this.timeline([
        [
          0,
          () =>
            this.hold(
              "20s",
              () => this.says("on"),
              () => this.says("off"),
            ),
        ],
        [100, () => Promise.reject(new Error("no power"))],
        [200, () => this.says("never")],
      ]);
    }

    async do_wrong() {
      await this.timeline([["soon", () => this.says("never")]]);
    }
  }

  test("each step begins at its time from the start, and none waits for another", async () => {
    const { prop, said } = await start(Scene);
    await prop.send("scene");
    expect(said()).toEqual(["on"]);
    await prop.advance(500);
    expect(said()).toEqual(["on", "early"]);
    await prop.advance(11_900);
    expect(said()).toEqual(["on", "early"]);
    await prop.advance(200);
    expect(said()).toEqual(["on", "early", "late"]);
    await prop.advance(7_500);
    expect(said()).toEqual(["on", "early", "late", "off"]);
  });

  test.each(["stop", "all-stop"])("%s ends it: what is on goes off, and no further step comes", async (how) => {
    const { prop, said } = await start(Scene);
    await prop.send("scene");
    if (how === "stop") await prop.send("stop");
    else await prop.allStop();
    await prop.advance(0);
    expect(said()).toEqual(["on", "off"]);
    await prop.advance("1min");
    expect(said()).toEqual(["on", "off"]);
  });

  test("a step that throws ends the others, and the timeline throws that", async () => {
    const { prop, said } = await start(Scene);
    await prop.send("broken");
    await prop.advance("1min");
    expect(said()).toEqual(["on", "off"]);
    expect(await prop.status("error")).toBe("broken: Error: no power");
  });

  test("a time that is none is refused in words", async () => {
    const { prop } = await start(Scene);
    await prop.send("wrong");
    expect(await prop.status("error")).toMatch(/timeline: a step at soon: expected a number of ms/);
  });

  test("in a callback of other code it is a run, which a stop ends", async () => {
    const { prop, said } = await start(Scene);
    // A callback of a library has nothing of ours around it.
    const scene = prop.worker.scene();
    scene.catch(() => {});
    await prop.advance(10);
    expect(said()).toEqual(["on"]);
    await prop.send("stop");
    await prop.advance("1min");
    expect(said()).toEqual(["on", "off"]);
    await expect(scene).rejects.toThrow("stopped");
  });
});

describe("retry", () => {
  class Bridge extends Says {
    failures = 3;

    override async start() {
      this.spawn(async () => this.says(await this.retry("Hue bridge", () => this.connect())));
    }

    connect() {
      this.says("tried");
      if (this.failures-- > 0) throw new Error("no answer");
      return "connected";
    }
  }

  test("it tries again, less and less often, and says so once, and once when it works", async () => {
    const { prop, said } = await start(Bridge);
    expect(said()).toEqual(["tried"]);
    for (const [ms, count] of [
      [900, 1],
      [200, 2],
      [1700, 2],
      [400, 3],
      [4000, 5],
    ] as const) {
      await prop.advance(ms);
      expect(said()).toHaveLength(count);
    }
    expect(said()).toEqual(["tried", "tried", "tried", "tried", "connected"]);
    expect(warnings(prop)).toEqual([
      "Hue bridge: Error: no answer; it is tried again until it works",
      "Hue bridge works again",
    ]);
  });

  test("it is at most a minute between two tries, and ends with the worker", async () => {
    class Never extends Bridge {
      override failures = Number.POSITIVE_INFINITY;
    }
    const { prop, said } = await start(Never);
    await prop.advance("2min");
    const before = said().length;
    await prop.advance("5min");
    expect(said().length - before).toBe(5);
    await prop.worker.stop();
    expect(warnings(prop)).toHaveLength(1);
  });

  test("a stop of the command that it is called in ends it", async () => {
    class Asked extends Bridge {
      override failures = Number.POSITIVE_INFINITY;
      override async start() {}
      async do_connect() {
        await this.retry("Hue bridge", () => this.connect());
      }
    }
    const { prop, said } = await start(Asked);
    await prop.send("connect");
    await prop.send("stop");
    await prop.advance("5min");
    expect(said()).toEqual(["tried"]);
  });
});

/** ms since 1970 of a local time. */
const local = (text: string) => new Date(text).getTime();

const ZONE = process.env.TZ;

function inZone(zone: string) {
  process.env.TZ = zone;
}

afterEach(() => {
  if (ZONE === undefined) delete process.env.TZ;
  else process.env.TZ = ZONE;
});

describe("times of day", () => {
  test.each([
    ["18:00", "2026-10-31T17:59", "2026-10-31T18:00"],
    ["18:00", "2026-10-31T18:00", "2026-11-01T18:00"],
    ["9:30", "2026-10-31T12:00", "2026-11-01T09:30"],
    ["00:00", "2026-12-31T23:59", "2027-01-01T00:00"],
    // Summer time begins in Berlin on the 29th of March 2026 at 02:00, which is 03:00, and ends on the 25th of October at
    // 03:00, which is 02:00.
    ["02:30", "2026-03-28T12:00", "2026-03-29T03:00"],
    ["02:30", "2026-03-29T03:00", "2026-03-30T02:30"],
    ["02:30", "2026-10-24T12:00", "2026-10-25T00:30Z"],
    ["02:30", "2026-10-25T00:30Z", "2026-10-26T02:30"],
    ["03:00", "2026-10-24T12:00", "2026-10-25T02:00Z"],
    ["18:00", "2026-03-28T18:00", "2026-03-29T18:00"],
    ["18:00", "2026-10-24T18:00", "2026-10-25T18:00"],
  ])("the next %s after %s is %s", (time, after, next) => {
    inZone("Europe/Berlin");
    expect(new Date(nextAt(local(after), time)).toISOString()).toBe(new Date(next).toISOString());
  });

  test("where a day begins at 01:00, midnight is then", () => {
    inZone("America/Santiago");
    expect(new Date(nextAt(local("2026-09-05T12:00"), "00:00")).toISOString()).toBe("2026-09-06T04:00:00.000Z");
  });

  test.each([
    ["18:00", "22:00", "2026-10-31T17:59:59", false],
    ["18:00", "22:00", "2026-10-31T18:00", true],
    ["18:00", "22:00", "2026-10-31T21:59:59", true],
    ["18:00", "22:00", "2026-10-31T22:00", false],
    ["18:00", "02:00", "2026-10-31T23:59", true],
    ["18:00", "02:00", "2026-11-01T01:59", true],
    ["18:00", "02:00", "2026-11-01T02:00", false],
    ["18:00", "02:00", "2026-11-01T12:00", false],
    // What closed at 02:30 doesn't open when the clock shows 02:00 for the second time.
    ["18:00", "02:30", "2026-10-25T00:29Z", true],
    ["18:00", "02:30", "2026-10-25T00:30Z", false],
    ["18:00", "02:30", "2026-10-25T01:15Z", false],
    ["22:00", "04:00", "2026-10-25T01:15Z", true],
    ["22:00", "02:30", "2026-03-29T01:59", true],
    ["22:00", "02:30", "2026-03-29T03:00", false],
    ["02:30", "04:00", "2026-03-29T03:00", true],
    ["18:00", "24:00", "2026-10-31T23:59:59", true],
    ["18:00", "24:00", "2026-11-01T00:00", false],
    ["00:00", "24:00", "2026-10-25T01:15Z", true],
  ])("from %s until %s: at %s that is %s", (from, until, at, expected) => {
    inZone("Europe/Berlin");
    expect(isWithin(local(at), from, until)).toBe(expected);
  });

  test.each([
    [() => nextAt(0, "25:00"), 'at("25:00"): expected a time of day, such as "18:00"'],
    [() => isWithin(0, "6pm", "22:00"), 'within("6pm", …): expected a time of day, such as "18:00"'],
    [() => isWithin(0, "18:00", "22"), 'within(…, "22"): expected a time of day, such as "18:00"'],
    [
      () => isWithin(0, "18:00", "18:00"),
      'within("18:00", "18:00"): expected two different times of day; all day is "00:00", "24:00"',
    ],
    [
      () => isWithin(0, "24:00", "02:00"),
      'within("24:00", …): expected a time of day, such as "18:00"; the next midnight is "00:00"',
    ],
    [() => nextAt(0, "24:00"), 'at("24:00"): expected a time of day, such as "18:00"; the next midnight is "00:00"'],
  ])("what is none is refused in words: %#", (work, message) => {
    expect(work).toThrow(expect.objectContaining({ code: "invalid_value", message }));
  });

  class Opening extends Says {
    override async start() {
      this.at("18:00", () => this.says(this.within("18:00", "22:00") ? "open" : "closed?"));
      this.at("22:00", () => this.says(this.within("18:00", "22:00") ? "open?" : "closed"));
    }
  }

  /** Sets the prop's clock to a local time of its day. */
  const setTo = async (prop: Awaited<ReturnType<typeof start>>["prop"], hours: number, minutes: number) => {
    const now = prop.worker.now();
    prop.setClockForward(new Date(now).setHours(hours, minutes, 0, 0) - now);
    await prop.advance("1min");
  };

  test("at() calls every day, on the clock that a test puts forward", async () => {
    const { prop, said } = await start(Opening);
    await setTo(prop, 23, 0);
    const before = prop.worker.now();
    await prop.advance("1h");
    expect(prop.worker.now() - before).toBeGreaterThanOrEqual(3_600_000);
    const already = said().length;
    await prop.advance("47h");
    expect(said().slice(already)).toEqual(["open", "closed", "open", "closed"]);
  });

  test("what the clock skips is left out, with a warning; set back, it calls nothing twice", async () => {
    const { prop, said } = await start(Opening);
    await setTo(prop, 23, 30);
    await prop.advance("1h");
    const already = said().length;
    await setTo(prop, 17, 0);
    prop.setClockForward(3 * 3_600_000);
    await prop.advance("2min");
    expect(said().slice(already)).toEqual([]);
    expect(warnings(prop).at(-1)).toMatch(/^at\("18:00"\) was left out: the clock went past it by 1\d\d min at once$/);
    await prop.advance("2h");
    expect(said().slice(already)).toEqual(["closed"]);
    prop.setClockForward(-600_000);
    await prop.advance("1h");
    expect(said().slice(already)).toEqual(["closed"]);
  });

  test("a time that is none fails the worker in words", async () => {
    class Wrong extends Says {
      override async start() {
        this.at("6 pm", () => undefined);
      }
    }
    await expect(start(Wrong)).rejects.toThrow('at("6 pm"): expected a time of day, such as "18:00"');
  });
});

test("what is no function is refused where it is given", async () => {
  class Untyped extends BaseWorker {
    do_try(what: string) {
      const none = null as unknown as () => void;
      if (what === "retry") return this.retry("Hue bridge", none);
      if (what === "at") return this.at("18:00", none);
      return this.timeline([["1s", none]]);
    }
  }
  const { prop } = await start(Untyped);
  await expect(prop.call("try", "retry")).rejects.toThrow('retry("Hue bridge"): expected a function, found null');
  await expect(prop.call("try", "at")).rejects.toThrow('at("18:00"): expected a function, found null');
  await expect(prop.call("try", "timeline")).rejects.toThrow(
    "timeline: the step at 1s: expected a function, found null",
  );
});

describe("limits that hang on the config", () => {
  const Config = z.object({ rest_ms: z.number().default(20_000), most_ms: z.number().default(5000) });

  class Fogger extends BaseWorker<z.infer<typeof Config>> {
    static config = Config;

    override onConfig() {}

    @command({
      cooldownMs: ({ rest_ms }: z.infer<typeof Config>) => rest_ms,
      timeoutMs: ({ most_ms }: z.infer<typeof Config>) => most_ms,
    })
    async do_fog() {
      await this.sleep("1min");
    }

    @command({ maxOnMs: ({ most_ms }: z.infer<typeof Config>) => most_ms })
    do_on() {
      this.telemetry("says", "on");
    }

    do_stop() {
      this.telemetry("says", "off");
    }
  }

  test("they are those of the config, in the description too, and change with it", async () => {
    const { prop, said } = await start(Fogger, { config: { rest_ms: 1000 } });
    expect(prop.description?.commands.fog).toMatchObject({ cooldown_ms: 1000, timeout_ms: 5000 });
    await prop.send("on");
    await prop.advance(5000);
    expect(said()).toEqual(["on", "off"]);
    await prop.send("fog");
    await prop.advance(5000);
    await expect(prop.call("fog")).rejects.toThrow(/cooling down/);
    await prop.advance(1000);
    await prop.configure({ rest_ms: 9000, most_ms: 100 });
    expect(prop.description?.commands.fog).toMatchObject({ cooldown_ms: 9000, timeout_ms: 100 });
    await prop.send("fog");
    await prop.advance(5000);
    await expect(prop.call("fog")).rejects.toThrow(/cooling down: \d+ ms left/);
    await prop.send("on");
    await prop.advance(100);
    expect(said()).toEqual(["on", "off", "on", "off"]);
  });

  test("a config with which one is none is refused in words, and the old one stays", async () => {
    const { prop } = await start(Fogger);
    await expect(prop.configure({ most_ms: -1 })).rejects.toThrow(/the command "fog": timeoutMs/);
    expect(prop.worker.config.most_ms).toBe(5000);
    await expect(start(Fogger, { config: { rest_ms: -1 } })).rejects.toThrow(/the command "fog": cooldownMs/);
    // Nothing is no limit, and so none: what was switched on would stay on.
    class Unset extends BaseWorker {
      @command({ maxOnMs: (config: object) => (config as { burn_ms: number }).burn_ms })
      do_on() {}

      do_stop() {}
    }
    await expect(start(Unset)).rejects.toThrow(/the command "on": maxOnMs/);
  });
});
