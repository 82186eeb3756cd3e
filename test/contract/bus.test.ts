import { expect, test } from "vitest";
import { askedOf, BusModel } from "../../worker-host/contract/bus.ts";
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
  say("cli/reply/2", { id: "a2", from: "fogger", status: "error", error: "no such command", ms: 1 });
  expect(askedOf(model.valuesOf("fogger"))).toEqual([
    { action: "boil", args: "", at: 4, waits: true, outcome: { ok: false, text: "no such command", ms: 1 } },
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
