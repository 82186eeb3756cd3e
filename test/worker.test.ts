import { expect, test } from "vitest";
import { BROKER } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { type Files, workerSource } from "./harness/folder.ts";
import { type Haunt, sharedHaunt, startHaunt } from "./harness/haunt.ts";
import { startHost } from "./harness/host.ts";

const FILTERS = ["halloween/#", "elsewhere/#"];
const haunt = sharedHaunt({ filters: FILTERS });
let labs = 0;

/** Runs one more worker in the host that the tests share, with this body, beside a client that sees all. */
async function lab(body: string, props: (id: string) => Files = () => ({})) {
  const id = `lab_${++labs}`;
  const shared = await haunt();
  await shared.add({ [`${id}/backend/worker.ts`]: workerSource(body), ...props(id) });
  return { ...shared, ...speakingTo(shared, id) };
}

/** As `lab`, in a host of its own. */
async function loneLab(body: string) {
  const lone = await startHaunt({ filters: FILTERS, props: { "lab/backend/worker.ts": workerSource(body) } });
  return { ...lone, ...speakingTo(lone, "lab") };
}

function speakingTo({ client }: Haunt, id: string) {
  return {
    id,
    send: (payload: string | object) => client.command(id, payload),
    telemetry: (key: string, text?: string | RegExp) => client.expect(`halloween/${id}/telemetry/${key}`, text),
    status: (key: string, text?: string | RegExp) => client.expect(`halloween/${id}/status/${key}`, text),
  };
}

test("a worker has its id, config, dir, log and signal, in field initialisers already", async () => {
  const { id, telemetry, host, send } = await lab(
    `mine = this.config.colour ?? "none";
     async start() {
       await super.start();
       this.telemetry("report", { id: this.id, mine: this.mine, dir: this.dir.split("/").slice(-2), aborted: this.signal.aborted });
       this.log.info({ extra: 7 }, "hello log");
     }
     async do_undefined_config() { this.telemetry("sum", (this.config.tick_interval ?? 5) * 1000); }`,
    (lab) => ({ [`${lab}/backend/config.json`]: '{"colour": "green"}' }),
  );
  expect(JSON.parse(await telemetry("report"))).toEqual({
    id,
    mine: "green",
    dir: [id, "backend"],
    aborted: false,
  });
  expect(await host.logged("hello log")).toMatchObject({ worker: id, extra: 7 });
  await send("undefined_config");
  await telemetry("sum", "5000");
});

test("console in a worker writes to the log, as that worker's", async () => {
  const { id, host, send } = await lab(
    `async start() { console.log("from %s", "start", { a: 1 }); }
     do_shout() { console.error("aloud"); }`,
  );
  expect(await host.logged("from start { a: 1 }")).toMatchObject({ worker: id, level: 30 });
  await send("shout");
  expect(await host.logged("aloud")).toMatchObject({ worker: id, level: 50 });
});

