import { describe, expect, test } from "vitest";
import { ANSWER_MS, BROKER_BACK_MS, CLOSED_MS, EDIT_MS, HALF_OPEN_MS, HEED_MS, OFF_MS } from "../soak/bounds.ts";
import { BOARDS, EVERYBODY, WORKERS } from "../soak/cast.ts";
import type { Happening, Hit, Sent, Violation } from "../soak/model/happenings.ts";
import { Model } from "../soak/model/model.ts";
import { Recorder } from "../soak/recorder.ts";
import { type DeedStep, scheduleOf } from "../soak/schedule.ts";

const T0 = 1_000_000;
const PID = 10;

type Told = Happening extends infer H ? (H extends Happening ? Omit<H, "at"> : never) : never;

/** A model of two workers and a board, all online, and a clock to set. */
function haunt() {
  const model = new Model({ everybody: ["a", "b", "board_hw"], startedAt: T0 - 5000, dueAt: T0 - 1000 });
  const at = (ms: number, happening: Told) => model.take({ at: T0 + ms, ...happening } as Happening);
  const look = (ms: number) => {
    model.look(T0 + ms);
    return model.violations.map(({ rule }) => rule);
  };
  const life = (ms: number, worker: string, pid = PID, code = 1, config = 1) =>
    at(ms, { type: "life", worker, lifeAt: T0 + ms, pid, code, config });
  const shown = (ms: number, who: string, online = true, live = true) => at(ms, { type: "shown", who, online, live });
  at(-3000, { type: "connected" });
  for (const who of ["a", "b"]) life(-2500, who);
  for (const who of ["a", "b", "board_hw"]) shown(-2000, who);
  return { model, at, look, life, shown };
}

type Haunt = ReturnType<typeof haunt>;

function send({ at }: Haunt, ms: number, id: string, more: Partial<Sent> = {}) {
  const command = { id, target: "a", journaled: true, safe: false, workMs: 0, resent: false, ...more };
  at(ms, { type: "sent", command });
  at(ms + 1, { type: "acked", id, heard: true });
}

const ran = ({ at }: Haunt, ms: number, id: string, worker = "a", lifeMs = -2500) =>
  at(ms, { type: "ran", id, worker, ranAt: T0 + ms, lifeAt: T0 + lifeMs });
const ok = ({ at }: Haunt, ms: number, id: string) =>
  at(ms, { type: "reply", id, status: "ok", refused: false, error: "" });
const refused = ({ at }: Haunt, ms: number, id: string, error: string) =>
  at(ms, { type: "reply", id, status: "error", refused: true, error });
const fault = ({ at }: Haunt, ms: number, ...hits: Hit[]) => at(ms, { type: "fault", what: "kill", hits });

const LATER = ANSWER_MS + 100;
const KILLED: Hit = { who: "a", need: { kind: "life", notPid: PID }, gone: "closed", backMs: 5000 };

