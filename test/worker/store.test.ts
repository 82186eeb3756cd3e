import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { expect, onTestFinished, test } from "vitest";
import { MAX_STORE_BYTES } from "../../worker-host/worker/limits.ts";
import { Store } from "../../worker-host/worker/store.ts";
import { BROKER } from "../harness/broker.ts";
import { makeFolder } from "../harness/folder.ts";
import { ROOT } from "../harness/host.ts";
import { rounds } from "../harness/rounds.ts";

async function open(dir = makeFolder()) {
  const warnings: string[] = [];
  const store = await Store.open(dir, { warn: (text) => warnings.push(text), now: () => 0 });
  return { dir, store, warnings, file: join(dir, "store.json") };
}

test("what was stored is there again, whatever its key; opening alone writes nothing", async () => {
  const { dir, store, file } = await open(join(makeFolder(), "data", "lab"));
  expect(existsSync(dir)).toBe(false);
  await store.set("shows", 3);
  await store.set("__proto__", { evil: true });
  await store.set("constructor", [1, "two", null, { three: true }]);
  await store.set("gone", 1);
  await store.delete("gone");
  expect(JSON.parse(readFileSync(file, "utf8"))).toHaveProperty("shows", 3);

  const { store: again } = await open(dir);
  expect(again.keys()).toEqual(["shows", "__proto__", "constructor"]);
  expect(again.get("__proto__")).toEqual({ evil: true });
  expect(again.get<unknown[]>("constructor")).toEqual([1, "two", null, { three: true }]);
  expect([again.has("gone"), again.get("gone"), again.size]).toEqual([false, undefined, 3]);
  await again.clear();
  expect((await open(dir)).store.entries()).toEqual([]);
});

test("nobody changes what is stored by changing what they gave or got", async () => {
  const { store } = await open();
  const given = { list: [1] };
  const written = store.set("a", given);
  given.list.push(2);
  store.get<{ list: number[] }>("a")?.list.push(3);
  await written;
  expect(store.get("a")).toEqual({ list: [1] });
});

test("writes are gathered, and reading needs none", async () => {
  const { dir, store } = await open();
  const all = Array.from({ length: 500 }, (_, i) => store.set(`key${i}`, i));
  expect(store.get("key499")).toBe(499);
  expect(existsSync(join(dir, "store.json"))).toBe(false);
  await Promise.all(all);
  expect(new Set(all).size).toBeLessThan(3);
  void store.set("last", 1);
  await store.flush();
  expect((await open(dir)).store.size).toBe(501);
});

test.each<[unknown, RegExp]>([
  [undefined, /store: "a" has a undefined in it: give what JSON has/],
  [() => 1, /a function/],
  [{ deep: [Number.NaN] }, /NaN/],
  [{ deep: Number.POSITIVE_INFINITY }, /Infinity/],
  [new Map(), /a Map/],
  [Promise.resolve(1), /a Promise/],
  [{ deep: /x/ }, /a RegExp/],
  [10n, /a bigint/],
  ["x".repeat(1_100_000), /1048576 is the most/],
])("%o is refused, and changes nothing", async (value, says) => {
  const { store } = await open();
  await store.set("a", "before");
  expect(() => store.set("a", value)).toThrow(says);
  expect(store.get("a")).toBe("before");
});

test("a key is a text of 1 to 256 letters; something circular is refused", async () => {
  const { store } = await open();
  for (const key of ["", "x".repeat(257), 5 as never]) expect(() => store.set(key, 1)).toThrow(/expected a key/);
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  expect(() => store.set("a", circle)).toThrow(/circular/);
});

test.each(["", "{", "[1]", "5", "null", "\u0000"])(
  "a file that holds %j is kept aside, with a warning",
  async (text) => {
    const dir = makeFolder({ "store.json": text });
    const { store, warnings } = await open(dir);
    expect(store.size).toBe(0);
    const aside = join(dir, "store.json.broken-1970-01-01T00-00-00.000Z");
    expect(warnings).toEqual([`${join(dir, "store.json")} is no store: it is kept as ${aside}, and a new one begun`]);
    expect(readFileSync(aside, "utf8")).toBe(text);
    await store.set("a", 1);
  },
);

