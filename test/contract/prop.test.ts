import { expect, test } from "vitest";
import type { Values } from "../../worker-host/contract/bus.ts";
import { readPortrait, stopOf, whyNot, whyNotHeld } from "../../worker-host/contract/prop.ts";

const valuesOf = (texts: Record<string, string>): Values =>
  new Map(Object.entries(texts).map(([key, text]) => [key, { text, at: 0, retained: false }]));
const portraitOf = (commands: object, id = "fogger") => readPortrait(JSON.stringify({ contract: 1, commands }), id);
const RUN = valuesOf({ "status/runstate": '{"state":"running"}' });
const BOARD = valuesOf({ state: "idle" });

test("a prop has stop by a tap wherever it can be told, whatever its description says of it; else it can't be held", () => {
  const many = Object.fromEntries(Array.from({ length: 3_500 }, (_, at) => [`c${at}`, {}]));
  const odd = { args: { type: "object" }, safe: false, widget: { hidden: true, confirm: true }, requires_state: ["x"] };
  for (const stop of [{}, odd, null, 5]) {
    const portrait = portraitOf({ ...many, stop });
    const command = stopOf("fogger", BOARD, portrait);
    expect(command).toMatchObject({ action: "stop", label: "stop", args: undefined, held: false });
    expect(command && whyNot(command, BOARD, { blocked: undefined, allStop: true })).toBe(undefined);
    expect(portrait.commands).toHaveLength(100);
    expect(whyNotHeld(BOARD, portrait)).toBe(undefined);
  }
  const none = portraitOf({ fire: {} });
  expect(stopOf("fogger", RUN, none)).toMatchObject({ action: "stop", label: "stop", held: false });
  expect(whyNotHeld(RUN, none)).toBe(undefined);
  expect(stopOf("fogger", BOARD, none)).toBe(undefined);
  expect(whyNotHeld(BOARD, none)).toBe("it says nothing of itself");
  expect(whyNotHeld(valuesOf({ description: "{}" }), none)).toBe("its description has no command stop");
  // The console takes none from its own page.
  expect(stopOf("console", RUN, none)).toBe(undefined);
});

test("a command that is none, and reads as stop, has its action beside its label, and is held as it moves something", () => {
  for (const label of ["Stop", " STOP ", "stop!", "s t o p", "\u{FF53}top", "st\u200Bop"])
    expect(portraitOf({ fire: { widget: { label } } }).commands, label).toMatchObject([
      { label: `${label} (fire)`, held: true },
    ]);
  for (const label of ["Stop the fog", "pots"])
    expect(portraitOf({ fire: { widget: { label } } }).commands).toMatchObject([{ label }]);
  expect(portraitOf({ stop: { widget: { label: "Stop" } } }).stop?.label).toBe("Stop");
});

test("where it is not known whether all-stop is engaged, only stop and what is safe can be pressed", () => {
  const [fire, lights] = portraitOf({ fire: {}, lights: { safe: true } }).commands;
  const online = valuesOf({ "status/availability": "online" });
  const why = (command: typeof fire, allStop: boolean | undefined) =>
    command && whyNot(command, online, { blocked: undefined, allStop });
  expect([true, false, undefined].map((allStop) => why(fire, allStop))).toEqual([
    "all-stop is engaged",
    undefined,
    "not known whether all-stop is engaged",
  ]);
  expect(why(lights, undefined)).toBe(undefined);
});
