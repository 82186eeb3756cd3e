import { join } from "node:path";
import { expect, test } from "vitest";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { ROOT, runCli } from "./harness/host.ts";

const GOOD = workerSource("do_ping(text?: string) { this.telemetry('pong', text ?? 'ok'); }");
const LEVEL = workerSource(
  "static config = z.object({ level: z.number().default(1) });",
  'import { z } from "worker-host";',
);

test("check passes what is shipped", async () => {
  const { code, stdout, stderr } = await runCli(["check"], { cwd: ROOT });
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(stdout.split("\n").filter((line) => !/^ok {6}\w+$/.test(line))).toEqual([""]);
});

test("every kind of mistake is told, with its place; what is well is ok; nothing is started", async () => {
  const cwd = makeFolder({
    "props/good/backend/worker.ts": GOOD.replace(
      "do_ping",
      "override async start() { throw new Error('started'); }\n do_ping",
    ),
    "props/syntax/backend/worker.ts": "export class Worker {\n",
    "props/types/backend/worker.ts": `import { shout } from "./helper.ts";\n${workerSource("do_ping() { const n: number = 'five'; return shout(n); }")}`,
    "props/types/backend/helper.ts": "export const shout = (text: string): string => text.toFixed();\n",
    "props/missing/backend/worker.ts": `import "no-such-package";\n${GOOD}`,
    "props/config/backend/worker.ts": LEVEL,
    "props/config/backend/config.yaml": "# how loud\nlevel: high\nlevle: 5\n",
    "props/broken/backend/worker.ts": LEVEL,
    "props/broken/backend/config.yaml": "level: [1\n",
    "props/reserved/backend/worker.ts": GOOD,
    "props/reserved/backend/config.yaml": "worker: { area: 5 }\n",
    "props/nothing/backend/worker.ts": "export const x = 1;\n",
    "props/throws/backend/worker.ts": `throw new Error("no power");\n${GOOD}`,
    "props/exits/backend/worker.ts": `process.exit(3);\n${GOOD}`,
    "props/old/backend/worker.py": "",
  });
  const { code, stdout, stderr } = await runCli(["check", "--disable-all-builtins"], { cwd });
  expect(code).toBe(1);
  const lines = stdout.trim().split("\n");
  expect(lines.filter((line) => line.startsWith("ok"))).toEqual(["ok      good"]);
  expect(lines).toContainEqual(expect.stringMatching(/^skipped old: a Python worker/));
  const failed = lines.filter((line) => line.startsWith("failed")).map((line) => line.split(/ +/)[1]);
  expect(failed).toEqual(["broken", "config", "exits", "missing", "nothing", "reserved", "syntax", "throws", "types"]);
  for (const says of [
    /^props\/syntax\/backend\/worker\.ts:2:1: /,
    /^props\/types\/backend\/worker\.ts:5:\d+: TS2322: Type 'string' is not assignable to type 'number'/,
    /^props\/types\/backend\/worker\.ts:5:\d+: TS2345: /,
    /^props\/types\/backend\/helper\.ts:1:\d+: TS\d+: /,
    /^props\/missing\/backend\/worker\.ts:1:8: Could not resolve "no-such-package"/,
    /^props\/config\/backend\/config\.yaml:2 level: expected number, got "high"/,
    /^props\/broken\/backend\/config\.yaml:2:1: /,
    /^props\/reserved\/backend\/config\.yaml:1 worker\.area: expected string, got 5/,
    /^props\/nothing\/backend\/worker\.ts exports no class Worker/,
    /^props\/throws\/backend\/worker\.ts:1: Error: no power$/,
    /^props\/exits\/backend\/worker\.ts:1: process\.exit\(\) would end the other workers too/,
  ]) {
    expect(stderr.split("\n"), String(says)).toContainEqual(expect.stringMatching(says));
  }
});

test("a warning fails nothing; an id that isn't there does", async () => {
  const cwd = makeFolder({ "props/lab/backend/worker.ts": LEVEL, "props/lab/backend/config.yaml": "levle: 5\n" });
  expect(await runCli(["check", "lab"], { cwd })).toMatchObject({
    code: 0,
    stdout: "ok      lab\n",
    stderr: expect.stringMatching(/^warning: props\/lab\/backend\/config\.yaml:1 levle: .*did you mean "level"\?\n$/),
  });
  expect(await runCli(["check", "lba"], { cwd })).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^there is no worker "lba"; did you mean "lab"\?/),
  });
});

test("in a prop's folder it checks that prop, and elsewhere all", async () => {
  const folder = makeFolder({
    "worker-host.yaml": "disable_all_builtins: true",
    "props/lamp/backend/worker.ts": workerSource(),
    "props/other/backend/worker.ts": workerSource("do_ping("),
  });
  for (const cwd of ["props/lamp", "props/lamp/backend"]) {
    expect(await runCli(["check"], { cwd: join(folder, cwd) })).toEqual({
      code: 0,
      stdout: "ok      lamp\n",
      stderr: "",
    });
  }
  const all = await runCli(["check"], { cwd: join(folder, "props") });
  expect(all).toMatchObject({ code: 1, stdout: expect.stringMatching(/ok {6}lamp\nfailed {2}other\n$/) });
});

test("top-level code that never ends is told, and doesn't hold up the others", async () => {
  const cwd = makeFolder({
    "props/endless/backend/worker.ts": `for (;;);\n${GOOD}`,
    "props/good/backend/worker.ts": GOOD,
  });
  const { code, stdout, stderr } = await runCli(["check", "good", "endless"], { cwd, takesMs: 10_000 });
  expect(stderr).toMatch(/props\/endless\/backend\/worker\.ts: its top-level code has not ended in 10 s/);
  expect(stdout).toBe("ok      good\nfailed  endless\n");
  expect(code).toBe(1);
});
