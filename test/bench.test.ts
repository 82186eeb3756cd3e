import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { freePort } from "../bench/ports.mjs";
import { row, table } from "../bench/report.mjs";
import { interleave } from "../bench/rounds.mjs";
import { median, percentile, spread } from "../bench/statistics.mjs";

const WHAT = { broker: "mosquitto", name: "ping", unit: "ms", baselineName: "mqtt.js", compared: "ratio" } as const;

test("a ratio is taken round by round, and its median is held against the target", () => {
  const slow = row({ ...WHAT, target: { atMost: 1.1 } }, [2, 3, 40], [1, 2, 10]);
  expect(slow.result).toEqual({ median: 2, min: 1.5, max: 4, samples: 3 });
  expect(slow.reached).toBe(false);
  expect(row({ ...WHAT, target: { atLeast: 0.8 } }, [8], [10]).reached).toBe(true);
  expect(row({ ...WHAT, target: { atLeast: 0.81 } }, [8], [10]).reached).toBe(false);
  expect(row(WHAT, [8], [10]).reached).toBeUndefined();
});

test("one baseline stands for all rounds; a value is held against its target as it is", () => {
  expect(row(WHAT, [2, 4], [2]).result).toMatchObject({ min: 1, max: 2 });
  const value = row({ ...WHAT, compared: "value", target: { atMost: 300 } }, [290, 320], [40]);
  expect([value.result.median, value.reached]).toEqual([305, false]);
});

test("the table says what was missed", () => {
  const rows = [
    row({ ...WHAT, target: { atMost: 1.1 } }, [3], [2]),
    row({ ...WHAT, target: { atMost: 2 } }, [3], [2]),
    row({ broker: "mosquitto", compared: "value", name: "memory", unit: "MB" }, [3]),
  ];
  expect(table(rows).split("\n").slice(1)).toEqual([
    expect.stringMatching(/^mosquitto {2}ping .* 3 \(3-3\) ms .*mqtt\.js .* x 1\.5 .* x <= 1\.1 +NO$/),
    expect.stringMatching(/ x <= 2 +yes$/),
    expect.stringMatching(/^mosquitto {2}memory +3 \(3-3\) MB$/),
  ]);
});

test("every round measures all, each as often in every place", async () => {
  const order: string[] = [];
  const names = ["worker", "bare", "inC"];
  const measured = await interleave(6, Object.fromEntries(names.map((name) => [name, async () => order.push(name)])));
  for (const name of names) expect(measured[name]?.length).toBe(6);
  for (const place of [0, 1, 2]) {
    const there = order.filter((_, index) => index % 3 === place).sort();
    expect(there).toEqual(names.flatMap((name) => [name, name]).sort());
  }
});

test("medians, percentiles and spreads", () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5]);
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
  expect([percentile(hundred, 0.99), percentile(hundred, 0.5)]).toEqual([100, 51]);
  expect(spread([2, 1, 6])).toEqual({ median: 2, min: 1, max: 6, samples: 3 });
  expect(() => median([])).toThrow("no values");
});

/** The first port that Linux gives to a connection, unless it is told otherwise. */
const FIRST_OF_CONNECTIONS = 32_768;

test("a broker's port is none that a client which tries to reach it could be given for itself", async () => {
  for (let i = 0; i < 20; i++) expect(await freePort()).toBeLessThan(FIRST_OF_CONNECTIONS);
});

test("a part that is unknown is refused, and says which there are", () => {
  const { status, stderr } = spawnSync(process.execPath, ["bench/bench.mjs", "sped"], { encoding: "utf8" });
  expect(status).toBe(2);
  expect(stderr).toMatch(
    /^sped: there are speed, quiet, many, starts, reloads, lasting, command-line, mosquitto, embedded$/m,
  );
});