test("payloads: text as it is, numbers and booleans as text, objects as JSON, bytes as bytes", async () => {
  const { telemetry, status } = await lab(
    `async start() {
       const values = { text: "a b", number: 1.5, yes: true, none: null, missing: undefined, object: { a: [1] },
         bytes: new Uint8Array([104, 105]), date: new Date(0), big: 12n };
       for (const [key, value] of Object.entries(values)) this.telemetry("value/" + key, value);
       for (const bad of [() => {}, Symbol("s"), (() => { const a: any = {}; a.a = a; return a; })()]) {
         try { this.telemetry("bad", bad); } catch (error) { this.status("refused", (error as Error).message); }
       }
       for (const key of ["", "a+b", "a//b", "#", "a\\0"]) {
         try { this.telemetry(key, 1); } catch (error) { this.telemetry("bad_key", (error as { code: string }).code); }
       }
     }`,
  );
  const expected = {
    text: "a b",
    number: "1.5",
    yes: "true",
    none: "null",
    missing: "null",
    object: '{"a":[1]}',
    bytes: "hi",
    date: "1970-01-01T00:00:00.000Z",
    big: "12",
  };
  for (const [key, text] of Object.entries(expected)) expect(await telemetry(`value/${key}`)).toBe(text);
  await status("refused", /a function can't be published/);
  await status("refused", /a symbol can't be published/);
  await status("refused", /^an object can't be published: .*circular/);
  expect(await telemetry("bad_key")).toBe("invalid_topic");
});

test("telemetry and status aren't retained unless asked; state and availability are", async () => {
  const { id, client, telemetry, status, broker } = await lab(
    `async start() {
       this.telemetry("plain", 1);
       this.telemetry("kept", 2, { retain: true, qos: 1 });
       this.status("note", "passing");
       this.state = "armed";
       this.telemetry("state_is", this.state);
       for (const bad of ["", "two words"]) { try { this.state = bad; } catch (error) { this.status("refused", (error as Error).message); } }
       try { this.status("runstate", "mine"); } catch (error) { this.status("refused", (error as Error).message); }
     }`,
  );
  await telemetry("plain", "1");
  await status("note", "passing");
  await telemetry("state_is", "armed");
  await status("refused", /state "two words": expected one word, such as "armed"/);
  await status("refused", /status "runstate" is the host's word/);
  await client.expect(`halloween/${id}/status/availability`, "online");

  const late = await TestClient.connect(broker.url, [`halloween/${id}/#`]);
  await late.expect(`halloween/${id}/state`, "armed");
  await late.expect(`halloween/${id}/telemetry/kept`, "2");
  await late.expect(`halloween/${id}/status/availability`, "online");
  await late.expect(`halloween/${id}/status/runstate`, /"running"/);
  await late.barrier();
  const retained = late.seen.all
    .filter(({ retain }) => retain)
    .map(({ topic }) => topic.replace(`halloween/${id}/`, ""));
  expect(retained.sort()).toEqual(["description", "state", "status/availability", "status/runstate", "telemetry/kept"]);
});

test("spawn: starts at once with this bound; its error goes to status/error and ends nothing; it can be cancelled", async () => {
  const { telemetry, status, send } = await lab(
    `async start() {
       this.spawn(this.ticker);
       this.telemetry("after_spawn", this.ticked);
       this.spawn(this.breaks);
       this.spawn(Promise.reject(new RangeError("promised")));
       this.spawn(Promise.resolve(1));
     }
     ticked = "no";
     async ticker() { this.ticked = "yes"; for (;;) { this.telemetry("tick", 1); await this.sleep(20); } }
     async breaks() { await this.sleep(1); throw new TypeError("broken task"); }
     async do_cancel() {
       const task = this.spawn(async () => {
         try { await this.sleep(60_000); } catch (error) { this.telemetry("cancelled", (error as Error).name); throw error; }
       });
       task.cancel();
       await task.done;
       this.telemetry("done", 1);
     }`,
  );
  await telemetry("after_spawn", "yes");
  expect([await status("error"), await status("error")].sort()).toEqual([
    "a spawned task: RangeError: promised",
    "breaks: TypeError: broken task",
  ]);
  await send("cancel");
  await telemetry("cancelled", "AbortError");
  await telemetry("done", "1");
  await status("availability", "online");
});

test("every: calls on while an error in it is told, and never overlaps itself", async () => {
  const { telemetry, status } = await lab(
    `calls = 0; running = 0;
     async start() {
       this.every(5, async () => {
         this.running++;
         if (this.running > 1) this.status("error", "overlap");
         await this.sleep(15);
         this.running--;
         if (++this.calls === 2) throw new Error("second call");
         if (this.calls === 4) this.telemetry("calls", this.calls);
       });
     }`,
  );
  await status("error", /every: Error: second call/);
  await telemetry("calls", "4");
});

test("every, sleep and hold refuse what is no number of ms", async () => {
  const { status } = await lab(
    `async start() {
       const tries: (() => unknown)[] = [() => this.sleep(NaN), () => this.sleep(this.config.interval * 1000), () => this.every(-1, () => {}), () => this.hold("5 seconds" as never, () => {}, () => {})];
       for (const attempt of tries) { try { await attempt(); } catch (error) { this.status("refused", (error as Error).message); } }
     }`,
  );
  await status("refused", 'sleep(NaN): expected a number of ms, 0 or more, or a text such as "5s" or "2min"');
  await status("refused", 'every(-1): expected a number of ms, 0 or more, or a text such as "5s" or "2min"');
  await status("refused", 'hold(5 seconds): expected a number of ms, 0 or more, or a text such as "5s" or "2min"');
});

test("hold turns off at its end, when on throws, and when stop comes", async () => {
  const { id, telemetry, send, client, status } = await lab(
    `do_fire(ms?: string) { return this.hold(Number(ms), () => this.telemetry("event", "on"), () => this.telemetry("event", "off")); }
     do_broken() { return this.hold(1000, () => { throw new Error("valve stuck"); }, () => this.telemetry("event", "safe")); }
     do_stop() { this.telemetry("event", "do_stop"); }`,
  );
  await send("fire 30");
  await telemetry("event", "off");
  expect(client.texts(`halloween/${id}/telemetry/event`)).toEqual(["on", "off"]);
  await send("broken");
  await telemetry("event", "safe");
  await status("error", "broken: Error: valve stuck");

  await send("fire 60000");
  await send("stop");
  await client.expect(`halloween/${id}/telemetry/event`, "do_stop");
  expect(client.texts(`halloween/${id}/telemetry/event`).slice(3)).toEqual(["on", "off", "do_stop"]);
});

test("broadcast/cmd stop reaches every worker, and nothing else on it does", async () => {
  const worker = workerSource(
    "do_stop() { this.telemetry('event', 'stopped'); }\n do_ping() { this.telemetry('event', 'pinged'); }",
  );
  const { client } = await lab("", () => ({ "one/backend/worker.ts": worker, "two/backend/worker.ts": worker }));
  await client.publish("halloween/broadcast/cmd", "ping");
  await client.publish("halloween/broadcast/cmd", "{stop");
  await client.expect(
    "halloween/worker_host/status/warn",
    /^halloween\/broadcast\/cmd: command refused: it starts with/,
  );
  await client.publish("halloween/broadcast/cmd", "stop");
  for (const id of ["one", "two"]) {
    await client.expect(`halloween/${id}/telemetry/event`, "stopped");
    expect(client.texts(`halloween/${id}/telemetry/event`)).toEqual(["stopped"]);
  }
});

test("command and broadcast send JSON with action, args and a fresh id", async () => {
  const { client, send, telemetry, status } = await lab(
    `async do_tell() {
       this.telemetry("taken", await this.command("fogger", "start", 750));
       await this.command("fogger", "stop");
       await this.broadcast(new Set(["a", "b"]), "shake", { level: 3 }, { qos: 0 });
       await this.broadcast("solo", "jump");
     }
     async do_bad() {
       for (const attempt of [() => this.command("no/such", "x"), () => this.command("ok", "two words"), () => this.broadcast(["ok", "not ok"], "x")]) {
         try { attempt(); } catch (error) { this.status("refused", (error as Error).message); }
       }
     }`,
  );
  await send("tell");
  await telemetry("taken", "true");
  await client.expect("halloween/solo/cmd");
  const sent = (id: string) => client.texts(`halloween/${id}/cmd`).map((text) => JSON.parse(text) as { id: string });
  expect(sent("fogger")).toMatchObject([
    { action: "start", args: 750 },
    { action: "stop", args: null },
  ]);
  expect(sent("a")).toMatchObject([{ action: "shake", args: { level: 3 } }]);
  expect(sent("b")).toMatchObject([{ action: "shake", args: { level: 3 } }]);
  expect(sent("solo")).toMatchObject([{ action: "jump", args: null }]);
  const ids = ["fogger", "a", "b", "solo"].flatMap((id) => sent(id).map((command) => command.id));
  expect(new Set(ids).size).toBe(5);

  await send("bad");
  await status("refused", /"no\/such" is no prop's id: expected letters/);
  await status("refused", /action "two words": expected one word/);
  await status("refused", /"not ok" is no prop's id/);
  expect(client.texts("halloween/ok/cmd")).toEqual([]);
});

test("publish and subscribe speak to devices that aren't ours", async () => {
  const { id, client, telemetry, status, send } = await lab(
    `off?: () => void;
     async start() {
       this.off = await this.subscribe("elsewhere/+/power", ({ topic, text, retain, at }) => {
         if (text === "BAD") throw new Error("odd message");
         this.telemetry("heard", { topic, text, retain, at });
       });
       this.telemetry("taken", await this.publish("elsewhere/lamp/set", { on: true }, { retain: true, qos: 1 }));
       for (const attempt of [() => this.subscribe("a#", () => {}), () => this.publish("a/+", 1), () => this.publish("halloween/x/cmd", "fire", { retain: true })]) {
         try { attempt(); } catch (error) { this.status("refused", (error as Error).message); }
       }
     }
     do_deaf() { this.off?.(); this.telemetry("deaf", 1); }`,
  );
  await telemetry("taken", "true");
  expect(await client.expect("elsewhere/lamp/set")).toBe('{"on":true}');
  await status("refused", /can't subscribe to "a#": "\+" stands for a whole level/);
  await status("refused", /can't publish to "a\/\+": "\+" and "#" are for subscriptions only/);
  await status("refused", /a command is never retained \(halloween\/x\/cmd\)/);
  await status("availability", "online");
  const before = Date.now();
  await client.publish("elsewhere/lamp/power", "ON");
  const { at, ...heard } = JSON.parse(await telemetry("heard"));
  expect(heard).toEqual({ topic: "elsewhere/lamp/power", text: "ON", retain: false });
  expect(at).toBeGreaterThanOrEqual(before);
  expect(at).toBeLessThanOrEqual(Date.now());
  await client.publish("elsewhere/lamp/power", "BAD");
  await status("error", "the subscription to elsewhere/+/power: Error: odd message");
  await send("deaf");
  await telemetry("deaf");
  await client.publish("elsewhere/lamp/power", "OFF");
  await client.barrier();
  expect(client.texts(`halloween/${id}/telemetry/heard`)).toHaveLength(1);
});

test("a worker that listens to its own commands too runs each once", async () => {
  const { id, client, send, telemetry } = await lab(
    `n = 0;
     async start() {
       await this.subscribe("halloween/#", ({ topic, text }) => { if (topic.endsWith("/cmd")) this.telemetry("overheard", text); });
       await this.subscribe("halloween/+/cmd", () => {});
     }
     do_count() { this.telemetry("count", ++this.n); }`,
  );
  for (let i = 0; i < 5; i++) await send("count");
  await telemetry("overheard", "count");
  await telemetry("count", "5");
  await send("unknown");
  await client.expect(`halloween/${id}/status/warn`, /unknown action "unknown"/);
  expect(client.texts(`halloween/${id}/telemetry/count`)).toEqual(["1", "2", "3", "4", "5"]);
});

test("do_ methods may be sync, async, inherited or fields; onCommand gets the rest", async () => {
  const { telemetry, send } = await lab(
    `do_sync() { this.telemetry("ran", "sync"); }
     async do_async() { this.telemetry("ran", "async"); }
     do_field = (args: unknown) => this.telemetry("ran", "field " + args);
     override onCommand(action: string, args: unknown, command: { id?: string }) { this.telemetry("rest", { action, args, id: command.id }); }`,
  );
  for (const action of ["sync", "async", "field x"]) {
    await send(action);
    await telemetry("ran", action);
  }
  await send({ action: "constructor", args: [1], id: "c1" });
  expect(JSON.parse(await telemetry("rest"))).toEqual({ action: "constructor", args: [1], id: "c1" });
});

test("commands start in the order of arrival and run side by side; a slow one delays neither its own nor another's", async () => {
  const worker = workerSource("do_ping() { this.telemetry('pong', 1); }");
  const { client, send, telemetry } = await lab(
    `order: string[] = [];
     async do_step(n: string) { this.order.push(n); if (n === "0") await this.sleep(60_000); if (n === "49") this.telemetry("order", this.order); }`,
    () => ({ "other/backend/worker.ts": worker }),
  );
  for (let i = 0; i < 50; i++) await send(`step ${i}`);
  await client.command("other", "ping");
  await client.expect("halloween/other/telemetry/pong");
  expect(JSON.parse(await telemetry("order"))).toEqual(Array.from({ length: 50 }, (_, i) => String(i)));
});

test("refusals: retained, empty, broken JSON, no action, unknown, expired, too long, not UTF-8", async () => {
  const { client, host, broker } = await loneLab(
    "do_fire() { this.telemetry('fired', 1); }\n do_ping() { this.telemetry('pong', 1); }",
  );
  const warning = async (payload: string | Buffer, says: RegExp) => {
    await client.publish("halloween/lab/cmd", payload);
    expect(await client.expect("halloween/lab/status/warn")).toMatch(says);
  };
  await warning("", /^empty command refused: send an action, such as "ping"$/);
  await warning("  \n", /^empty command refused/);
  await warning(
    "{action: fire}",
    /^command refused: it starts with "\{" but is not JSON .*in a shell, put it in single quotes$/,
  );
  await warning('{"args": 1}', /no "action" in it; write \{"action": "ping"\}/);
  await warning('{"action": 5}', /"action" is 5; expected one word/);
  await warning('{"action": "fire", "id": 7}', /"id" is 7; expected a text/);
  await warning("toString", /^unknown action "toString"; known: fire, ping, stop$/);
  await warning("__proto__", /^unknown action "__proto__"/);
  await warning('{"action": "fire", "expires_at": 1000}', /^"fire" refused: it expired \d+ ms ago$/);
  await warning(Buffer.alloc(70_000, 120), /^command of 70000 bytes refused: a command has at most 65536$/);
  await warning(Buffer.from([0x66, 0xff, 0xfe]), /its bytes are not UTF-8/);
  expect(client.texts("halloween/lab/telemetry/fired")).toEqual([]);

  await host.stop();
  await client.publish("halloween/lab/cmd", "fire", { retain: true });
  await client.publish("halloween/broadcast/cmd", "stop", { retain: true });
  const again = await startHost({
    broker,
    props: { "lab/backend/worker.ts": workerSource("do_fire() { this.telemetry('fired', 1); }") },
  });
  await client.expect(
    "halloween/lab/status/warn",
    /^retained command refused: "fire"; publish commands without the retain flag$/,
  );
  await client.expect(
    "halloween/worker_host/status/warn",
    /^retained command on halloween\/broadcast\/cmd refused and cleared/,
  );
  await client.command("lab", "fire");
  await client.expect("halloween/lab/telemetry/fired");
  expect(client.texts("halloween/lab/telemetry/fired")).toHaveLength(1);
  expect(client.texts("halloween/lab/status/warn").filter((text) => text.startsWith("retained"))).toHaveLength(1);
  expect(client.texts("halloween/lab/status/warn").filter((text) => text.startsWith("empty"))).toHaveLength(2);
  await again.stop();

  const late = await TestClient.connect(broker.url, ["halloween/#"]);
  await late.expect("halloween/lab/status/availability", "offline");
  await late.barrier();
  expect(late.seen.all.filter(({ topic }) => topic.endsWith("/cmd"))).toEqual([]);
});

test.runIf(BROKER === "mosquitto")(
  "with MQTT 5 a command with the retain flag is refused while live, too",
  async () => {
    const { id, client, broker } = await lab(
      "do_fire() { this.telemetry('fired', 1); }\n do_stop() { this.telemetry('fired', 0); }",
    );
    await client.publish(`halloween/${id}/cmd`, "fire", { retain: true });
    await client.expect(`halloween/${id}/status/warn`, /^retained command refused: "fire"/);
    await client.expect(`halloween/${id}/cmd`, "");
    await client.publish(`halloween/${id}/cmd`, "stop", { retain: true });
    await client.expect(`halloween/${id}/telemetry/fired`, "0");
    expect(client.texts(`halloween/${id}/telemetry/fired`)).toEqual(["0"]);
    const late = await TestClient.connect(broker.url, [`halloween/${id}/#`]);
    await late.expect(`halloween/${id}/status/availability`, "online");
    await late.barrier();
    expect(late.texts(`halloween/${id}/cmd`)).toEqual([]);
  },
);

test("a stop is obeyed however late it is", async () => {
  const { send, telemetry } = await lab("do_stop() { this.telemetry('stopped', 1); }");
  await send({ action: "stop", expires_at: 1000 });
  await telemetry("stopped", "1");
});

test("what is left behind un-awaited when a command is stopped is no error", async () => {
  const { id, client, send, telemetry } = await lab(
    `do_go() { void this.hold(60_000, () => this.telemetry("event", "on"), () => this.telemetry("event", "off")); }
     do_stop() { this.telemetry("event", "stopped"); }
     do_ping() { this.telemetry("pong", 1); }`,
  );
  await send("go");
  await telemetry("event", "on");
  await send("stop");
  await telemetry("event", "off");
  await send("ping");
  await telemetry("pong");
  expect(client.texts(`halloween/${id}/status/error`)).toEqual([]);
});

test("an error in a command goes to status/error with the action, its stack to the log, and nothing ends", async () => {
  const { send, status, host, telemetry } = await lab(
    `do_boom() { (undefined as unknown as { x(): void }).x(); }
     async do_later() { await this.sleep(1); throw new RangeError("too far"); }
     do_odd() { throw { code: 7 }; }
     do_ping() { this.telemetry("pong", 1); }`,
  );
  await send("boom");
  await status("error", /^boom: TypeError: Cannot read properties of undefined/);
  await send("later");
  await status("error", "later: RangeError: too far");
  await send("odd");
  await status("error", /^odd: thrown: /);
  expect((await host.logged("later: RangeError: too far")).err).toMatchObject({
    type: "RangeError",
    message: "too far",
  });
  await send("ping");
  await telemetry("pong", "1");
});

test("an error that nobody caught harms nobody and is told as its worker's", async () => {
  const { send, status, telemetry } = await lab(
    `do_stray() { setTimeout(() => { throw new Error("stray timer"); }, 1); }
     do_reject() { Promise.reject(new Error("stray promise")); }
     do_ping() { this.telemetry("pong", 1); }`,
  );
  await send("stray");
  await status("error", /nobody caught: Error: stray timer/);
  await send("reject");
  await status("error", /nobody caught: Error: stray promise/);
  await send("ping");
  await telemetry("pong", "1");
});

test("at a stop: hold's off, do_stop, stop(); tasks are cancelled; then offline, and nothing after it", async () => {
  const { client, host, send } = await loneLab(
    `async start() { this.spawn(this.ticker); this.every(20, () => {}); await this.subscribe("elsewhere/#", () => {}); }
     async ticker() { for (;;) { try { await this.sleep(10); } catch (error) { this.telemetry("event", "ticker " + (error as Error).name); } } }
     do_fire() { return this.hold(60_000, () => this.telemetry("event", "on"), async () => { this.telemetry("event", "off 1"); await this.sleep(10); this.telemetry("event", "off 2"); }); }
     async do_stop() { await this.sleep(30); this.telemetry("event", "do_stop"); }
     override async stop() { await this.sleep(10); this.telemetry("event", "stop()"); await super.stop(); }`,
  );
  await send("fire");
  await client.expect("halloween/lab/telemetry/event", "on");
  expect(await host.stop()).toEqual({ code: 0, signal: null });
  await client.expect("halloween/lab/status/runstate", /"stopped"/);
  const events = client.texts("halloween/lab/telemetry/event");
  expect(events[0]).toBe("on");
  expect(events.slice(1, 3).sort()).toEqual(["off 1", "ticker AbortError"]);
  expect(events.slice(3)).toEqual(["off 2", "do_stop", "stop()"]);
  const topics = client.seen.all.map(({ topic, text }) => `${topic.replace("halloween/", "")} ${text.slice(0, 30)}`);
  const offline = topics.lastIndexOf("lab/status/availability offline");
  expect(topics.slice(offline + 1).filter((line) => line.startsWith("lab/telemetry"))).toEqual([]);
  expect(client.texts("halloween/lab/status/runstate").map((text) => JSON.parse(text).state)).toEqual([
    "starting",
    "running",
    "stopping",
    "stopped",
  ]);
  await client.expect("halloween/worker_host/status/availability", "offline");
  await client.expect("halloween/worker_host/status/runstate", /"stopped"/);
});

test("a do_stop that never ends is left behind in its time", async () => {
  const body = "static stopTimeoutMs = 1000; async do_stop() { await new Promise(() => {}); }";
  const { client, host, status } = await loneLab(body);
  expect((await host.stop("SIGTERM")).code).toBe(0);
  await status("warn", "do_stop has not ended in 1 s: left behind");
  await client.expect("halloween/lab/status/availability", "offline");
});
