import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeDurably } from "../../worker-host/base/durable-file.ts";
import { makeFolder } from "../harness/folder.ts";

const MODE = 0o777;

test("a file that is to have a mode of its own is its writer's alone until it has that", async () => {
  const path = join(makeFolder(), "secret");
  let before: number | undefined;
  await writeDurably(path, "secret", async (file) => {
    before = (await file.stat()).mode & MODE;
    await file.chmod(0o640);
  });
  expect(before).toBe(0o600);
  expect(statSync(path).mode & MODE).toBe(0o640);
  expect(readFileSync(path, "utf8")).toBe("secret");
});

test("any other has what the process gives to new files", async () => {
  const path = join(makeFolder(), "plain");
  await writeDurably(path, "plain");
  expect(statSync(path).mode & MODE).toBe(0o666 & ~process.umask());
});
