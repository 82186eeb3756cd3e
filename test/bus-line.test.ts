import { expect, test } from "vitest";
import { busLine } from "../worker-host/cli/watch.ts";

const AT = new Date(2026, 9, 31, 20, 5, 7, 9);

function line(payload: string, columns: number | undefined, colors = false, topic = "halloween/fogger/telemetry/x") {
  const message = { topic, payload: Buffer.from(payload), qos: 0 as const, retain: false };
  return busLine(message, AT, { prefix: "halloween", columns, colors });
}

test("a line on the bus is cut to the terminal's width, also where signs are wide", () => {
  const begin = `20:05:07.009 ${"fogger".padEnd(16)} ${"telemetry/x".padEnd(24)} `;
  expect(line("value", undefined)).toBe(`${begin}value`);
  expect(line("value", begin.length + 5)).toBe(`${begin}value`);
  expect(line("values", begin.length + 5)).toBe(`${begin}valu…`);
  expect(line("霧霧霧", begin.length + 6)).toBe(`${begin}霧霧霧`);
  expect(line("霧霧霧", begin.length + 5)).toBe(`${begin}霧霧…`);
  expect(line("x".repeat(1e6), undefined).length).toBeLessThanOrEqual(4096);
  for (let columns = 1; columns < 60; columns++) expect(line("霧 value", columns).length).toBeLessThanOrEqual(columns);
});

test("colours are around the parts, and not counted", () => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is about them
  const plain = line("values", 60, true).replaceAll(/\u001b\[\d+m/g, "");
  expect(plain).toBe(line("values", 60));
  expect(line("values", 60, true, "halloween/fogger/status/error")).toContain("\u001b[31mstatus/error");
});

test("a value of many bytes is told by its length", () => {
  expect(line("{".repeat(70_000), undefined)).toMatch(/\(70000 bytes\)$/);
});
