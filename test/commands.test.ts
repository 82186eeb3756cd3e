import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import type { Reply } from "../worker-host/contract/command.ts";
import { BROKER } from "./harness/broker.ts";
import { type Files, workerSource } from "./harness/folder.ts";
import { type Haunt, sharedHaunt, startHaunt } from "./harness/haunt.ts";
import { runCli } from "./harness/host.ts";

const HEAD = 'import { command, z } from "worker-host";';

const haunt = sharedHaunt();
let labs = 0;

/** Runs one more worker in the host that the tests share, with this body, beside a client that sees all. */
async function lab(body: string) {
  const id = `lab_${++labs}`;
  const shared = await haunt();
  await shared.add({ [`${id}/backend/worker.ts`]: workerSource(body, HEAD) });
  return { ...shared, ...speakingTo(shared, id) };
}

/** As `lab`, in a host of its own. */
async function loneLab(body: string, props: Files = {}, filters = ["halloween/#"]) {
  const lone = await startHaunt({ filters, props: { "lab/backend/worker.ts": workerSource(body, HEAD), ...props } });
  return { ...lone, ...speakingTo(lone, "lab") };
}

function speakingTo({ client }: Haunt, id: string) {
  let count = 0;
  return {
    id,
    send: (payload: string | object) => client.command(id, payload),
    telemetry: (key: string, text?: string | RegExp) => client.expect(`halloween/${id}/telemetry/${key}`, text),
    /** Sends a command and gives its reply. */
    ask: async (action: string, args?: unknown): Promise<Reply> => {
      const topic = `halloween/cli/reply/${id}_${++count}`;
      await client.command(id, { action, args, id: `id-${count}`, reply_to: topic });
      return JSON.parse(await client.expect(topic)) as Reply;
    },
  };
}

test("text is read as the schema of the args expects it; JSON is taken as sent", async () => {
  const { id, client, send } = await lab(
    `@command({ args: z.number().int().min(0).max(5000).default(500) }) do_fire(ms: number) { this.telemetry("got", { ms }); }
     @command({ args: z.boolean() }) do_set(on: boolean) { this.telemetry("got", { on }); }
     @command({ args: z.object({ x: z.number(), y: z.number().optional(), name: z.string().default("none") }) })
     do_move(to: { x: number; y?: number; name: string }) { this.telemetry("got", to); }
     @command({ args: z.array(z.number()) }) do_list(items: number[]) { this.telemetry("got", items); }
     @command({ args: z.enum(["slow", "fast"]) }) do_speed(speed: string) { this.telemetry("got", { speed }); }
     @command({ args: z.string().optional() }) do_say(text?: string) { this.telemetry("got", { text: text ?? null }); }
     do_bare(args: unknown) { this.telemetry("got", { args: args ?? null }); }`,
  );
  const cases: [string | object, unknown][] = [
    ["fire 750", { ms: 750 }],
    ["fire", { ms: 500 }],
    [{ action: "fire", args: 20 }, { ms: 20 }],
    ["set on", { on: true }],
    ["set OFF", { on: false }],
    ["set 0", { on: false }],
    ["move x=1 y=-2.5", { x: 1, y: -2.5, name: "none" }],
    ['move x=1 name="the big one"', { x: 1, name: "the big one" }],
    ['move {"x": 3, "name": "b"}', { x: 3, name: "b" }],
    ["list 1 2 3", [1, 2, 3]],
    ["list [4, 5]", [4, 5]],
    ["speed fast", { speed: "fast" }],
    ["say 750", { text: "750" }],
    ["say", { text: null }],
    ["bare 750", { args: "750" }],
    [{ action: "bare", args: { deep: [1] } }, { args: { deep: [1] } }],
  ];
  for (const [payload, expected] of cases) {
    await send(payload);
    expect(JSON.parse(await client.expect(`halloween/${id}/telemetry/got`)), JSON.stringify(payload)).toEqual(expected);
  }
});

