import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { askedOf, BusModel } from "../../worker-host/contract/bus.ts";
import { faultsOf, readPortrait } from "../../worker-host/contract/prop.ts";
import { Topics } from "../../worker-host/contract/topics.ts";

function startModel() {
  const model = new BusModel(new Topics("halloween"));
  let now = 0;
  const say = (topic: string, value: unknown, retain = false) =>
    model.take(
      { topic: `halloween/${topic}`, text: typeof value === "string" ? value : JSON.stringify(value), retain },
      ++now,
    );
  return { model, say };
}

const heapMb = () => {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed / 1_000_000;
};

test("of a long text only the part that is kept takes memory; where all texts are too long together, no more come in", () => {
  const { model, say } = startModel();
  const long = (start: string) => start + "x".repeat(1_000_000);
  const fogger = () => model.valuesOf("fogger");
  say("fogger/state", "idle");
  const before = heapMb();
  for (let i = 0; i < 100; i++) {
    say(`fogger/telemetry/k${i}`, Buffer.from(long(`${i} `)).toString());
    say("fogger/cmd", { action: "boil", args: long(`${i} `).slice(0, 60_000), id: `c${i}` });
  }
  expect(heapMb() - before).toBeLessThan(20);
  expect(fogger().get("telemetry/k7")?.text).toMatch(/^7 x{1998}…$/);
  for (let i = 0; i < 700; i++) say(`host${i}/status/all_stop_heard`, "y".repeat(60_000));
  expect(model.since(0).leftOut).toBeGreaterThan(0);
  const all = model.since(0).changes.reduce((sum, { text }) => sum + text.length, 0);
  expect(all).toBeLessThan(34_000_000);
  say("fogger/state", "firing");
  say("fogger/telemetry/k7", long("later "));
  expect(fogger().get("state")?.text).toBe("firing");
  expect(fogger().get("telemetry/k7")?.text).toMatch(/^later x{194}…$/);
});

test("the last commands of an id, with what came of them; not a host's, nor those of an id that said nothing", () => {
  const { model, say } = startModel();
  say("fogger/state", "idle", true);
  say("fogger/cmd", { action: "start", args: 750, id: "a1" });
  say("fogger/cmd", "stop");
  say("fogger/cmd", { action: "boil", id: "a2", reply_to: "halloween/cli/reply/2" });
  say("typo/cmd", "start 5");
  say("worker_host/status/availability", "online", true);
  say("worker_host/cmd", { action: "configure", args: { config: { password: "secret" } } });
  say("x/reply/1", { id: "a1", from: "stranger", status: "error", error: "forged" });
  say("x/reply/1", { id: "a1", from: "fogger", status: "ok", result: 3, ms: 12 });
  say("x/reply/1", { id: "a1", from: "fogger", status: "error", error: "again" });
  say("cli/reply/2", { id: "a2", from: "fogger", status: "error", refused: true, error: "no such command", ms: 1 });
  expect(askedOf(model.valuesOf("fogger"))).toEqual([
    {
      ...{ action: "boil", args: "", at: 4, waits: true },
      outcome: { ok: false, refused: true, text: "no such command", ms: 1 },
    },
    { action: "stop", args: "", at: 3 },
    { action: "start", args: "750", at: 2, outcome: { ok: true, text: "3", ms: 12 } },
  ]);
  expect(model.valuesOf("typo").size).toBe(0);
  expect(JSON.stringify(model.since(0))).not.toContain("secret");
});

