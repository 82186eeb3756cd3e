import { expect, test } from "vitest";
import { parseRunstate } from "../../worker-host/contract/description.ts";
import { formatClaim, parseClaim } from "../../worker-host/host/bus/claim.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test.each(["claim", "reclaim", "held"] as const)("%s is read as it is written", (word) => {
  const message = { word, id: "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed" };
  expect(parseClaim(bytes(formatClaim(message)))).toEqual(message);
});

test.each(["", "claim", "claim ", "claim a b", "hold a", "claim a/b", "claim a\n", `claim ${"a".repeat(65)}`, "{}"])(
  "%j is none",
  (text) => {
    expect(parseClaim(bytes(text))).toBeUndefined();
  },
);

test("bytes that are no text, or too many, are none", () => {
  expect(parseClaim(new Uint8Array([0xff, 0xfe]))).toBeUndefined();
  expect(parseClaim(bytes(`claim ${"a".repeat(1e6)}`))).toBeUndefined();
});

test("a runstate is read; what is none is not", () => {
  const runstate = { state: "running", since: "2026-10-31T20:00:00.000Z", host: "attic" };
  expect(parseRunstate(bytes(JSON.stringify(runstate)))).toEqual(runstate);
  for (const none of ["", "null", "[]", "7", "{}", '{"state":"running"}', JSON.stringify({ ...runstate, state: "on" })])
    expect(parseRunstate(bytes(none)), none).toBeUndefined();
  expect(parseRunstate(bytes(JSON.stringify({ ...runstate, detail: "a".repeat(10_000) })))).toBeUndefined();
});
