import fc from "fast-check";
import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { shared } from "./harness/ending.ts";
import { startHost } from "./harness/host.ts";
import { PacketType, startProxy } from "./harness/proxy.ts";
import { get, Rpc, refusal } from "./harness/rpc.ts";
import { PATIENCE_MS } from "./harness/wait.ts";

const LAB = `
import { BaseWorker, command, z } from "worker-host";
export class Worker extends BaseWorker {
  #n = 0;
  do_ping() { this.telemetry("pong", ++this.#n); return this.#n; }
  @command({ args: z.number().max(10) })
  do_set(to: number) { this.log.warn("set to " + to); return to; }
}`;

async function startConsole() {
  const broker = await startBroker();
  const host = await startHost({ broker, props: { "lab/backend/worker.ts": LAB }, builtins: "shipped", page: true });
  return { broker, host, url: await host.page() };
}

const served = shared(startConsole);

test("only its own page, by its own name, reaches it; what it serves is its own, and small", async () => {
  const { url } = await served();
  const page = await get(url);
  expect(page.headers["content-security-policy"]).toContain("default-src 'self'");
  expect(page.text).not.toMatch(/<script(?![^>]* src="\/)|\son\w+=|style=|https?:/);
  const assets = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path ?? "");
  expect(assets).toHaveLength(3);
  for (const path of assets) {
    const { code, text, headers } = await get(`${url}${path}`);
    expect(code).toBe(200);
    // The names of XML are no addresses.
    expect(text.replaceAll(/http:\/\/www\.w3\.org\/[\w/]+/g, "")).not.toMatch(/https?:\/\//);
    expect(headers["cache-control"]).toContain("immutable");
    const zipped = await get(`${url}${path}`, { "accept-encoding": "gzip" });
    expect(Number(zipped.text.length)).toBeLessThan(path.endsWith(".js") ? 60_000 : 12_000);
  }
  const foreign = { origin: "http://evil.example" };
  const rebound = { host: "evil.example" };
  const rpc = `${url.replace("http", "ws")}/rpc/`;
  for (const headers of [foreign, rebound, { origin: "null" }, { origin: url.replace(/\d+$/, "1") }]) {
    expect((await get(url, headers)).code).toBe(403);
    expect((await get(`${url}/api/all_stop`, headers, "POST")).code).toBe(403);
    expect(await refusal(rpc, headers)).toBe(403);
  }
  // Without an origin, as from a form of another page.
  for (const from of ["cross-site", "same-site"])
    expect((await get(`${url}/api/all_stop`, { "sec-fetch-site": from }, "POST")).code).toBe(403);
  expect((await get(url, { "sec-fetch-site": "cross-site" })).code).toBe(200);
  expect(await refusal(`${url.replace("http", "ws")}/other`, {})).toBe(404);
  for (const path of ["/../package.json", "/%2e%2e/index.html", "/index.html", "/constructor", "//x"])
    expect((await get(`${url}${path}`)).code, path).toBe(404);
  expect((await get(url, {}, "POST")).code).toBe(405);
  await Rpc.open(url, { origin: url });
});

test("bad input gets words, is bounded, and harms no other client", async () => {
  const { url, broker } = await served();
  const client = await TestClient.connect(broker.url);
  const [other, rpc] = [await Rpc.open(url), await Rpc.open(url)];
  await other.cmd("watch");
  await other.frames.find(({ event }) => event === "update", "the first update");
  for (const odd of ["no json", "null", "[]", "5", '"cmd"', '{"type":5}', '{"type":"other"}', "{}", "\u0000"])
    rpc.socket.send(odd);
  rpc.socket.send(Buffer.from([1, 2, 3]), { binary: true });
  rpc.socket.send('{"type":"ping"}');
  await rpc.frames.find(({ type }) => type === "pong", "the pong");
  expect(rpc.frames.all).toHaveLength(1);
  expect(await rpc.cmd("dance")).toMatchObject({
    type: "error",
    cmd: "dance",
    error: expect.stringMatching(
      /^Unknown command dance , available commands: all_clear, all_stop, configure, get_meta, /,
    ),
    tb: [],
  });
  expect((await rpc.cmd("constructor")).error).toMatch(/^Unknown command constructor /);
  const now = await rpc.now();
  const fine = { id: "lab", action: "ping", pressed_at: now };
  for (const [kwargs, words] of [
    [null, /expected object/],
    [[], /expected object/],
    [{ ...fine, id: 5 }, /^tell: id: /],
    [{ ...fine, more: 1 }, /"more"/],
    [{ ...fine, pressed_at: undefined }, /^tell: pressed_at: expected the moment of the press/],
    [{ ...fine, pressed_at: now - 8_200 }, /^8\.\d s old; press again$/],
    [{ ...fine, pressed_at: now + 60_000 }, /press again/],
    [{ ...fine, id: "../x" }, /no prop's id/],
    [{ ...fine, id: "broadcast" }, /no prop's id/],
    [{ ...fine, id: "worker_host" }, /takes no command by tell/],
    [{ ...fine, args: "x".repeat(70_000) }, /at most 65536/],
  ] as const) {
    expect((await rpc.cmd("tell", kwargs)).error).toMatch(words);
  }
  await client.barrier();
  expect(client.texts("halloween/lab/cmd")).toEqual([]);
  const deep = "[".repeat(500_000);
  rpc.socket.send(deep);
  rpc.socket.send(`${deep}${"]".repeat(500_000)}`);
  const nested = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;
  rpc.socket.send(
    `{"type":"cmd","cmd":"tell","id":"deep","kwargs":{"id":"lab","action":"ping","pressed_at":${await rpc.now()},"args":${nested}}}`,
  );
  expect(await rpc.frames.find(({ id }) => id === "deep", "the answer")).toMatchObject({ type: "error" });
  const sent = { ...fine, pressed_at: await rpc.now() };
  const first = await rpc.cmd("tell", sent, "same");
  expect(first).toMatchObject({ type: "result", cmd: "tell", id: "same", result: 1 });
  expect(await rpc.cmd("tell", sent, "same")).toEqual(first);
  const many = Array.from({ length: 30 }, async () => rpc.cmd("tell", { ...fine, pressed_at: await rpc.now() }));
  const refused = (await Promise.all(many)).filter(({ error }) => /more than 20 a second/.test(String(error)));
  expect(refused.length).toBeGreaterThan(0);
  rpc.socket.send("x".repeat(1_048_577));
  expect(await rpc.closed).toBe(1009);
  const flood = await Rpc.open(url);
  for (let i = 0; i < 300; i++) flood.socket.send('{"type":"ping"}');
  expect(await flood.closed).toBe(1008);
  expect(await other.cmd("hello")).toMatchObject({ result: { haunt: { prefix: "halloween", host: "worker_host" } } });
});

test("no frame ends in an error that nobody caught: each command is answered, and the client stays", async () => {
  const { url, host } = await served();
  const rpc = await Rpc.open(url);
  const nested = (open: string, levels: number) => open.repeat(levels) + (open === "[" ? "]" : "}").repeat(levels);
  const answer = async (frame: string) => {
    rpc.socket.send(frame);
    return rpc.frames.next(({ type }) => type === "error", `the answer to ${frame.slice(0, 80)}`);
  };
  for (const cmd of ['{"toString":1}', nested("[", 100_000), "5", "null", "[]"])
    expect(await answer(`{"type":"cmd","cmd":${cmd},"id":"1"}`)).toMatchObject({
      ...{ cmd: null, id: null, tb: [] },
      error: expect.stringMatching(/^cmd is .*; expected a text, such as "hello"$/),
    });
  for (const id of ["7", '{"toString":1}', nested("[", 100_000), `"${"x".repeat(201)}"`])
    expect(await answer(`{"type":"cmd","cmd":"hello","id":${id}}`)).toMatchObject({
      ...{ cmd: "hello", id: null },
      error: expect.stringMatching(/^id is .*; expected a text of 200 characters at most, or none$/),
    });
  expect((await answer('{"type":"cmd","id":"2"}')).error).toMatch(/^Unknown command {2}, available/);
  const deep = `{"type":"cmd","cmd":"hello","id":"3","kwargs":{"a":${nested("[", 100_000)}}}`;
  expect((await answer(deep)).error).toBe("hello: its kwargs are nested more than 100 levels deep");
  expect(
    String((await answer(`{"type":"cmd","cmd":"hello","kwargs":{"${"k".repeat(500_000)}":1}}`)).error).length,
  ).toBe(2_000);
  const random = fc.oneof(
    fc.json(),
    fc.record({ type: fc.constant("cmd"), cmd: fc.jsonValue(), id: fc.jsonValue(), kwargs: fc.jsonValue() }),
    fc.record({
      type: fc.constant("cmd"),
      cmd: fc.constantFrom("hello", "log", "tell", "__proto__", "constructor", "release"),
      id: fc.option(fc.string({ unit: "binary" })),
      kwargs: fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom("id", "lines", "__proto__"), fc.jsonValue())),
    }),
  );
  const other = await Rpc.open(url);
  for (const frame of fc.sample(random, 150))
    other.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  expect(await other.cmd("hello", {}, "the last")).toMatchObject({ type: "result" });
  expect(await rpc.cmd("hello")).toMatchObject({ type: "result" });
  expect(host.log.all.filter(({ worker, level }) => worker === "console" && level >= 40)).toEqual([]);
});

test("a prop's answer that is nested deep is an error, in words", async () => {
  const { url, broker } = await served();
  const client = await TestClient.connect(broker.url);
  const rpc = await Rpc.open(url);
  const told = rpc.cmd("tell", { id: "evil", action: "fire", pressed_at: await rpc.now() });
  const { id, reply_to } = JSON.parse(await client.expect("halloween/evil/cmd")) as Record<string, string>;
  const deep = "[".repeat(5_000) + "]".repeat(5_000);
  await client.publish(`${reply_to}`, `{"id":"${id}","from":"evil","status":"ok","result":${deep},"ms":1}`);
  expect((await told).error).toBe("evil fire: its result is nested more than 100 levels deep");
});

test("a client asks who it is, tells a prop what its schema takes, locks it out, restarts it, and reads its log", async () => {
  const { url, broker } = await served();
  const client = await TestClient.connect(broker.url);
  const rpc = await Rpc.open(url);
  const result = async (cmd: string, kwargs: object = {}) => {
    const answer = await rpc.cmd(cmd, kwargs);
    return answer.type === "error" ? answer.error : answer.result;
  };
  const act = async (cmd: string, kwargs: object) => result(cmd, { ...kwargs, pressed_at: await rpc.now() });
  const id = await result("uuid");
  expect(id).toMatch(/^[0-9a-f]{32}$/);
  expect(await result("get_meta")).toEqual({ id, version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
  expect([await result("name"), await result("get_runstate"), await result("heartbeat")]).toEqual([
    "worker_host",
    "running",
    null,
  ]);
  expect(await result("list")).toContainEqual(expect.objectContaining({ id: "lab", state: "running" }));
  const before = client.texts("halloween/lab/cmd").length;
  expect(await act("tell", { id: "lab", action: "set", args: 11 })).toBe("at most 10");
  expect(await act("tell", { id: "lab", action: "set", args: "5" })).toBe("expected number");
  expect(await act("tell", { id: "lab", action: "set" })).toBe("it needs values");
  await client.barrier();
  expect(client.texts("halloween/lab/cmd").length).toBe(before);
  expect(await act("tell", { id: "lab", action: "set", args: 5 })).toBe(5);
  await expect
    // It counts as what acts does, of which 20 a second are taken.
    .poll(() => result("log", { id: "lab", lines: 5 }), { timeout: PATIENCE_MS, interval: 500 })
    .toContainEqual(expect.stringMatching(/^\d\d:\d\d:\d\d WARN set to 5$/));
  expect(await result("log", { id: "nobody" })).toEqual([]);
  expect(await result("log", { id: "../../x" })).toMatch(/no prop's id/);
  expect(await result("log", { id: "lab", lines: 0 })).toMatch(/^log: lines: /);
  expect(await act("lock_out", { id: "lab", reason: "it leaks" })).toMatchObject({ heard: [{ id: "lab" }] });
  await client.expect("halloween/lab/status/lock_out", "it leaks");
  expect(await act("tell", { id: "lab", action: "ping" })).toMatch(/locked out/);
  expect(await act("release", { id: "lab" })).toBeNull();
  await client.expect("halloween/lab/status/lock_out", "");
  expect(await act("restart_worker", { id: "lab" })).toBeNull();
  expect(await act("tell", { id: "lab", action: "ping" })).toBe(1);
  for (const verb of ["lock_out", "stop_worker"]) expect(await act(verb, { id: "console" })).toMatch(/from a shell/);
  expect(await act("tell", { id: "console", action: "stop" })).toMatch(/takes no command by tell/);
  expect(await result("release", { id: "lab", pressed_at: 0 })).toMatch(/old; press again/);
});

test("all-stop is confirmed by socket and by POST, with the broker and without", async () => {
  const { url, broker, host } = await startConsole();
  const client = await TestClient.connect(broker.url);
  const rpc = await Rpc.open(url);
  expect(await rpc.cmd("all_stop")).toMatchObject({ type: "result" });
  await client.expect("halloween/worker_host/status/all_stop", "engaged");
  expect(JSON.parse(await client.expect("halloween/worker_host/status/all_stop_heard")).heard).toContainEqual({
    id: "lab",
    ms: expect.any(Number),
  });
  expect((await rpc.cmd("tell", { id: "lab", action: "ping", pressed_at: await rpc.now() })).error).toMatch(/all-stop/);
  expect(await rpc.cmd("all_clear", { pressed_at: await rpc.now() })).toMatchObject({ type: "result" });
  await client.expect("halloween/worker_host/status/all_stop", "clear");
  await broker.stop();
  const again = host.log.next(({ msg }) => msg === "all-stop is engaged", "the second all-stop");
  expect(await get(`${url}/api/all_stop`, { origin: url }, "POST")).toMatchObject({ code: 200 });
  await again;
  expect((await rpc.cmd("tell", { id: "lab", action: "ping", pressed_at: await rpc.now() })).error).toMatch(
    /broker is away|all-stop/,
  );
});

test("all-stop is run again whatever the id of its frame, but each press once, on whatever ways it comes", async () => {
  const { url, broker, host } = await startConsole();
  const client = await TestClient.connect(broker.url);
  const rpc = await Rpc.open(url);
  const topic = "halloween/worker_host/status/all_stop";
  await client.expect(topic, "clear");
  const clear = async () => {
    await rpc.cmd("all_clear", { pressed_at: await rpc.now() });
    await client.expect(topic, "clear");
  };
  const long = "x".repeat(201);
  for (const id of ["1", "1", long, long]) {
    expect(await rpc.cmd("all_stop", {}, id)).toMatchObject({ type: "result", id });
    await client.expect(topic, "engaged");
    await clear();
  }
  for (const press of [5, long]) {
    expect(await rpc.cmd("all_stop", { press })).toMatchObject({ type: "result" });
    await client.expect(topic, "engaged");
    await clear();
  }
  rpc.socket.send(JSON.stringify({ type: "cmd", cmd: "uuid", id: long }));
  await rpc.frames.find(({ error }) => /^id is .* 200 characters at most, or none$/.test(String(error)), "the refusal");

  const engaged = () => host.log.all.filter(({ msg }) => msg === "all-stop is engaged").length;
  const before = engaged();
  const post = (press: string) => get(`${url}/api/all_stop?press=${press}`, {}, "POST");
  expect(await rpc.cmd("all_stop", { press: "a-1" })).toMatchObject({ type: "result" });
  expect(await post("a-1")).toMatchObject({ code: 200, text: '{"engaged":true}\n' });
  await clear();
  // Held up by the browser; the console too has to hear that it was cleared.
  const again = async () => (await post("a-1")).text;
  await expect.poll(again, { timeout: PATIENCE_MS }).toBe('{"engaged":false}\n');
  expect(await rpc.cmd("all_stop", { press: "a-1" })).toMatchObject({ type: "result", result: { engaged: false } });
  expect(client.texts(topic).at(-1)).toBe("clear");
  expect(await post("a-2")).toMatchObject({ code: 200 });
  await client.expect(topic, "engaged");
  await host.logged("all-stop is engaged");
  expect(engaged() - before).toBe(2);
});

test("a press that waited on its way until it was over is refused by the prop, in words, and moves nothing", async () => {
  const broker = await startBroker();
  const proxy = await startProxy(broker.port);
  const props = { "lab/backend/worker.ts": LAB };
  const host = await startHost({ broker: { ...broker, port: proxy.port }, props, builtins: "shipped", page: true });
  const client = await TestClient.connect(broker.url);
  const rpc = await Rpc.open(await host.page());
  proxy.decide = async ({ type, towards, bytes }) => {
    const text = String(bytes);
    const [, expiresAt] = /"action":"ping".*"expires_at":(\d+)/.exec(text) ?? [];
    if (type === PacketType.PUBLISH && towards === "broker" && expiresAt !== undefined)
      await new Promise((resolve) => setTimeout(resolve, Number(expiresAt) + 1 - Date.now()));
    return "pass" as const;
  };
  const told = await rpc.cmd("tell", { id: "lab", action: "ping", pressed_at: await rpc.now() });
  expect(told).toMatchObject({ type: "error", error: expect.stringMatching(/"ping" refused: it expired \d+ ms ago$/) });
  expect(client.texts("halloween/lab/telemetry/pong")).toEqual([]);
});

test("over the embedded broker it goes on to tell what the bus says, also after its process was killed", async () => {
  const host = await startHost({ builtins: "shipped", page: true });
  const client = await TestClient.connect(await host.url());
  for (let start = 1; start <= 3; start++) {
    const { page } = JSON.parse(await client.expect("halloween/console/description")) as { page: string };
    await client.expect("halloween/console/status/availability", "online");
    const rpc = await Rpc.open(page);
    await rpc.cmd("watch");
    await client.publish("halloween/lab/telemetry/start", `now ${start}`);
    await rpc.frames.next((frame) => JSON.stringify(frame).includes(`now ${start}`), "what the bus says");
    host.killWorkers();
    await client.expect("halloween/console/status/availability", "offline");
  }
});

test("a port in use makes the console fail in words, and harms nothing else", async () => {
  const { url } = await startConsole();
  const port = new URL(url).port;
  const host = await startHost({
    builtins: "shipped",
    page: true,
    props: { "second/backend/worker.ts": LAB },
    env: { WORKER_CONSOLE_PORT: port },
  });
  const { worker, level } = await host.logged(
    new RegExp(`the port ${port} of the page at 127.0.0.1 is in use: set WORKER`),
  );
  expect({ worker, level }).toEqual({ worker: "console", level: 50 });
  // An address for documents only: no machine has it.
  const nowhere = { WORKER_CONSOLE_HOST: "203.0.113.1" };
  const third = await startHost({ builtins: "shipped", page: true, props: {}, env: nowhere });
  await third.logged(/203\.0\.113\.1 can't be opened \(EADDRNOTAVAIL\): .* WORKER_CONSOLE_HOST to an address of this/);
  expect(host.log.all.filter(({ worker: id, msg }) => id === "second" && msg === "running")).toHaveLength(1);
});
