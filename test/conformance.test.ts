import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import type { BaseWorker, WorkerContext } from "../worker-host/index.ts";
import { startWorker, type TestWorker } from "../worker-host/testing.ts";
import { ROOT } from "./harness/host.ts";

interface Shipped {
  id: string;
  file: string;
  /** Where its commands are listed. */
  readme: string;
  /** As it is shipped. */
  config: Record<string, unknown>;
}

function shipped(): Shipped[] {
  const props = readdirSync(join(ROOT, "props"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && readdirSync(join(ROOT, "props", entry.name)).includes("backend"))
    .map(({ name }) => ({
      id: name,
      file: join(ROOT, "props", name, "backend/worker.ts"),
      readme: join(ROOT, "props", name, "README.md"),
      config: configIn(join(ROOT, "props", name, "backend"), /^config\.(yaml|json)$/),
    }));
  const builtins = readdirSync(join(ROOT, "builtin-workers"))
    // The console's commands are the page's: test/console.test.ts.
    .filter((name) => /^[a-z_]+\.ts$/.test(name) && name !== "console.ts")
    .map((name) => ({
      id: name.replace(".ts", ""),
      file: join(ROOT, "builtin-workers", name),
      readme: join(ROOT, "README.md"),
      config: {},
    }));
  return [...props, ...builtins];
}

function configIn(folder: string, pattern: RegExp): Record<string, unknown> {
  const name = readdirSync(folder).find((each) => pattern.test(each));
  return name === undefined ? {} : ((parse(readFileSync(join(folder, name), "utf8")) ?? {}) as Record<string, unknown>);
}

type AnyWorker = new (context: WorkerContext) => BaseWorker;

async function start({ id, file, config }: Shipped, given = config) {
  const { Worker } = (await import(file)) as { Worker: AnyWorker };
  const worker = await startWorker(Worker, { id, dir: dirname(file), config: given });
  onTestFinished(() => worker.stop());
  return worker;
}

/** What nobody should send, and somebody will. */
const ODD: unknown[] = [
  ...[null, true, -1, 0, 1e99, 1.5, "", " ", "\u0000", "__proto__", "constructor", "x".repeat(10_000)],
  ...[{}, [], [[]], { ms: -1 }, { id: "../x" }, { __proto__: 1 }, [1, 2, 3], { a: { b: { c: [] } } }],
];

/** States in which something is on. */
const ON = /^(on|firing|fogging|shaking|playing|glowing|opening|closing)$/;

/** Something that a worker does for a while. */
interface Sequence {
  config?: Record<string, unknown>;
  /** What begins it: commands, and what others publish. */
  begin: (string | { topic: string; payload: unknown })[];
  /** In the middle of it, where the worker has one. */
  state?: string;
  /** What goes to boards and other props when it is stopped there: all of this, and nothing else. */
  off: string[];
}

const LONG = 60_000;
const SEQUENCES: Record<string, Sequence[]> = {
  coffin_jumper: [
    {
      config: { jump_ms: LONG, targets: [{ ids: ["fogger", "grave_shaker"], action: "start", ms: LONG }] },
      begin: ["arm", { topic: "halloween/coffin_jumper_hw/telemetry/pir", payload: 1 }],
      state: "firing",
      off: ["coffin_jumper_hw stop", "fogger stop", "grave_shaker stop"],
    },
    { config: { max_on_ms: LONG }, begin: ["arm", `jump ${LONG}`], state: "firing", off: ["coffin_jumper_hw stop"] },
  ],
  example_prop: [{ config: { max_fire_ms: LONG }, begin: [`fire ${LONG}`], off: ["fogger stop"] }],
  fogger: [{ config: { max_on_ms: LONG }, begin: [`start ${LONG}`], state: "fogging", off: ["fogger_hw stop"] }],
  grave_shaker: [
    { config: { max_on_ms: LONG }, begin: [`shake ${LONG}`], state: "shaking", off: ["grave_shaker_hw stop"] },
  ],
  heartbeat: [{ begin: [`fire ${LONG}`], off: [] }],
  show: ["opening", "closing"].map((state) => ({
    config: {
      [state]: [
        { id: "first", action: "fire" },
        { id: "second", action: "fire", after: LONG },
      ],
      also_off: ["third"],
    },
    begin: [state === "opening" ? "open" : "close"],
    state,
    off: ["first stop", "second stop", "third stop"],
  })),
  sound_player: [
    {
      config: { player: "sh", player_args: ["-c", "exec sleep 1000"], sounds: { howl: "howl.wav" } },
      begin: ["play howl"],
      state: "playing",
      off: [],
    },
  ],
  wled_strip: [
    {
      config: { max_flash_ms: LONG },
      begin: [`flash ${LONG}`, { topic: "wled/strip/g", payload: 255 }],
      state: "on",
      off: ["wled/strip OFF"],
    },
  ],
};

/** What ends all that runs. */
const STOPS: [what: string, stop: (worker: TestWorker<BaseWorker>) => Promise<unknown>][] = [
  ["stop", (worker) => worker.call("stop")],
  ["all-stop", (worker) => worker.allStop()],
  ["a lock-out", (worker) => worker.lockOut("the hose leaks")],
];

test("each shipped worker that does something for a while is stopped in the middle of it below", () => {
  expect(Object.keys(SEQUENCES).sort()).toEqual(
    shipped()
      .map(({ id }) => id)
      .sort(),
  );
});

describe.each(shipped().map((one) => [one.id, one] as const))("%s", (id, one) => {
  const ours = (topic: string) => topic.startsWith(`halloween/${id}/`);

  test("comes up with the config that is shipped, and with none", async () => {
    for (const config of [one.config, {}]) {
      const worker = await start(one, config);
      expect(worker.messages).toContainEqual({ topic: `halloween/${id}/status/availability`, text: "online" });
      expect(worker.messages.filter(({ topic }) => /status\/(warn|error)$/.test(topic))).toEqual([]);
    }
  });

  test("describes itself: what it is, its config, and each command and telemetry key in words", async () => {
    const { description } = await start(one);
    expect(description).toMatchObject({ contract: 1, id, class: id, description: expect.stringMatching(/^[A-Z].{5}/) });
    expect(description?.config).toMatchObject({ schema: { type: "object" }, values: {} });
    for (const [action, command] of Object.entries(description?.commands ?? {})) {
      expect(command.description, action).toMatch(/^(off|[A-Z]).{3}/);
      if (command.args) expect(typeof command.args, action).toBe("object");
    }
    for (const [key, about] of Object.entries(description?.telemetry ?? {})) {
      expect(about.description ?? about.unit, key).toBeTruthy();
    }
  });

  test("its README has each of its commands", async () => {
    const { description } = await start(one);
    const readme = readFileSync(one.readme, "utf8");
    for (const action of Object.keys(description?.commands ?? {})) {
      expect(readme, action).toMatch(new RegExp(`(\\| \`|-m '(\\{"action": ")?)${action}\\b`));
    }
  });

  test("its README says which of its commands run while all-stop is engaged", async () => {
    const { description } = await start(one);
    const safe = Object.entries(description?.commands ?? {}).flatMap(([action, about]) => (about.safe ? [action] : []));
    const [, said = ""] = /^While all-stop is engaged, (.*?) runs?\b/m.exec(readFileSync(one.readme, "utf8")) ?? [];
    expect([...said.matchAll(/`(\w+)`/g)].map(([, action]) => action).sort()).toEqual([...safe, "stop"].sort());
  });

  test("answers whatever it is sent, says only what it declares, and is off after stop", {
    timeout: 60_000,
  }, async () => {
    const worker = await start(one);
    const actions = [...Object.keys(worker.description?.commands ?? {}), "no_such_action", "__proto__"];
    let count = 0;
    for (const action of actions) {
      for (const args of ODD) {
        const topic = `halloween/cli/reply/${++count}`;
        const command = { action, args, reply_to: topic };
        await worker.send(command);
        // What goes on for a while is ended: it answers too.
        await worker.send("stop");
        await worker.seen(topic);
      }
    }
    const answers = worker.messages.filter(({ topic }) => topic.startsWith("halloween/cli/reply/"));
    for (const { text } of answers) expect(JSON.parse(text)).toMatchObject({ from: id });
    await worker.publish(`halloween/${id}/cmd`, new Uint8Array([0xff, 0xfe, 0x00]));
    await worker.call("stop");
    expect(worker.messages.findLast(({ topic }) => topic === `halloween/${id}/state`)?.text ?? "").not.toMatch(ON);
    const declared = Object.keys(worker.description?.telemetry ?? {}).map((key) => `halloween/${id}/telemetry/${key}`);
    const said = worker.messages
      .map(({ topic }) => topic)
      .filter((topic) => topic.startsWith(`halloween/${id}/telemetry/`));
    expect(declared).toEqual(expect.arrayContaining([...new Set(said)]));
  });

  test.each(STOPS)("in the middle of what it does, %s leaves all of it off, and nothing follows", async (_, stop) => {
    for (const { config = {}, begin, state, off } of SEQUENCES[id] ?? []) {
      const worker = await start(one, config);
      const lastOf = (key: string) => worker.messages.findLast(({ topic }) => topic === `halloween/${id}/${key}`)?.text;
      for (const each of begin) {
        await (typeof each === "string" ? worker.send(each) : worker.publish(each.topic, each.payload));
      }
      expect(lastOf("state")).toBe(state);
      const before = { commands: worker.commands.length, messages: worker.messages.length };
      const sent = () => {
        const foreign = worker.messages.slice(before.messages).filter(({ topic }) => !topic.startsWith("halloween/"));
        const commands = worker.commands.slice(before.commands).map(({ target, action }) => `${target} ${action}`);
        return [...commands, ...foreign.map(({ topic, text }) => `${topic} ${text}`)];
      };
      await stop(worker);
      const atOnce = sent();
      expect([...new Set(atOnce)].sort()).toEqual(off);
      await worker.advance(10 * LONG);
      expect(sent()).toEqual(atOnce);
      expect(lastOf("state") ?? "").not.toMatch(ON);
      expect([lastOf("status/warn"), lastOf("status/error")]).toEqual([undefined, undefined]);
    }
  });

  test("says offline at its end, and nothing after that", async () => {
    const worker = await start(one);
    await worker.stop();
    expect(worker.messages.filter(({ topic }) => ours(topic)).at(-1)).toEqual({
      topic: `halloween/${id}/status/availability`,
      text: "offline",
    });
  });
});
