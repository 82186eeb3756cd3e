import { Readable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { followLines } from "../worker-host/base/output.ts";
import { expectOthersWell, restarted, startThree } from "./harness/three.ts";

// What a worker's process says without end, past worker-host, to where the host listens.

/** A worker that runs a line of the shell, in a process that has this one's descriptors. */
const running = (line: string) => `
  async do_go() {
    const { spawn } = await import("node:child_process");
    spawn("sh", ["-c", ${JSON.stringify(line)}], { stdio: ["ignore", "ignore", 2, 3, 4] });
  }`;

test("a flood on standard error is logged in part, with the number of the lines that were left out", async () => {
  const { client, host } = await startThree(running("yes noise | head -n 100000 >&2"));
  await client.command("bad", "go");
  await host.logged(/^\d+ more were left out; the last: noise$/);
  await expectOthersWell(client, host);
  await host.stop();
  const isNoise = ({ msg }: { msg: string }) => /noise$/.test(msg);
  expect(host.log.all.filter(isNoise).length).toBeLessThan(300);
});

test("a line on standard error that has no end is logged in pieces", async () => {
  const { client, host } = await startThree(running("head -c 3000000 /dev/zero | tr '\\0' x >&2; sleep 60"));
  await client.command("bad", "go");
  await host.logged(/^x{1000}/);
  await expectOthersWell(client, host);
});

test("a process that sends its host rubbish again and again is ended, and its workers come back", async () => {
  const { client, host } = await startThree(running("yes rubbish | head -n 5000 >&3"));
  await client.command("bad", "go");
  await host.logged(/sent its host what it doesn't understand 1000 times, and is ended: .*rubbish/);
  await restarted(client);
  await expectOthersWell(client, host);
});

test("lines that come as fast as they are read leave others their turn", async () => {
  const taken: string[] = [];
  let left = 1_000;
  const source = new Readable({
    read() {
      this.push(left-- > 0 ? "noise\n" : null);
    },
  });
  const ended = followLines(source, (lines) => taken.push(lines));
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  expect(taken.length).toBeLessThan(100);
  await ended;
  expect(taken.join("")).toBe("noise\n".repeat(1_000));
});