test("args that the schema refuses: the handler isn't called, and every fault is named", async () => {
  const { id, client, send, ask } = await lab(
    `@command({ args: z.number().max(5000) }) do_fire(ms: number) { this.telemetry("got", ms); }
     @command({ args: z.object({ x: z.number(), pin: z.string().meta({ secret: true }) }) }) do_move(to: { x: number; pin: string }) { this.telemetry("got", to); }`,
  );
  const refused = async (payload: string | object, says: RegExp) => {
    await send(payload);
    expect(await client.expect(`halloween/${id}/status/warn`)).toMatch(says);
  };
  await refused("fire soon", /^fire refused: expected number, got "soon"$/);
  await refused({ action: "fire", args: "750" }, /^fire refused: expected number, got "750"$/);
  await refused("fire 9000", /^fire refused: .*<=5000.*, got 9000$/);
  await refused("fire", /^fire refused: expected number, got nothing$/);
  await refused("move x=a pin=1", /^move refused: x: expected number, got "a"$/);
  await refused(
    { action: "move", args: { pin: 4711 } },
    /x: expected number, got nothing; pin: expected string, got something else$/,
  );
  await refused('move {"x": 1', /^move refused: the arguments are not JSON .*in single quotes$/);
  expect(await ask("fire", "soon")).toMatchObject({
    id: "id-1",
    status: "error",
    refused: true,
    error: 'fire refused: expected number, got "soon"',
  });
  expect(client.texts(`halloween/${id}/telemetry/got`)).toEqual([]);
});

test("what a handler returns or throws goes to the reply topic", async () => {
  const { id, ask, client } = await lab(
    `do_add({ a, b }: { a: number; b: number }) { return a + b; }
     async do_nothing() { await this.sleep(1); }
     do_boom() { throw new RangeError("too far"); }
     do_odd() { const a: Record<string, unknown> = {}; a.a = a; return a; }`,
  );
  expect(await ask("add", { a: 1, b: 2 })).toEqual({
    id: "id-1",
    from: id,
    status: "ok",
    result: 3,
    ms: expect.any(Number),
  });
  expect(await ask("nothing")).toEqual({ id: "id-2", from: id, status: "ok", ms: expect.any(Number) });
  expect(await ask("boom")).toMatchObject({ id: "id-3", status: "error", error: "RangeError: too far" });
  expect(await ask("odd")).toMatchObject({ status: "error", error: expect.stringMatching(/^its result is not JSON/) });
  expect(await ask("stop")).toMatchObject({ status: "ok" });
  expect(await ask("dance")).toMatchObject({
    status: "error",
    refused: true,
    error: expect.stringMatching(/^unknown action "dance"/),
  });
  await client.expect(`halloween/${id}/status/error`, "boom: RangeError: too far");
});