test("what can't be written rejects, is told, and is made up for by the next write", async () => {
  const folder = makeFolder();
  const dir = join(folder, "data");
  const { store, warnings } = await open(dir);
  writeFileSync(dir, "a file where the folder should be");
  await expect(store.set("a", 1)).rejects.toThrow(/EEXIST|ENOTDIR/);
  expect(warnings).toEqual([expect.stringMatching(/store\.json can't be written: /)]);
  rmSync(dir);
  await store.set("b", 2);
  expect((await open(dir)).store.entries()).toEqual([
    ["a", 1],
    ["b", 2],
  ]);
});

test("flush, and deleting what is gone already, fulfil only when the disk says so too", async () => {
  const folder = makeFolder();
  const dir = join(folder, "data");
  const { store, file } = await open(dir);
  await store.set("a", 1);
  renameSync(dir, join(folder, "aside"));
  writeFileSync(dir, "a file where the folder should be");
  for (const write of [() => store.delete("a"), () => store.delete("a"), () => store.flush()]) {
    await expect(write()).rejects.toThrow(/EEXIST|ENOTDIR/);
  }
  rmSync(dir);
  await store.flush();
  expect(readFileSync(file, "utf8")).toBe("{}\n");
});

test("the limit is the file's, whatever its keys", async () => {
  const { store, file } = await open();
  const key = (i: number) => `${i}`.padStart(256, "\u0001");
  const fill = () => {
    for (let i = 0; ; i++) void store.set(key(i), i);
  };
  expect(fill).toThrow(/1048576 is the most/);
  await store.flush();
  const { size } = statSync(file);
  expect(size).toBeLessThanOrEqual(MAX_STORE_BYTES);
  expect(size).toBeGreaterThan(MAX_STORE_BYTES - 2_000);
});

test("a byte order mark is no fault; bytes that are no UTF-8 are kept as they are", async () => {
  const { store } = await open(makeFolder({ "store.json": '\ufeff{"a":1}' }));
  expect(store.get("a")).toBe(1);
  const dir = makeFolder();
  const bytes = Buffer.from('{"a":"\xff"}', "latin1");
  writeFileSync(join(dir, "store.json"), bytes);
  const { warnings } = await open(dir);
  expect(warnings).toHaveLength(1);
  expect(readFileSync(join(dir, "store.json.broken-1970-01-01T00-00-00.000Z"))).toEqual(bytes);
});

const ROUNDS = rounds(200);

/** Stores one number after the other, and says of each that is on disk. */
const WRITER = `import { Store } from "${ROOT}worker-host/worker/store.ts";
const store = await Store.open(process.argv[2], { warn: (text) => process.send({ warning: text }), now: Date.now });
for (let i = store.get("count") ?? 0; ; ) {
  i++;
  void store.set("filler" + (i % 50), "x".repeat(i % 2000));
  await store.set("count", i);
  process.send({ count: i });
}`;

// It takes a while: once in a CI is enough.
test.runIf(BROKER === "mosquitto")(
  `killed ${ROUNDS} times at any moment, it is whole each time, and has lost nothing that it promised`,
  async () => {
    const dir = makeFolder();
    const stdin = { contents: WRITER, resolveDir: dir };
    await build({ stdin, outfile: join(dir, "writer.mjs"), bundle: true, platform: "node", format: "esm" });
    const data = join(dir, "data");
    let promised = 0;
    let child: ChildProcess | undefined;
    onTestFinished(() => void child?.kill("SIGKILL"));
    for (let round = 0; round < ROUNDS; round++) {
      child = fork(join(dir, "writer.mjs"), [data], { execArgv: [] });
      const writer = child;
      const wanted = promised + 1 + (round % 7);
      writer.on("message", ({ count, warning }: { count?: number; warning?: string }) => {
        expect(warning).toBeUndefined();
        promised = Math.max(promised, count ?? 0);
        // Not at once: somewhere in the writes that follow.
        if (promised >= wanted) setTimeout(() => writer.kill("SIGKILL"), (round * 7) % 11);
      });
      await once(writer, "exit");
      const values = JSON.parse(readFileSync(join(data, "store.json"), "utf8")) as { count: number };
      expect(values.count).toBeGreaterThanOrEqual(promised);
      promised = values.count;
    }
    await open(data);
    expect(readdirSync(data)).toEqual(["store.json"]);
  },
  300_000,
);
