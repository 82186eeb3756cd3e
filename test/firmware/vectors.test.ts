import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { parseJson } from "../../worker-host/contract/payload.ts";
import { bytesOf, VECTORS, wellFormed } from "../harness/command-vectors.ts";
import { program } from "../harness/sketch.ts";

interface Read {
  refused?: string;
  /** Hexadecimal, as the ones below. */
  action: string;
  kind: "none" | "text" | "json";
  args: string;
  id: string;
  reply_to: string;
}

/** How the firmware reads each payload. */
function readAll(payloads: Uint8Array[]): Read[] {
  const input = payloads.map((bytes) => `${Buffer.from(bytes).toString("hex")}\n`).join("");
  const output = execFileSync(program("vectors"), { input, encoding: "utf8", maxBuffer: 2 ** 28 });
  return output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

const textOf = (hex: string) => Buffer.from(hex, "hex").toString("utf8");

test("the firmware reads each command as the server's side does", () => {
  const read = readAll(VECTORS.map(bytesOf));
  expect(read).toHaveLength(VECTORS.length);
  for (const [index, vector] of VECTORS.entries()) {
    const { refused, action, kind, args, id, reply_to } = read[index] as Read;
    const why = JSON.stringify(vector).slice(0, 200);
    expect(refused, why).toBe(vector.refused);
    if (vector.refused !== undefined) continue;
    expect([textOf(action), textOf(id), textOf(reply_to)], why).toEqual(
      wellFormed([vector.action, vector.id ?? "", vector.reply_to ?? ""]),
    );
    expect(kind, why).toBe(vector.rest !== undefined ? "text" : vector.args !== undefined ? "json" : "none");
    if (kind === "text") expect(textOf(args), why).toBe(vector.rest);
    if (kind === "json") expect(wellFormed(parseJson(textOf(args))), why).toEqual(wellFormed(vector.args));
  }
});

test("65,536 bytes are read, one more is refused", () => {
  const [longest, longer] = readAll(
    ["x".repeat(65_536), "x".repeat(65_537)].map((text) => new TextEncoder().encode(text)),
  );
  expect(longest?.action).toHaveLength(2 * 65_536);
  expect(longer?.refused).toBe("too_long");
});
