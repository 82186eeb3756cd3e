import { expect, test } from "vitest";
import { LogTail } from "../worker-host/cli/logs.ts";
import { RotatingFile } from "../worker-host/host/data/log-files.ts";
import { makeFolder } from "./harness/folder.ts";

const LINES = Array.from({ length: 20 }, (_, index) => index);
const FILES = 99;

const ROUNDS = 20;
const READERS = 8;

/** Writes rounds of lines, each a number, one higher than the one before; a file is full after some seven. */
async function whileWritten(read: (folder: string, writing: () => boolean) => Promise<void>): Promise<void> {
  const folder = makeFolder({});
  const log = new RotatingFile({ folder, id: "talker", fileBytes: 30, files: FILES });
  await log.append(LINES.map(String).map((line) => `${line}\n`));
  let writing = true;
  const write = async () => {
    for (let round = 1; round <= ROUNDS; round++)
      await log.append(LINES.map((line) => `${round * LINES.length + line}\n`));
    writing = false;
  };
  await Promise.all([write(), ...Array.from({ length: READERS }, () => read(folder, () => writing))]);
}

test("a log is followed while its files get their next names, without a gap and without a line twice", async () => {
  await whileWritten(async (folder, writing) => {
    const tail = new LogTail(folder, "talker");
    const seen = await tail.last(LINES.length);
    const [first] = seen.map(Number);
    while (writing()) seen.push(...(await tail.more()));
    seen.push(...(await tail.more()));
    expect(seen.map(Number)).toEqual(seen.map((_, index) => Number(first) + index));
    expect(seen.at(-1)).toBe(String((ROUNDS + 1) * LINES.length - 1));
  });
});

test("the last lines of a log are in one piece while its files get their next names", async () => {
  await whileWritten(async (folder, writing) => {
    while (writing()) {
      const tail = new LogTail(folder, "talker");
      const last = await tail.last(LINES.length);
      const all = [...last, ...(await tail.more())].map(Number);
      expect(last.length).toBe(LINES.length);
      expect(all).toEqual(all.map((_, index) => Number(all[0]) + index));
    }
  });
});
