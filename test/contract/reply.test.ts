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
