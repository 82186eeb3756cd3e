import { expect, test } from "vitest";
import { parseCommand } from "../../worker-host/contract/command.ts";
import { bytesOf, VECTORS } from "../harness/command-vectors.ts";

const REFUSALS = new Map([
  ["too_long", /at most 65536$/],
  ["not_utf8", /its bytes are not UTF-8 text$/],
  ["empty", /^empty command refused/],
  ["not_json", /it starts with "\{" but is not JSON/],
  ["too_deep", /nested more than 100 levels deep$/],
  ["no_action", /no "action" in it/],
  ["action", /"action" is /],
  ["id", /"id" is /],
  ["long_id", /"id" has \d+ characters/],
  ["reply_to", /"reply_to" is /],
  ["expires_at", /"expires_at" is /],
]);

test("there are enough of them, and each once", () => {
  expect(VECTORS.length).toBeGreaterThan(300);
  expect(new Set(VECTORS.map((vector) => Buffer.from(bytesOf(vector)).toString("hex"))).size).toBe(VECTORS.length);
});

test.each(VECTORS)("%j", (vector) => {
  const { command, refusal } = parseCommand(bytesOf(vector));
  if (vector.refused !== undefined) {
    expect(refusal).toMatch(REFUSALS.get(vector.refused) ?? /there is no such refusal/);
    return;
  }
  expect(refusal).toBeUndefined();
  expect({ action: command?.action, id: command?.id, reply_to: command?.replyTo }).toEqual({
    action: vector.action,
    id: vector.id,
    reply_to: vector.reply_to,
  });
  expect(command?.args).toEqual(command?.text ? vector.rest : vector.args);
});