describe("the soak's model says nothing of", () => {
  test("a command that runs and is answered, one that is refused for a reason, and one that comes twice and runs once", () => {
    const it = haunt();
    send(it, 0, "c1");
    ran(it, 5, "c1");
    ok(it, 6, "c1");
    send(it, 10, "c2", { expiresAt: T0 - 100 });
    refused(it, 12, "c2", '"work" refused: it expired 112 ms ago');
    send(it, 20, "c3", { resent: true });
    ran(it, 22, "c3");
    ok(it, 23, "c3");
    refused(it, 30, "c3", '"work" refused: a command with the id "c3" has run already');
    expect(it.look(LATER)).toEqual([]);
    expect(it.model.commands.counts).toEqual({ sent: 3, ran: 2, refused: 1, unanswered: 0 });
  });

  test("a process that is killed and back in time, and what was lost with it", () => {
    const it = haunt();
    send(it, 0, "c1");
    fault(it, 10, KILLED);
    it.shown(100, "a", false);
    it.life(400, "a", 11);
    it.shown(450, "a");
    send(it, 500, "c2");
    ran(it, 501, "c2", "a", 400);
    ok(it, 502, "c2");
    expect(it.look(500 + LATER)).toEqual([]);
    expect(it.model.commands.counts).toMatchObject({ ran: 1, unanswered: 1 });
    expect(it.model.troubles.open).toEqual([]);
  });

  test("a prop that does nothing since its board is not there", () => {
    const it = haunt();
    fault(it, 0, { who: "board_hw", need: { kind: "start" }, gone: "closed" });
    it.shown(100, "board_hw", false);
    send(it, 200, "c1", { target: "board", journaled: false });
    it.at(202, { type: "reply", id: "c1", status: "error", refused: false, error: "Error: board_hw is not there: …" });
    it.at(203, { type: "log", level: 50, text: "arm: Error: board_hw is not there: …", worker: "board" });
    expect(it.look(200 + LATER)).toEqual([]);
  });

  test("a broker that is away, and all who come back after it", () => {
    const it = haunt();
    it.at(0, { type: "broker_down" });
    it.at(1, { type: "disconnected" });
    it.at(3000, { type: "broker_up" });
    it.at(3100, { type: "connected" });
    for (const who of ["a", "b", "board_hw"]) it.shown(3101, who, false, false);
    expect(it.look(3000 + BROKER_BACK_MS)).toEqual([]);
    for (const who of ["a", "b", "board_hw"]) it.shown(3000 + BROKER_BACK_MS, who);
    expect(it.look(3000 + BROKER_BACK_MS + CLOSED_MS + 1)).toEqual([]);
  });

  test("what the broker had kept of a board that fell silent before it was back", () => {
    const it = haunt();
    it.at(0, { type: "broker_down" });
    it.at(1, { type: "disconnected" });
    it.at(100, { type: "broker_up" });
    it.at(110, { type: "connected" });
    for (const who of ["a", "b"]) it.shown(120, who);
    it.shown(120, "board_hw", true, false);
    fault(it, 130, { who: "board_hw", need: { kind: "start" }, gone: "half_open" });
    expect(it.look(130 + HALF_OPEN_MS + 1)).toEqual([]);
  });

  test("all-stop that is engaged, refuses, lets what is safe run, and is cleared", () => {
    const it = haunt();
    it.at(0, { type: "output", board: "board_hw", pin: 26, value: 1 });
    it.at(10, { type: "all_stop_told", engaged: true });
    it.at(30, { type: "all_stop_shown", engaged: true, live: true });
    it.at(40, { type: "output", board: "board_hw", pin: 26, value: 0 });
    send(it, 50, "c1");
    refused(it, 52, "c1", '"work" refused: all-stop is engaged: only stop and safe commands run');
    send(it, 60, "c2", { safe: true });
    ran(it, 61, "c2");
    ok(it, 62, "c2");
    it.look(30 + OFF_MS + 1);
    it.at(2000, { type: "all_stop_told", engaged: false });
    it.at(2010, { type: "all_stop_shown", engaged: false, live: true });
    it.at(2100, { type: "output", board: "board_hw", pin: 26, value: 1 });
    expect(it.look(LATER + 2200)).toEqual([]);
  });

  test("an edit that takes effect, and a line of the log that a fault explains", () => {
    const it = haunt();
    fault(it, 0, { who: "a", need: { kind: "code", edition: 2 }, backMs: EDIT_MS });
    it.at(0, { type: "edited", who: "a", what: "code", edition: 2 });
    it.at(5, { type: "log", level: 50, text: "something", worker: "a" });
    it.shown(90, "a", false);
    it.life(100, "a", PID, 2);
    it.shown(110, "a");
    expect(it.look(EDIT_MS + 1)).toEqual([]);
    expect(it.model.memory.reloads).toBe(1);
  });

  test("memory that isn't collected for a while", () => {
    const { at, model } = haunt();
    for (let second = 0; second <= 180; second += 3)
      at(second * 1000, { type: "memory", pid: 7, role: "the host", mb: second < 130 ? 80 : 120, heapMb: 20 });
    model.memory.judge();
    expect(model.violations).toEqual([]);
  });
});

type Case = [what: string, rule: Violation["rule"], words: RegExp, happen: (it: Haunt) => number];