test("commands and replies are bounded, and none can be forged as a value", () => {
  const { model, say } = startModel();
  say("fogger/state", "idle");
  say("fogger/asked", "[1]");
  for (let i = 0; i < 3_000; i++) say("fogger/cmd", { action: `a${i}`, args: "x".repeat(1_000), id: `${i}` });
  say("x/reply/1", { id: "1", from: "fogger", status: "ok", ms: 1 });
  const asked = askedOf(model.valuesOf("fogger"));
  expect(asked).toHaveLength(10);
  expect(asked[0]).toMatchObject({ action: "a2999", args: expect.stringMatching(/^"x{199}…$/) });
});

const NOW = 1_000;
const whyOf = (model: BusModel, id: string, now = NOW, expected = false) =>
  faultsOf(model.valuesOf(id), now, expected).map(({ why }) => why);

test("an id that was locked out, and never said a word, is gone when it is released", () => {
  const { model, say } = startModel();
  say("ghost/status/lock_out", "it leaks", true);
  say("ghost/cmd", { action: "stop", id: "a1", reply_to: "halloween/worker_host/reply/1" });
  expect(model.valuesOf("ghost").size).toBe(2);
  const { seq } = model.since(0);
  say("ghost/status/lock_out", "");
  expect(model.valuesOf("ghost").size).toBe(0);
  expect(model.since(seq).changes.map(({ key, text }) => [key, text])).toEqual([
    ["status/lock_out", ""],
    ["asked", ""],
  ]);
  say("ghost/cmd", "stop");
  expect(model.valuesOf("ghost").size).toBe(0);
});

test("what is wrong is told worst first, each once, and what was mended is not told", () => {
  const { model, say } = startModel();
  const runs = (state: string, detail?: string) => ({ state, since: "2026-10-31T20:00:00Z", host: "h", detail });
  say("fogger/status/runstate", runs("running"), true);
  say("fogger/status/availability", "online", true);
  say("fogger/status/warn", "the tank is low");
  say("fogger/status/error", "fire: Error: no fluid");
  say("fogger/status/lock_out", "the hose leaks", true);
  expect(whyOf(model, "fogger")).toEqual(["fire: Error: no fluid", "locked out: the hose leaks", "the tank is low"]);
  // The command that failed succeeds; what was refused is no fault; a warning is over after a while.
  say("fogger/cmd", { action: "fire", id: "a1" });
  say("x/reply/1", { id: "a1", from: "fogger", status: "ok", ms: 1 });
  say("fogger/status/lock_out", "");
  expect(whyOf(model, "fogger")).toEqual(["the tank is low"]);
  expect(whyOf(model, "fogger", NOW + 600_000)).toEqual([]);
  say("fogger/status/warn", 'fire refused: expected number, got "soon"');
  say("fogger/status/error", "ticker: Error: lost");
  expect(whyOf(model, "fogger")).toEqual(["ticker: Error: lost"]);
  // It fails: that is told once; when it starts anew, what was before is over.
  say("fogger/status/runstate", runs("failed", "worker.ts:1:1: Unexpected end"), true);
  say("fogger/status/error", "worker.ts:1:1: Unexpected end");
  say("fogger/status/availability", "offline", true);
  expect(whyOf(model, "fogger")).toEqual(["failed: worker.ts:1:1: Unexpected end"]);
  say("fogger/status/runstate", runs("starting"), true);
  say("fogger/status/warn", "said by start()");
  say("fogger/status/availability", "online", true);
  say("fogger/status/runstate", runs("running"), true);
  expect(whyOf(model, "fogger")).toEqual(["said by start()"]);
  // An empty text takes back what was said.
  say("fogger/status/warn", "");
  expect(whyOf(model, "fogger")).toEqual([]);
});

test("a board that is offline, or that nothing was heard of, is wrong; one that comes back begins anew", () => {
  const { model, say } = startModel();
  expect(whyOf(model, "fogger_hw", NOW, true)).toEqual(["never seen"]);
  expect(whyOf(model, "fogger_hw")).toEqual([]);
  say("fogger_hw/status/availability", "online");
  say("fogger_hw/status/error", "it was reset");
  expect(whyOf(model, "fogger_hw", NOW, true)).toEqual(["it was reset"]);
  say("fogger_hw/status/availability", "offline");
  expect(whyOf(model, "fogger_hw", NOW, true)).toEqual(["offline", "it was reset"]);
  say("fogger_hw/status/availability", "online");
  expect(whyOf(model, "fogger_hw", NOW, true)).toEqual([]);
});

test("a host tells which boards there should be; a prop, in which state it rests", () => {
  const workers = [
    { id: "fogger", board: "missing" },
    { id: "show" },
    { id: "old", board: "online", state: "skipped" },
  ];
  const host = {
    contract: 1,
    name: "h",
    workers,
    boards: [{ id: "panic_button", availability: "offline" }, 5, { id: "+" }],
  };
  expect(readPortrait(JSON.stringify(host), "h").boards).toEqual(["fogger_hw", "panic_button"]);
  expect(readPortrait(JSON.stringify(host), "fogger").boards).toEqual([]);
  for (const [states, rest] of [
    [["closed", "open"], "closed"],
    [undefined, "idle"],
    [[], "idle"],
    [[5], "idle"],
    ["closed", "idle"],
  ] as const)
    expect(readPortrait(JSON.stringify({ states }), "show").rest).toBe(rest);
});
