import { expect, test } from "vitest";
import { formatReply, parseReply } from "../../worker-host/contract/command.ts";

const read = (reply: object) => parseReply(new TextEncoder().encode(JSON.stringify(reply)));

test("a reply whose parts are of the wrong type is read without them", () => {
  expect(read({ status: "error", id: 5, error: { toString: 1 }, refused: "no", ms: "soon", result: null })).toEqual({
    status: "error",
    ms: 0,
    result: null,
  });
});

test("a result that is nested deeper than a command may be is an error, in words", () => {
  const deep = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;
  const of = (levels: number) =>
    parseReply(new TextEncoder().encode(`{"id":"a1","from":"lab","status":"ok","result":${deep(levels)},"ms":3}`));
  expect(of(100)).toMatchObject({ status: "ok", result: JSON.parse(deep(100)) });
  for (const levels of [101, 5_000, 100_000]) {
    const error = "its result is nested more than 100 levels deep";
    expect(of(levels)).toEqual({ id: "a1", from: "lab", status: "error", error, ms: 3 });
  }
});

test("a result that throws is an error, whatever it throws", () => {
  const result = {
    toJSON() {
      throw null;
    },
  };
  expect(JSON.parse(formatReply({ id: "a1", status: "ok", result, ms: 1 }))).toEqual({
    id: "a1",
    status: "error",
    error: "its result is not JSON: thrown: object",
    ms: 1,
  });
});