const WRONG: Case[] = [
  [
    "a command that ran twice",
    "twice",
    /the command c1 to a to run once at most; it ran twice, .* 7 ms apart/,
    (it) => {
      send(it, 0, "c1");
      ran(it, 5, "c1");
      ran(it, 12, "c1");
      ok(it, 13, "c1");
      return LATER;
    },
  ],
  [
    "one that was refused, and ran",
    "twice",
    /was refused .*, and ran/,
    (it) => {
      send(it, 0, "c1", { expiresAt: T0 + 20 });
      ran(it, 5, "c1");
      refused(it, 30, "c1", '"work" refused: it expired 10 ms ago');
      return LATER;
    },
  ],
  [
    "one that was acknowledged, and lost",
    "lost",
    /the command c1 to a was acknowledged by the broker, and neither ran nor was refused/,
    (it) => {
      send(it, 0, "c1");
      return LATER;
    },
  ],
  [
    "one to somebody who is online and not subscribed",
    "lost",
    /found nobody subscribed/,
    (it) => {
      const command = { id: "c1", target: "a", journaled: true, safe: false, workMs: 0, resent: false };
      it.at(0, { type: "sent", command });
      it.at(1, { type: "acked", id: "c1", heard: false });
      return LATER;
    },
  ],
  [
    "one that was answered, and never ran, whatever was done at the time",
    "lost",
    /was answered "ok", and never ran/,
    (it) => {
      send(it, 0, "c1");
      ok(it, 3, "c1");
      fault(it, 4, { ...KILLED });
      it.life(400, "a", 11);
      return LATER;
    },
  ],
  [
    "a board that its prop takes to be away, and is not",
    "error",
    /was answered, while its board was there: Error: board_hw is not there/,
    (it) => {
      send(it, 3000, "c1", { target: "board", journaled: false });
      it.at(3002, {
        type: "reply",
        id: "c1",
        status: "error",
        refused: false,
        error: "Error: board_hw is not there: …",
      });
      return 3000 + LATER;
    },
  ],
  [
    "one that ran, and was never answered",
    "lost",
    /ran, and was never answered/,
    (it) => {
      send(it, 0, "c1");
      ran(it, 3, "c1");
      return LATER;
    },
  ],
  [
    "one that is lost after its target has said that it is back",
    "lost",
    /c2 to a was acknowledged/,
    (it) => {
      fault(it, 0, KILLED);
      it.life(300, "a", 11);
      it.shown(350, "a");
      send(it, 360, "c2");
      return 360 + LATER;
    },
  ],
  [
    "one that ran after it had expired",
    "stale",
    /it expired 900 ms before that/,
    (it) => {
      send(it, 0, "c1", { expiresAt: T0 + 1000 });
      ran(it, 1900, "c1");
      ok(it, 1901, "c1");
      return LATER;
    },
  ],
  [
    "one that was sent before its worker's life began",
    "stale",
    /ran in a life that began 299 ms after the broker had taken it/,
    (it) => {
      send(it, 0, "c1");
      fault(it, 1, KILLED);
      it.life(300, "a", 11);
      ran(it, 310, "c1", "a", 300);
      ok(it, 311, "c1");
      return LATER;
    },
  ],
  [
    "one that outlived the broker",
    "stale",
    /the broker was restarted since/,
    (it) => {
      send(it, 0, "c1");
      it.at(10, { type: "broker_down" });
      it.at(9000, { type: "broker_up" });
      ran(it, 9100, "c1");
      return 9200;
    },
  ],
  [
    "one that another worker ran",
    "stale",
    /b ran the command c1, which was sent to a/,
    (it) => {
      send(it, 0, "c1");
      ran(it, 1, "c1", "b");
      ok(it, 2, "c1");
      ran(it, 3, "c1");
      return LATER;
    },
  ],
  [
    "somebody shown online after its connection was closed",
    "availability",
    /a: expected offline within 2000 ms; shown online for 2001 ms, 2001 ms after its connection was closed/,
    (it) => {
      fault(it, 0, { ...KILLED, backMs: 60_000 });
      return CLOSED_MS + 1;
    },
  ],
  [
    "a board shown online after it has long been silent",
    "availability",
    /board_hw: expected offline .* half_open/,
    (it) => {
      fault(it, 0, { who: "board_hw", need: { kind: "start" }, gone: "half_open" });
      return HALF_OPEN_MS + 1;
    },
  ],
  [
    "somebody shown offline to whom nothing was done",
    "availability",
    /b: expected online, .* shown offline for 2001 ms/,
    (it) => {
      it.shown(0, "b", false);
      return CLOSED_MS + 1;
    },
  ],
  [
    "somebody who doesn't come back",
    "availability",
    /a: expected online, .* or it should be back/,
    (it) => {
      fault(it, 0, KILLED);
      it.shown(5, "a", false);
      it.life(100, "a", 11);
      return 5000 + CLOSED_MS + 1;
    },
  ],
  [
    "a command that is not safe, and ran under all-stop",
    "all_stop",
    /c1 to a is not safe, and ran while all-stop was engaged/,
    (it) => {
      it.at(0, { type: "all_stop_told", engaged: true });
      it.at(10, { type: "all_stop_shown", engaged: true, live: true });
      send(it, 320, "c1");
      ran(it, 322, "c1");
      ok(it, 323, "c1");
      return 320 + LATER;
    },
  ],
  [
    "a command that is refused for all-stop while that is clear",
    "all_stop",
    /while all-stop was clear/,
    (it) => {
      send(it, 0, "c1");
      refused(it, 2, "c1", '"work" refused: all-stop is engaged');
      return LATER;
    },
  ],
  [
    "an actuator that stays on under all-stop",
    "all_stop",
    /pin 26 of board_hw has been on for/,
    (it) => {
      it.at(0, { type: "output", board: "board_hw", pin: 26, value: 1 });
      it.at(10, { type: "all_stop_shown", engaged: true, live: true });
      return 10 + HEED_MS + OFF_MS + 1;
    },
  ],
  [
    "an actuator that goes on under all-stop",
    "all_stop",
    /pin 26 of board_hw/,
    (it) => {
      it.at(0, { type: "all_stop_shown", engaged: true, live: true });
      it.at(5000, { type: "output", board: "board_hw", pin: 26, value: 1 });
      return 5000 + OFF_MS + 1;
    },
  ],
  [
    "memory that grows",
    "memory",
    /the host \(process 7\): expected at most 4\.1 MB more on its heap after a collection, with 2 reloads; 20\.0 MB .*, 30\.0 MB/,
    ({ at }) => {
      for (let second = 0; second <= 180; second += 3) {
        const heapMb = second < 60 ? 10 : second < 120 ? 20 : 30;
        if (second === 90 || second === 120) at(second * 1000, { type: "edited", who: "a", what: "code", edition: 2 });
        at(second * 1000, { type: "memory", pid: 7, role: "the host", mb: 80, heapMb });
      }
      return 0;
    },
  ],
  [
    "memory that grows beside the heap",
    "memory",
    /the host \(process 7\): expected at most 48\.0 MB more to itself, with 0 reloads; 80\.0 MB .*, 160\.0 MB/,
    ({ at }) => {
      for (let second = 0; second <= 180; second += 3)
        at(second * 1000, { type: "memory", pid: 7, role: "the host", mb: second < 120 ? 80 : 160, heapMb: 20 });
      return 0;
    },
  ],
  [
    "an edit that does nothing",
    "edit",
    /a: expected it to run with its new config 2; it doesn't/,
    (it) => {
      it.at(0, { type: "edited", who: "a", what: "config", edition: 2 });
      return EDIT_MS + 1;
    },
  ],
  [
    "an error in the log that nothing explains",
    "error",
    /the host logged, without a fault: b broke/,
    (it) => {
      it.look(30_000);
      it.at(40_000, { type: "log", level: 50, text: "b broke", worker: "b" });
      return 40_000;
    },
  ],
  [
    "a process that ends by itself",
    "error",
    /the host failed, and nothing was done to it: it ended, exit code 1/,
    (it) => {
      it.at(0, { type: "failed", who: "the host", how: "it ended, exit code 1" });
      return 1;
    },
  ],
];

