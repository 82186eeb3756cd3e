import { mkdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate, setTimeout } from "node:timers/promises";
import pino from "pino";
import { expect, onTestFinished, test } from "vitest";
import { argumentsOf, childrenOfAll } from "../bench/processes.mjs";
import { systemClock } from "../worker-host/base/clock.ts";
import { deferred } from "../worker-host/base/promises.ts";
import type { Plan, Planned } from "../worker-host/host/plan/plan.ts";
import { LiveReload } from "../worker-host/host/reload/live-reload.ts";
import { Watcher } from "../worker-host/host/reload/watcher.ts";
import type { Supervisor } from "../worker-host/host/runners/supervisor.ts";
import { TestClock } from "../worker-host/testing/test-clock.ts";
import { type Files, makeFolder, workerSource, writeFiles } from "./harness/folder.ts";
import { sharedHaunt } from "./harness/haunt.ts";
import { Happenings } from "./harness/wait.ts";

const PING = workerSource("do_ping() { this.telemetry('pong', 1); }");
const says = (word: string, more = "") =>
  workerSource(`async start() { await super.start(); this.telemetry("says", ${word}); }\n${more}`);

const haunt = sharedHaunt({ props: { "good/backend/worker.ts": PING } });
let labs = 0;

/** Adds a lab to the host that the tests share; its files, here and in what is edited, are those in `lab/`. */
async function run(files: Files) {
  const id = `lab_${++labs}`;
  const { client, host, props, add } = await haunt();
  const placed = (all: Files) =>
    Object.fromEntries(Object.entries(all).map(([path, text]) => [path.replace(/^lab\//, `${id}/`), text]));
  await add(placed(files));
  /** How often a worker was started: an edit of the lab is the lab's alone. */
  const starts = (worker: string) => [
    ...new Set(client.texts(`halloween/${worker}/status/runstate`).filter((text) => text.includes('"starting"'))),
  ];
  return { id, client, host, props, starts, edit: (changed: Files) => writeFiles(props, placed(changed)) };
}

test("a changed worker.ts, or a file that it imports, restarts that worker alone", async () => {
  const { id, client, props, edit, starts } = await run({
    "lab/backend/worker.ts": `import { word } from "../lib/word";\n${says("word")}`,
    "lab/lib/word.ts": "export const word = 'one';",
  });
  await client.expect(`halloween/${id}/telemetry/says`, "one");
  edit({ "lab/lib/word.ts": "export const word = 'two';" });
  await client.expect(`halloween/${id}/telemetry/says`, "two");
  for (const text of ["offline", "online"]) await client.expect(`halloween/${id}/status/availability`, text);
  edit({ "lab/backend/worker.ts": says("'three'") });
  await client.expect(`halloween/${id}/telemetry/says`, "three");
  // As an editor saves: beside it, then over it.
  edit({ "lab/backend/.worker.ts.swp": says("'four'") });
  renameSync(join(props, id, "backend/.worker.ts.swp"), join(props, id, "backend/worker.ts"));
  await client.expect(`halloween/${id}/telemetry/says`, "four");
  expect(starts("good")).toHaveLength(1);
});

test("a file that is saved without a change restarts nothing", async () => {
  const { id, client, props, edit, starts } = await run({ "lab/backend/worker.ts": says("'one'") });
  await client.expect(`halloween/${id}/telemetry/says`, "one");
  const now = new Date();
  utimesSync(join(props, id, "backend/worker.ts"), now, now);
  edit({ "lab/backend/worker.ts": says("'one'"), "other/backend/worker.ts": PING });
  await client.expect("halloween/other/status/availability", "online");
  expect(starts(id)).toHaveLength(1);
});

test("a syntax error leaves the old one running, and says where it is", async () => {
  const { id, client, host, edit, starts } = await run({
    "lab/backend/worker.ts": says("'one'", "do_ping() { this.telemetry('pong', 1); }"),
  });
  await client.expect(`halloween/${id}/telemetry/says`, "one");
  edit({ "lab/backend/worker.ts": "export class Worker {\n  do_ping() {\n" });
  const error = await client.expect(`halloween/${id}/status/error`, /worker\.ts:3:1: .*the old one runs on$/s);
  await host.logged(error);
  await client.command(id, "ping");
  await client.expect(`halloween/${id}/telemetry/pong`, "1");
  expect(starts(id)).toHaveLength(1);
  // Mended so that it is as it was: nothing starts anew, and nothing is wrong any more.
  edit({ "lab/backend/worker.ts": says("'one'", "do_ping() { this.telemetry('pong', 1); }") });
  await client.expect(`halloween/${id}/status/error`, "");
  expect(starts(id)).toHaveLength(1);
  edit({ "lab/backend/worker.ts": says("'two'") });
  await client.expect(`halloween/${id}/telemetry/says`, "two");
});

test("a reload waits for running commands", async () => {
  const body =
    "async do_fire() { await this.hold(600, () => this.telemetry('on', 1), () => this.telemetry('on', 0)); }";
  const { id, client, edit } = await run({ "lab/backend/worker.ts": says("'one'", body) });
  await client.command(id, { action: "fire", reply_to: "halloween/cli/reply/1" });
  await client.expect(`halloween/${id}/telemetry/on`, "1");
  edit({ "lab/backend/worker.ts": says("'two'", body) });
  await client.expect(`halloween/${id}/telemetry/says`, "two");
  expect(JSON.parse(await client.expect("halloween/cli/reply/1"))).toMatchObject({ status: "ok" });
  const order = client.seen.all
    .filter(({ topic }) => topic.startsWith(`halloween/${id}/`) && /telemetry\/(on|says)$/.test(topic))
    .map(({ text }) => text);
  expect(order).toEqual(["one", "1", "0", "two"]);
});

test("a lock-out during a reload that waits for a running command holds for what still runs, too", async () => {
  const body = `async start() {
      await this.subscribe("lab/pir", () => this.hold(1, () => this.publish("lab/valve", "on"), () => {}));
      await this.subscribe("lab/over", () => this.over?.());
    }
    async do_scene() { this.telemetry("scene", 1); await new Promise((resolve) => { this.over = resolve; }); }
    do_fire() { this.telemetry("fired", 1); }`;
  const { id, client, host, edit } = await run({ "lab/backend/worker.ts": workerSource(body) });
  await client.subscribe("lab/#");
  await client.command(id, "scene");
  await client.expect(`halloween/${id}/telemetry/scene`);
  edit({ "lab/backend/worker.ts": workerSource(`${body}\ndo_next() { this.telemetry("next", 1); }`) });
  await host.log.find(({ changed }) => String(changed) === id, "that the edit was taken in");
  await client.command("worker_host", {
    action: "lock_out",
    args: `${id} a hand in it`,
    reply_to: "halloween/cli/reply/l",
  });
  await client.expect("halloween/cli/reply/l", /"ok"/);
  await client.publish("lab/pir", "1");
  await client.command(id, "fire");
  await client.expect(`halloween/${id}/status/warn`, /^"fire" refused: it is locked out \(a hand in it\)/);
  await client.publish("lab/over", "1");
  await client.expect(`halloween/${id}/status/availability`, "offline");
  await client.command("worker_host", `release ${id}`);
  await client.expect(`halloween/${id}/status/lock_out`, "");
  await client.expect(`halloween/${id}/status/availability`, "online");
  await client.command(id, "next");
  await client.expect(`halloween/${id}/telemetry/next`);
  expect([...client.texts("lab/valve"), ...client.texts(`halloween/${id}/telemetry/fired`)]).toEqual([]);
});

test.each<[string, Files, Files]>([
  ["its config", { "config.yaml": "level: high" }, { "config.yaml": "level: 7" }],
  ["its code", { "worker.ts": "nonsense(" }, {}],
  [
    "a file that it imports and that was not there",
    { "worker.ts": `import "./late";\n${says("'mended'")}` },
    { "late.ts": "export {};" },
  ],
  ["a start() that throws", { "worker.ts": workerSource("start() { throw new Error('no power'); }") }, {}],
])("a worker that failed for %s starts by itself when that is mended", async (_, broken, mended) => {
  const source = `${says("'mended'", "static config = z.object({ level: z.number().default(1) });")}`.replace(
    "BaseWorker",
    "BaseWorker, z",
  );
  const at = (files: Files) =>
    Object.fromEntries(Object.entries(files).map(([name, text]) => [`lab/backend/${name}`, text]));
  const { id, client, edit } = await run(at({ "worker.ts": source, ...broken }));
  await client.expect(`halloween/${id}/status/runstate`, /"failed"/);
  edit(at(Object.keys(mended).length > 0 ? mended : { "worker.ts": source }));
  await client.expect(`halloween/${id}/telemetry/says`, "mended");
  await client.expect(`halloween/${id}/status/availability`, "online");
});

const LIVE = workerSource(
  `static config = z.object({ level: z.number().max(10).default(1), colour: z.string().default("green") });
  async start() { await super.start(); this.telemetry("starts", this.config.level); }
  onConfig(next, previous) {
    if (next.colour === "black") throw new Error("black is no colour");
    this.telemetry("config", { next, previous, same: next === this.config });
  }
  do_show() { this.telemetry("shown", this.config); }`,
  'import { z } from "worker-host";',
);

test("a changed config goes to onConfig, over the defaults; where it is not valid, the old one stays", async () => {
  const { id, client, edit, starts } = await run({
    "lab/backend/worker.ts": LIVE,
    "lab/backend/config.yaml": "level: 2",
  });
  await client.expect(`halloween/${id}/telemetry/starts`, "2");
  edit({ "lab/backend/config.yaml": "level: 3\n" });
  expect(JSON.parse(await client.expect(`halloween/${id}/telemetry/config`))).toEqual({
    next: { level: 3, colour: "green" },
    previous: { level: 2, colour: "green" },
    same: true,
  });

  edit({ "lab/backend/config.yaml": "# too much\nlevel: 30\n" });
  await client.expect(`halloween/${id}/status/error`, /config\.yaml:2 level: .*<=10.*, got 30; the old config stays$/);
  edit({ "lab/backend/config.yaml": "level: [3\n" });
  await client.expect(`halloween/${id}/status/error`, /config\.yaml:\d+:\d+: .*; the old one runs on$/s);
  edit({ "lab/backend/config.yaml": "colour: black\n" });
  await client.expect(`halloween/${id}/status/error`, /black is no colour; the old config stays$/);
  await client.command(id, "show");
  expect(JSON.parse(await client.expect(`halloween/${id}/telemetry/shown`))).toEqual({ level: 3, colour: "green" });

  // An edit of the code starts it with the config that it took last.
  edit({ "lab/backend/worker.ts": LIVE.replace("do_show()", "do_again() {}\ndo_show()") });
  await client.expect(`halloween/${id}/telemetry/starts`, "3");
  edit({ "lab/backend/config.yaml": "colour: purple\n" });
  await client.expect(`halloween/${id}/telemetry/config`, /"next":\{"level":1,"colour":"purple"\}/);
  edit({ "lab/backend/config.yaml": "colour: black\n" });
  await client.expect(`halloween/${id}/status/error`, /black is no colour; the old config stays$/);
  edit({ "lab/backend/config.yaml": "colour: purple\n" });
  await client.expect(`halloween/${id}/status/error`, "");
  expect(starts(id)).toHaveLength(2);
});

test("a worker without onConfig restarts with its new config, and stays as it is with one that is not valid", async () => {
  const source = says("this.config.word", "static config = z.object({ word: z.enum(['one', 'two']) });").replace(
    "BaseWorker",
    "BaseWorker, z",
  );
  const { id, client, edit, starts } = await run({
    "lab/backend/worker.ts": source,
    "lab/backend/config.json": '{"word": "one"}',
  });
  await client.expect(`halloween/${id}/telemetry/says`, "one");
  edit({ "lab/backend/config.json": '{"word": "three"}' });
  await client.expect(`halloween/${id}/status/error`, /config\.json:1 word: .*the old config stays/);
  expect(starts(id)).toHaveLength(1);
  edit({ "lab/backend/config.json": '{"word": "two"}' });
  await client.expect(`halloween/${id}/telemetry/says`, "two");
});

test("props come and go by themselves; what one that is gone retained is cleared", async () => {
  const { client, props, edit } = await run({});
  edit({ "late/backend/worker.ts": workerSource("async start() { await super.start(); this.state = 'idle'; }") });
  await client.expect("halloween/late/status/availability", "online");
  await client.expect("halloween/worker_host/description", /"late"/);
  rmSync(join(props, "late"), { recursive: true });
  await client.expect("halloween/late/status/availability", "offline");
  for (const key of ["state", "description", "status/runstate", "status/availability"]) {
    await client.expect(`halloween/late/${key}`, "");
  }
  expect(client.texts("halloween/worker_host/description").at(-1)).not.toContain('"late"');
});

/** For a live reload that tells nobody of anything. */
const UNHEARD = {
  onPlan: () => {},
  onGone: () => {},
  say: () => {},
  warn: () => {},
  show: (path: string) => path,
  waits: () => false,
  log: pino({ level: "silent" }),
};

test("the builder rests a while after the last look, and never during one", async () => {
  const clock = new TestClock();
  const plan: Plan = { workers: [], boards: [], unread: [], warnings: [] };
  let answer = (_plan: Plan) => {};
  let rests = 0;
  const supervisor = { records: { all: [] }, rest: async () => rests++ } as unknown as Supervisor;
  const live = new LiveReload({
    supervisor,
    watched: [],
    readPlan: () => new Promise((resolve) => (answer = resolve)),
    ...UNHEARD,
    clock,
  });
  const first = live.rescan();
  await clock.advance(0);
  answer(plan);
  await first;
  await clock.advance(4_000);
  const second = live.rescan();
  await clock.advance(60_000);
  expect(rests).toBe(0);
  answer(plan);
  await second;
  await clock.advance(4_000);
  expect(rests).toBe(0);
  await clock.advance(2_000);
  expect(rests).toBe(1);
  await clock.advance(60_000);
  expect(rests).toBe(1);
  await live.stop();
});

test("a config that an editor is in the middle of writing is waited for; one that stays so is taken", async () => {
  const tell = "this.telemetry('level', this.config.level ?? 'none');";
  const { id, client, edit } = await run({
    "lab/backend/worker.ts": workerSource(`async start() { ${tell} } onConfig() { ${tell} }`),
    "lab/backend/config.yaml": "level: 1\n",
  });
  const level = `halloween/${id}/telemetry/level`;
  await client.expect(level, "1");
  // An editor takes its time for a save, in steps.
  for (const text of ["", "lev", "level: 2", "level: 22\n"]) {
    edit({ "lab/backend/config.yaml": text });
    await setTimeout(200);
  }
  await client.expect(level, "22");
  edit({ "lab/backend/config.yaml": "level: 3" });
  await client.expect(level, "3");
  edit({ "lab/backend/config.yaml": "" });
  await client.expect(level, "none");
  expect(client.texts(level)).toEqual(["1", "22", "3", "none"]);
  expect(client.texts(`halloween/${id}/status/error`)).toEqual([]);
});

/** A live reload of one worker that imports a text, with the config at each of its looks. */
async function watchingOne({ watched }: { watched?: string } = {}) {
  const folder = makeFolder({
    "lab/backend/worker.ts": PING,
    "lab/backend/words.txt": "a",
    "lab/backend/config.yaml": "level: 1\n",
  });
  const [file, words, path] = ["worker.ts", "words.txt", "config.yaml"].map((name) =>
    join(folder, "lab/backend", name),
  );
  const looks = new Happenings<string>();
  const plan = async () => {
    const text = readFileSync(path as string, "utf8");
    const config = { values: { text }, file: "", lines: {} };
    const planned = { id: "lab", file, place: { path, at: [] }, config, about: {}, warnings: [] };
    return { ...planned, ...(text.endsWith("\n") ? {} : { unfinished: true }) } as unknown as Planned;
  };
  // Nothing is done with one that a person stopped.
  const record = { bundle: { url: "", hash: "", inputs: [file, words] }, planned: await plan(), held: true };
  const live = new LiveReload({
    supervisor: {
      records: { all: [record], get: () => record },
      goBack: async () => {},
      rest: async () => {},
    } as unknown as Supervisor,
    watched: [watched ?? folder],
    readPlan: async () => ({ workers: [await plan()], boards: [], unread: [], warnings: [] }),
    ...UNHEARD,
    onPlan: ({ workers }) => void looks.add(String(workers[0]?.config.values.text)),
    clock: systemClock,
  });
  onTestFinished(() => live.stop());
  const write = (files: Files) => writeFiles(join(folder, "lab/backend"), files);
  return { live, looks, write };
}

test("a look that waits for its turn, and the first one, wait for a config that is half written by then", async () => {
  const { live, looks, write } = await watchingOne();
  write({ "config.yaml": "" });
  await live.watch();
  expect(looks.all).toEqual([]);
  write({ "config.yaml": "level: 2\n" });
  await looks.find((text) => text === "level: 2\n", "the first look");
  const before = deferred();
  const busy = live.inTurn(() => before.promise);
  write({ "config.yaml": "level: 3\n" });
  // Once the watcher has told of it.
  await setTimeout(500);
  write({ "config.yaml": "" });
  before.resolve();
  await busy;
  write({ "config.yaml": "level: 4\n" });
  await looks.find((text) => text === "level: 4\n", "a look at what was written to its end");
  expect(looks.all).not.toContain("");
});

test("a config that stays half written holds up other edits for its time only, however many come", async () => {
  const { live, looks, write } = await watchingOne();
  await live.watch();
  write({ "config.yaml": "level: 2" });
  let edits = 0;
  const others = setInterval(() => write({ "worker.ts": `${PING}// ${edits++}` }), 500);
  await looks.find((text) => text === "level: 2", "a look at what stays so").finally(() => clearInterval(others));
});

test("an edit of a config is seen where its folder came while the watcher was still looking around", async () => {
  const { live, looks, write } = await watchingOne({ watched: makeFolder({}) });
  await live.watch();
  // It begins to watch what a worker is made of a moment after that.
  await setTimeout(500);
  write({ "config.yaml": "level: 2\n" });
  await looks.find((text) => text === "level: 2\n", "a look at the edit");
});

test("what comes into a new folder a moment after it is told of", async () => {
  const folder = makeFolder({});
  const told = new Happenings<string>();
  const onChange = (files: ReadonlySet<string>) => [...files].forEach((file) => void told.add(file));
  const watcher = new Watcher({ folders: [folder], log: pino({ level: "silent" }), clock: systemClock, onChange });
  onTestFinished(() => watcher.stop());
  await watcher.start();
  // A watcher that looks first and watches then misses what falls between: at some of these moments.
  for (let turns = 0; turns < 60; turns++) {
    const lab = join(folder, `lab_${turns}`);
    mkdirSync(lab);
    for (let turn = 0; turn < turns; turn++) await setImmediate();
    mkdirSync(join(lab, "backend"));
    writeFileSync(join(lab, "backend/worker.ts"), PING);
  }
  for (let turns = 0; turns < 60; turns++) {
    const inside = join(folder, `lab_${turns}`, "backend");
    await told.find((file) => file.startsWith(inside), inside);
  }
});

test("what a worker writes beside its code is no edit: the files are not looked at anew", async () => {
  const { live, looks, write } = await watchingOne();
  await live.watch();
  for (const name of ["events.log", "state.json", "tape.bin"]) write({ [name]: "x" });
  await setTimeout(300);
  expect(looks.all).toHaveLength(1);
  write({ "words.txt": "b" });
  await looks.find(() => looks.all.length === 2, "a look at what is imported");
  write({ "config.json": "{}" });
  await looks.find(() => looks.all.length === 3, "a look at a new config");
});

test.each(["SIGKILL", "SIGSTOP"] as const)("an edit is taken up though esbuild's process got a %s", async (signal) => {
  const { id, client, host, edit } = await run({ "lab/backend/worker.ts": says("'one'") });
  const said = `halloween/${id}/telemetry/says`;
  await client.expect(said, "one");
  for (const word of signal === "SIGKILL" ? ["two", "three"] : ["two"]) {
    edit({ "lab/backend/worker.ts": says(`'${word} before'`) });
    await client.expect(said, `${word} before`);
    const builders = (childrenOfAll().get(host.pid) ?? []).filter((pid) => /esbuild/.test(argumentsOf(pid).join(" ")));
    for (const pid of builders) process.kill(pid, signal);
    edit({ "lab/backend/worker.ts": says(`'${word}'`) });
    await client.expect(said, word);
  }
});

const BAD: [name: string, body: string, says: RegExp][] = [
  ["without an export", PING.replace("export class", "class"), /exports no class Worker .*; the old one runs on/],
  [
    "with a class of another name",
    PING.replace("class Worker", "class Lamp"),
    /exports no class Worker .*Lamp.*; the old/,
  ],
  ["that throws at its top level", `throw new Error("no power");\n${PING}`, /no power; the old one runs on/],
  [
    "with a default that its schema would not give",
    workerSource("static config = z.object({ n: z.number().default('x') });", 'import { z } from "worker-host";'),
    /n: the default is "x".*; the old/,
  ],
];

test.each(BAD)("new code %s leaves the old one running", async (_name, body, says) => {
  const { id, client, edit, starts } = await run({ "lab/backend/worker.ts": PING });
  edit({ "lab/backend/worker.ts": body });
  await client.expect(`halloween/${id}/status/error`, says);
  await client.command(id, "ping");
  await client.expect(`halloween/${id}/telemetry/pong`, "1");
  expect(starts(id)).toHaveLength(1);
  expect(client.texts(`halloween/${id}/status/availability`)).toEqual(["online"]);
  edit({ "lab/backend/worker.ts": PING.replace("'pong', 1", "'pong', 2") });
  for (const text of ["offline", "online"]) await client.expect(`halloween/${id}/status/availability`, text);
  await client.command(id, "ping");
  await client.expect(`halloween/${id}/telemetry/pong`, "2");
});

test("where the start of new code throws, the one before starts again, and the fault stays shown until it is mended", async () => {
  const { id, client, edit } = await run({ "lab/backend/worker.ts": says("'one'") });
  const [said, runstate] = [`halloween/${id}/telemetry/says`, `halloween/${id}/status/runstate`];
  await client.expect(said, "one");
  edit({ "lab/backend/worker.ts": workerSource("async start() { throw new Error('no power'); }") });
  await client.expect(said, "one");
  const shown = /"running".*no power; the one before it runs on/;
  await client.expect(runstate, shown);
  // What did not start is not tried again because its file is saved, or seen, once more.
  edit({ "lab/backend/worker.ts": workerSource("async start() { throw new Error('no power'); }") });
  await setTimeout(500);
  expect(client.texts(said)).toEqual(["one", "one"]);
  edit({ "lab/backend/worker.ts": workerSource("async start() { throw new Error('no light'); }") });
  await client.expect(said, "one");
  await client.expect(runstate, /"running".*no light; the one before it runs on/);
  edit({ "lab/backend/worker.ts": says("'two'") });
  await client.expect(said, "two");
  const last = await client.expect(runstate, /"running"/);
  expect(last).not.toContain("no light");
});

test("a worker.ts that becomes a worker.js with a fault leaves the old one running", async () => {
  const { id, client, props, edit } = await run({ "lab/backend/worker.ts": PING });
  edit({ "lab/backend/worker.ts": "export class Worker { n: number = 1;" });
  await client.expect(`halloween/${id}/status/error`, /the old one runs on/);
  renameSync(join(props, id, "backend/worker.ts"), join(props, id, "backend/worker.js"));
  await client.expect(`halloween/${id}/status/error`, /worker\.js:1:\d+: .*the old one runs on/);
  await client.command(id, "ping");
  await client.expect(`halloween/${id}/telemetry/pong`, "1");
  expect(client.texts(`halloween/${id}/status/availability`)).toEqual(["online"]);
});