test("a reply to what is no reply topic is refused, and so is its command: it would speak with the worker's rights", async () => {
  const { id, client, send } = await lab("do_ping() { this.telemetry('pong', 1); }");
  const topics = ["halloween/other/cmd", "other/cli/reply/1", "halloween/+/reply/1", "halloween/a/b/reply/1"];
  for (const reply_to of topics) {
    await send({ action: "ping", reply_to });
    const warned = await client.expect(`halloween/${id}/status/warn`);
    expect(warned, reply_to).toMatch(/^"ping" refused: a reply can't go to .*expected halloween\/<id>\/reply\/<name>$/);
    expect(warned).toContain(reply_to);
  }
  await send("ping");
  await client.expect(`halloween/${id}/telemetry/pong`);
  await client.barrier();
  expect(client.texts(`halloween/${id}/telemetry/pong`)).toHaveLength(1);
  expect(client.texts("halloween/other/cmd")).toEqual([]);
});

test.runIf(BROKER === "mosquitto")("mosquitto_rr gets a reply by MQTT 5's response topic", async () => {
  const { id, broker } = await lab("do_ping(text?: string) { return 'pong ' + text; }");
  const args = [
    "-p",
    String(broker.port),
    "-V",
    "5",
    "-t",
    `halloween/${id}/cmd`,
    "-e",
    "halloween/cli/reply/1",
    "-m",
    '{"action": "ping", "args": "a"}',
  ];
  const { stdout } = await promisify(execFile)("mosquitto_rr", [...args, "-W", "10"]);
  expect(JSON.parse(stdout)).toMatchObject({ status: "ok", result: "pong a" });
});

test("modes: single refuses, restart aborts the old, queued waits its turn, max bounds them", async () => {
  const { id, client, ask, send, telemetry } = await lab(
    `async work(name: string, mark: string, ms = 200) { this.telemetry("event", name + " on " + mark); try { await this.sleep(ms); this.telemetry("event", name + " off " + mark); } catch (error) { this.telemetry("event", name + " aborted " + mark); throw error; } return mark; }
     @command({ mode: "single" }) do_single(mark: string) { return this.work("single", mark); }
     @command({ mode: "restart" }) do_restart(mark: string) { return this.work("restart", mark); }
     @command({ mode: "queued", max: 2 }) do_queued(mark: string) { return this.work("queued", mark, mark > "3" ? 60_000 : 200); }
     @command({ max: 1 }) do_parallel(mark: string) { return this.work("parallel", mark); }
     do_stop() {}`,
  );
  const replies = await Promise.all([ask("single", "1"), ask("single", "2")]);
  expect(replies).toMatchObject([
    { status: "ok", result: "1" },
    { status: "error", refused: true, error: "single refused: busy: it is still running" },
  ]);
  expect(await Promise.all([ask("restart", "1"), ask("restart", "2")])).toMatchObject([
    { status: "error", error: "aborted: restarted" },
    { status: "ok", result: "2" },
  ]);
  expect(await Promise.all([ask("queued", "1"), ask("queued", "2"), ask("queued", "3")])).toMatchObject([
    { status: "ok", result: "1" },
    { status: "ok", result: "2" },
    { status: "error", error: "queued refused: busy: 2 of them run or wait, and 2 may" },
  ]);
  expect(client.texts(`halloween/${id}/telemetry/event`).filter((text) => text.startsWith("queued"))).toEqual([
    "queued on 1",
    "queued off 1",
    "queued on 2",
    "queued off 2",
  ]);
  expect(await Promise.all([ask("parallel", "1"), ask("parallel", "2")])).toMatchObject([
    { status: "ok" },
    { refused: true },
  ]);

  const aborted = Promise.all([ask("queued", "4"), ask("queued", "5")]);
  await telemetry("event", "queued on 4");
  await send("stop");
  expect(await aborted).toMatchObject([{ error: "aborted: stopped" }, { error: "aborted: stopped" }]);
  expect(client.texts(`halloween/${id}/telemetry/event`)).not.toContain("queued on 5");
  expect(await ask("single", "3")).toMatchObject({ status: "ok" });
  expect(client.texts(`halloween/${id}/status/error`)).toEqual([]);
});

test("a single command that outlives its abort does not stay busy for ever", async () => {
  // It swallows whatever ends its sleep, as a careless loop does.
  const { ask, client, send, telemetry } = await loneLab(
    `@command({ mode: "single" }) async do_loop() { this.telemetry("loop", 1); for (;;) { await this.sleep(10_000).catch(() => {}); } }`,
  );
  await send("loop");
  await telemetry("loop", "1");
  expect(await ask("stop")).toMatchObject({ status: "ok" });
  await send("loop");
  await client.expect("halloween/lab/telemetry/loop", "1");
});

test("timeoutMs aborts the command: its signal, its sleeps and its holds", async () => {
  const { ask, telemetry } = await lab(
    `@command({ timeoutMs: 50 }) async do_slow(_: unknown, command: { signal: AbortSignal }) {
       command.signal.addEventListener("abort", () => this.telemetry("event", "signal"));
       await this.hold(60_000, () => {}, () => this.telemetry("event", "off"));
     }`,
  );
  expect(await ask("slow")).toMatchObject({ status: "error", error: "aborted: it took longer than 50 ms" });
  expect([await telemetry("event"), await telemetry("event")].sort()).toEqual(["off", "signal"]);
});

test("broadcast: a command that is marked so is accepted from the topic of all props", async () => {
  const { id, client } = await lab(
    "@command({ broadcast: true }) do_lights(on: string) { this.telemetry('lights', on); }\n do_ping() { this.telemetry('pong', 1); }",
  );
  await client.publish("halloween/broadcast/cmd", "ping");
  await client.publish("halloween/broadcast/cmd", "lights off");
  await client.expect(`halloween/${id}/telemetry/lights`, "off");
  expect(client.texts(`halloween/${id}/telemetry/pong`)).toEqual([]);
});

test("call awaits a reply, and rejects by name on timeout, refusal, failure and nobody there", async () => {
  const other = workerSource(
    "do_add({ a, b }: { a: number; b: number }) { return a + b; }\n do_boom() { throw new RangeError('too far'); }\n do_never() { return new Promise(() => {}); }",
  );
  const { send, telemetry } = await loneLab(
    `async do_go() {
       this.telemetry("sum", await this.call("other", "add", { a: 1, b: 2 }));
       const attempts: [string, string][] = [["other", "boom"], ["other", "dance"], ["other", "never"], ["ghost", "add"]];
       for (const [target, action] of attempts) {
         try { await this.call(target, action, undefined, { timeoutMs: 300 }); }
         catch (error) { this.telemetry("failed", { name: (error as Error).name, code: (error as { code: string }).code, message: (error as Error).message }); }
       }
       this.telemetry("over", 1);
     }`,
    { "other/backend/worker.ts": other },
    // Whoever listened to all would be somebody to whom the broker gives the ghost's command.
    ["halloween/lab/#"],
  );
  await send("go");
  await telemetry("sum", "3");
  await telemetry("failed", /"CallError","code":"failed","message":"other boom: RangeError: too far"/);
  await telemetry("failed", /"code":"refused","message":"other dance: unknown action/);
  await telemetry("failed", /"code":"timeout","message":"other never: no reply in 300 ms"/);
  await telemetry(
    "failed",
    BROKER === "mosquitto" ? /"code":"nobody","message":"nobody takes commands for ghost/ : /"code":"timeout"/,
  );
  await telemetry("over");
});

test("a command that is stopped while it waits for a reply goes no further, whatever the reply is", async () => {
  const { id, client, send, ask, telemetry } = await lab(
    `async do_fire() {
       await this.call("sensor", "check");
       await this.command("fogger", "start");
     }
     async do_again() {
       const task = this.spawn(() => this.call("sensor", "check"));
       task.cancel();
       await task.done;
       this.telemetry("cancelled", 1);
     }
     do_ping() { this.telemetry("pong", 1); }`,
  );
  await send("fire");
  const asked = JSON.parse(await client.expect("halloween/sensor/cmd")) as { id: string; reply_to: string };
  expect(await ask("stop")).toMatchObject({ status: "ok" });
  await client.publish(asked.reply_to, JSON.stringify({ id: asked.id, status: "ok" }));
  await send("again");
  await telemetry("cancelled");
  await send("ping");
  await telemetry("pong");
  expect(client.texts("halloween/fogger/cmd")).toEqual([]);
  expect(client.texts(`halloween/${id}/status/error`)).toEqual([]);
});

test("watch, watchState and watchAvailability give parsed values, with wildcards", async () => {
  const { id, client } = await lab(
    `async start() {
       await this.watch("+", "motor/#", (value, { id, key }) => this.telemetry("saw", { value, id, key }));
       await this.watchState("fogger", (state, id) => this.telemetry("saw", { state, id }));
       await this.watchAvailability("fogger", (online, id) => this.telemetry("saw", { online, id }));
     }`,
  );
  const cases: [string, string, unknown][] = [
    ["a/telemetry/motor/left", "1.5", { value: 1.5, id: "a", key: "motor/left" }],
    ["b/telemetry/motor", "true", { value: true, id: "b", key: "motor" }],
    ["b/telemetry/motor/x", '{"rpm":[1]}', { value: { rpm: [1] }, id: "b", key: "motor/x" }],
    ["b/telemetry/motor/x", "nothing", { value: "nothing", id: "b", key: "motor/x" }],
    ["fogger/state", "armed", { state: "armed", id: "fogger" }],
    ["fogger/status/availability", "online", { online: true, id: "fogger" }],
    ["fogger/status/availability", "offline", { online: false, id: "fogger" }],
  ];
  for (const [topic, text, expected] of cases) {
    await client.publish(`halloween/${topic}`, text);
    expect(JSON.parse(await client.expect(`halloween/${id}/telemetry/saw`))).toEqual(expected);
  }
});

test("send prints the reply, and exits 0, 1 or 3", async () => {
  const { id, broker } = await lab(
    "do_add({ a, b }: { a: number; b: number }) { return a + b; }\n do_boom() { throw new Error('no'); }\n do_never() { return new Promise(() => {}); }",
  );
  const env = { MQTT_URL: broker.url };
  expect(await runCli(["send", id, "add", "--json", '{"a": 1, "b": 2}'], { env })).toMatchObject({
    code: 0,
    stdout: "3\n",
  });
  expect(await runCli(["send", id, "boom"], { env })).toMatchObject({
    code: 1,
    stderr: `${id} boom: Error: no\n`,
  });
  expect(await runCli(["send", id, "never", "--wait", "0.3"], { env })).toMatchObject({
    code: 3,
    stderr: `${id} never: no reply in 300 ms; it may still run: --wait <seconds> waits longer, --no-wait not at all\n`,
  });
  expect(await runCli(["send", id, "add", "--wait", "soon"], { env })).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--wait soon: expected seconds/),
  });
  expect(await runCli(["send", "broadcast", "stop", "--wait", "5"], { env })).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--wait: a broadcast has no reply/),
  });
});