describe("the soak's model finds", () => {
  test.each(WRONG)("%s", (_, rule, words, happen) => {
    const it = haunt();
    const until = happen(it);
    it.look(until);
    if (rule === "memory") it.model.memory.judge();
    expect(it.model.violations.map((each) => each.rule)).toContain(rule);
    expect(it.model.violations.filter((each) => words.test(each.text))).toHaveLength(1);
  });
});

describe("the soak's schedule", () => {
  test("is the seed's alone", () => {
    expect(scheduleOf(42, 60_000)).toEqual(scheduleOf(42, 60_000));
    expect(scheduleOf(42, 60_000)).not.toEqual(scheduleOf(43, 60_000));
  });

  test("has all that can be done to a haunt, and brings what it begins to its end", () => {
    const deeds = scheduleOf(1, 600_000).filter((step): step is DeedStep => step.kind === "deed");
    const count = (deed: DeedStep["deed"]) => deeds.filter((step) => step.deed === deed).length;
    for (const deed of [
      "everything",
      "wedge",
      "kill_runner",
      "kill_own",
      "freeze_board",
      "press",
      "break_code",
    ] as const)
      expect(count(deed), deed).toBeGreaterThan(0);
    expect(count("thaw_board")).toBe(count("freeze_board"));
    expect(count("wifi_on")).toBe(count("wifi_off"));
    expect(count("release")).toBe(count("press"));
    expect(count("start_host")).toBe(count("kill_host") + count("everything"));
    expect(count("start_broker")).toBe(count("kill_broker") + count("stop_broker") + count("everything"));
    const long = deeds.filter(({ atMs }) => atMs > 205_000 && atMs < 495_000).map(({ deed }) => deed);
    expect(long.filter((deed) => ["kill_host", "kill_runner", "wedge", "everything"].includes(deed))).toEqual([]);
  });

  test("is for fifty workers and four boards", () => {
    expect(WORKERS).toHaveLength(50);
    expect(new Set(EVERYBODY).size).toBe(1 + 50 + BOARDS.length);
  });
});

test("a failure shows the last 200 events, and of the commands those that it names", () => {
  const recorder = new Recorder(T0);
  for (let i = 0; i < 300; i++) recorder.take({ at: T0 + i, type: "failed", who: `n${i}`, how: "x" });
  for (let i = 0; i < 300; i++) recorder.take({ at: T0 + 400, type: "acked", id: `c${i}`, heard: true });
  const last = recorder.last("lost: the command c7 to a");
  expect(last).toHaveLength(200);
  expect(last[0]).toBe("    0.101  n101 failed: x");
  expect(last.at(-1)).toBe('    0.400  acked {"id":"c7","heard":true}');
});
