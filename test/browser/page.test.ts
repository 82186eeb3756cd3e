import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import fc from "fast-check";
import type { Locator } from "playwright-core";
import { expect, test } from "vitest";
import { freePort } from "../../bench/ports.mjs";
import { deferred } from "../../worker-host/base/promises.ts";
import { FakeBoard } from "../harness/board.ts";
import { startBroker } from "../harness/broker.ts";
import { button, card, hold, pressDown, pressIsSent, sharedBrowser, shows } from "../harness/browser.ts";
import { TestClient } from "../harness/client.ts";
import { shared } from "../harness/ending.ts";
import { startHost, type TestHost } from "../harness/host.ts";
import { Stall } from "../harness/stall.ts";
import { PATIENCE_MS } from "../harness/wait.ts";

const JUMPER = `
import { BaseWorker, command, duration, z } from "worker-host";
export class Worker extends BaseWorker {
  static description = "A lid that jumps";
  #jumps = 0;
  async start() { await super.start(); this.state = "idle"; }
  @command({ description: "Jump", widget: { label: "Jump!" } })
  do_jump() { this.telemetry("jumps", ++this.#jumps); }
  @command({ description: "Say no" })
  do_refuse() { throw new Error("the lid is stuck"); }
  @command({ description: "Only while it is armed", requiresState: ["armed"] })
  do_scare() {}
  @command({
    description: "Move the lid",
    args: z.object({
      ms: z.number().int().min(0).max(5000).default(750).meta({ unit: "ms" }),
      mode: z.enum(["soft", "hard"]),
      after: duration().default("2s"),
    }),
  })
  do_move(how: object) { this.telemetry("moved", how); }
}`;

/** A haunt of jumpers with these ids, its page's address, and a client that sees all that is sent. */
async function startHaunt(ids: string[], env: Record<string, string> = {}) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await client.publish("halloween/before/state", "asleep", { retain: true });
  const props = Object.fromEntries(ids.map((id) => [`${id}/backend/worker.ts`, JUMPER]));
  for (const sketch of ["boarded", "lone_button"]) props[`${sketch}/firmware/firmware.ino`] = "";
  const host = await startHost({ broker, props, builtins: "shipped", page: true, env });
  return { broker, host, client, url: await host.page() };
}

const openPage = sharedBrowser();
const haunt = shared(() =>
  startHaunt(["shown", "held", "stalled", "loaded", "formed", "locked", "stopped", "beside", "boarded"]),
);

/** Has the props of a haunt move again. */
async function allClear(client: TestClient): Promise<void> {
  await client.command("worker_host", { action: "all_clear" });
  await client.expect("halloween/worker_host/status/all_stop", "clear");
}

/** How many commands of an action were sent to a prop. */
function sent(client: TestClient, id: string, action: string): number {
  return client.texts(`halloween/${id}/cmd`).filter((text) => JSON.parse(text).action === action).length;
}

test("it shows each prop with its state, and how old that is; a board that is killed is offline on glass", async () => {
  const { broker, client, url } = await haunt();
  const board = await FakeBoard.start(broker.url, "lone_board");
  const page = await openPage(`${url}/#/props`);
  const jumper = card(page, "shown");
  await shows(jumper, "idle");
  await shows(card(page, "before"), "asleep");
  await shows(card(page, "before"), /^over \d+ s$/);
  expect(await jumper.getAttribute("data-there")).toBe("online");
  await client.publish("halloween/shown/state", "armed", { retain: true });
  await shows(jumper, "armed");
  await shows(jumper, /^\d+ s$/);
  const lone = card(page, "lone_board");
  await lone.and(page.locator('[data-there="online"]')).waitFor();
  await board.die();
  await shows(lone, /OFFLINE/);
  // A worker that describes no stop has one; a tap does it.
  const stop = await button(card(page, "shown"), "stop");
  await stop.click();
  await shows(stop, "done");
  await shows(card(page, "before"), "ALL STOP can't hold it: it says nothing of itself");
});

test("a hold fires once; letting go early sends nothing, a double press is one; a refusal is told in the prop's words", async () => {
  const { client, url } = await haunt();
  const page = await openPage(`${url}/#/props`);
  const jumper = card(page, "held");
  const jump = await button(jumper, "Jump!");
  await pressDown(jump);
  await jump.and(page.locator('[data-phase="holding"]')).waitFor();
  await page.mouse.up();
  await jump.and(page.locator('[data-phase="idle"]')).waitFor();
  await jump.dblclick();
  expect(sent(client, "held", "jump")).toBe(0);
  await hold(jump);
  await client.expect("halloween/held/telemetry/jumps", "1");
  await shows(jump, "done");
  // It is held on, and let go, and touched once more at once: that was one press.
  await pressDown(jump);
  await page.mouse.up();
  const refuse = await button(jumper, "refuse");
  await hold(refuse);
  await shows(refuse, /the lid is stuck/);
  await shows(jumper.locator(".press", { hasText: "scare" }), "only while armed");
  await client.barrier();
  expect(sent(client, "held", "jump")).toBe(1);
  expect(sent(client, "held", "refuse")).toBe(1);
});

test("a press in a network that stands still is refused for its age; all-stop in it is obeyed", async () => {
  const { client, url } = await haunt();
  const stall = await Stall.before(Number(new URL(url).port));
  const page = await openPage(`http://127.0.0.1:${stall.port}/#/props`);
  const jump = await button(card(page, "stalled"), "Jump!");
  stall.stand();
  // On a busy machine the page notices before the finger is down for long enough, or right after: then that press is young.
  let earlier = 0;
  while (!(await pressIsSent(jump))) {
    stall.go();
    await button(card(page, "stalled"), "Jump!");
    await client.barrier();
    earlier = sent(client, "stalled", "jump");
    stall.stand();
  }
  await shows(page, /NO LINK [2-9] s/);
  expect(await jump.getAttribute("aria-disabled")).toBe("true");
  stall.go();
  // The latter where the machine was so slow that the page has given up that connection.
  await shows(jump, /\d\.\d s old; press again|look whether it was done/);
  stall.stand();
  await pressDown(page.locator(".stop-bar"));
  await page.mouse.up();
  await shows(page, /NOT CONFIRMED/);
  await shows(page, /NO LINK [2-9] s/);
  expect(client.texts("halloween/worker_host/status/all_stop")).not.toContain("engaged");
  stall.go();
  await client.expect("halloween/worker_host/status/all_stop", "engaged");
  await shows(page, "ENGAGED");
  expect(sent(client, "stalled", "jump")).toBe(earlier);
  await allClear(client);
});

test("load, reload, a new connection, Back and Forward send no command", async () => {
  const { client, url } = await haunt();
  const before = client.seen.all.length;
  const page = await openPage(`${url}/#/props`);
  await hold(await button(card(page, "loaded"), "Jump!"));
  await client.expect("halloween/loaded/telemetry/jumps", "1");
  await page.reload();
  await button(card(page, "loaded"), "Jump!");
  await page.goto("about:blank");
  await page.goBack({ waitUntil: "commit" });
  await button(card(page, "loaded"), "Jump!");
  await page.goForward({ waitUntil: "commit" });
  // Between the two the driver is attached to no page.
  await page.waitForFunction("location.href === 'about:blank'");
  await page.goBack({ waitUntil: "commit" });
  await button(card(page, "loaded"), "Jump!");
  // Kept aside by the browser, and shown again as it was.
  await page.evaluate("addEventListener('pageshow', (event) => { globalThis.kept = event.persisted; })");
  await page.goto(`${url}/nothing`);
  await page.goBack({ waitUntil: "commit" });
  await button(card(page, "loaded"), "Jump!");
  expect(await page.evaluate("globalThis.kept")).toBe(true);
  await page.context().setOffline(true);
  await page.context().setOffline(false);
  await button(card(page, "loaded"), "Jump!");
  await client.barrier();
  const commands = client.seen.all.slice(before).filter(({ topic }) => topic.endsWith("/cmd"));
  expect(commands.map(({ topic, text }) => [topic, JSON.parse(text).action])).toEqual([
    ["halloween/loaded/cmd", "jump"],
  ]);
});

test("a form refuses what its command does not take, and sends what it takes; what was asked of a prop is listed", async () => {
  const { client, url } = await haunt();
  const page = await openPage(`${url}/#/props`);
  await page.getByLabel("Filter by name or area").fill("form");
  await card(page, "shown").waitFor({ state: "detached" });
  await card(page, "formed").getByRole("link").click();
  const move = await button(page, "move");
  const [ms, mode] = [page.getByLabel(/^ms/), page.getByLabel("mode")];
  const fieldOf = (input: Locator) => input.locator("xpath=..");
  const after = page.getByLabel(/^after/);
  expect([await ms.inputValue(), await after.inputValue()]).toEqual(["750", "2000"]);
  await shows(fieldOf(ms), "0 to 5000 ms; 750 if left empty");
  await shows(fieldOf(after), "ms, or a time such as 5s or 2min; 2000 if left empty");
  for (const [input, text, choice, words] of [
    [ms, "1,000", "", "expected a number, such as 7 or 2.5"],
    [mode, "", "", "it is missing"],
    [ms, "5001", "hard", "at most 5000"],
    [after, "1,000", "hard", "expected ms, or a time such as 5s or 2min"],
  ] as const) {
    if (input !== mode) await input.fill(text);
    await mode.selectOption(choice && { label: choice });
    await hold(move);
    await shows(fieldOf(input).locator(".trouble"), words);
    await shows(move, words);
    if (input !== mode) await input.fill("40");
  }
  await mode.selectOption({ label: "hard" });
  await after.fill("1.5 s");
  await hold(move);
  await client.expect("halloween/formed/telemetry/moved", '{"ms":40,"mode":"hard","after":1500}');
  await shows(page, /^move \{"ms":40,"mode":"hard","after":1500\}/);
  await shows(page, /^done in \d+ ms/);
  await client.barrier();
  expect(sent(client, "formed", "move")).toBe(1);
  await page.goBack({ waitUntil: "commit" });
  await card(page, "formed").waitFor();
  expect(sent(client, "formed", "move")).toBe(1);
});

test("what is wrong is shown with its age, also a board that is missing, and goes when it is mended", async () => {
  const { broker, client, url } = await haunt();
  const page = await openPage(url);
  const wrong = page.locator(".links .trouble");
  await shows(wrong, "boarded: its board: never seen");
  await shows(wrong, "lone_button: never seen");
  const board = await FakeBoard.start(broker.url, "boarded_hw");
  await wrong.getByText("boarded: its board").waitFor({ state: "detached" });
  await board.die();
  await shows(wrong, /^boarded: its board: offline \d+ s$/);
  await client.command("boarded", { action: "refuse" });
  await shows(wrong, /^boarded: refuse: Error: the lid is stuck \d+ s$/);
  await page.getByRole("link", { name: "Props" }).click();
  await shows(card(page, "lone_button"), "NEVER SEEN: a board of this id is missing");
  await card(page, "boarded").getByRole("link", { name: "board", exact: true }).click();
  await shows(page, "boarded_hw");
  await page.getByRole("link", { name: "Show" }).click();
  await client.command("worker_host", { action: "restart_worker", args: { id: "boarded" } });
  await wrong.getByText("boarded: refuse").waitFor({ state: "detached" });
  await shows(wrong, "boarded: its board: offline");
  await FakeBoard.start(broker.url, "boarded_hw");
  await wrong.getByText("boarded: its board").waitFor({ state: "detached" });
});

test("a prop is locked out and released on its screen, and says so wherever it is shown", async () => {
  const { client, url } = await haunt();
  const page = await openPage(`${url}/#/prop/locked`);
  await page.getByLabel("why it is to be locked out").fill("the lid is loose");
  await hold(await button(page, "Lock out"));
  await client.expect("halloween/locked/status/lock_out", "the lid is loose");
  await shows(page, "LOCKED OUT: the lid is loose");
  const jump = page.locator(".press", { hasText: "Jump!" });
  await shows(jump, "locked out: the lid is loose");
  await pressDown(jump);
  await page.mouse.up();
  await page.getByRole("link", { name: "Show" }).click();
  await shows(page, /^locked: locked out: the lid is loose \d+ s$/);
  await page.goBack({ waitUntil: "commit" });
  await pressDown(await button(page, "Release"));
  await client.expect("halloween/locked/status/lock_out", "");
  await page.mouse.up();
  await button(page, "Jump!");
  expect(sent(client, "locked", "jump")).toBe(0);
});

test("all-stop fires at touch-down and says who has confirmed it; all clear has to be held for 2 s", async () => {
  const { broker, client, host, url } = await haunt();
  await FakeBoard.start(broker.url, "deaf_board", {
    description: '{"contract":1,"board":"esp32","commands":{"stop":{}}}',
    deaf: true,
  });
  const page = await openPage(`${url}/#/props`, { width: 320, height: 600 });
  const jump = await button(card(page, "stopped"), "Jump!");
  const cleared = sent(client, "worker_host", "all_clear");
  await pressDown(page.locator(".stop-bar"));
  await client.expect("halloween/worker_host/status/all_stop", "engaged");
  await page.mouse.up();
  await shows(page, /\d confirmed in \d+ ms/);
  // On a busy machine a worker may be late too.
  await shows(page.locator(".all-stop"), /stopped/);
  const missing = page.locator(".all-stop section", { hasText: "Not heard: go and look" });
  await shows(missing, /deaf_board/);
  await shows(jump, "all-stop is engaged");
  const clear = await button(page, "All clear");
  await pressDown(clear);
  await clear.and(page.locator('[data-phase="holding"]')).waitFor();
  await page.mouse.up();
  await client.barrier();
  expect(sent(client, "worker_host", "all_clear")).toBe(cleared);
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(320);
  await pressDown(clear);
  await client.expect("halloween/worker_host/status/all_stop", "clear");
  await page.mouse.up();
  await button(card(page, "stopped"), "Jump!");
  // A topic that says nothing is not "clear".
  host.signal("SIGSTOP");
  await client.publish("halloween/worker_host/status/all_stop", "", { retain: true });
  await shows(page, "Not known whether all-stop is engaged");
  await shows(jump, "not known whether all-stop is engaged");
  await shows(page.locator(".stop-bar"), "not known whether it is engaged");
  await button(page, "All clear");
  host.signal("SIGCONT");
  await button(card(page, "stopped"), "Jump!");
  // Its answer by the socket, and its POST, are held up until somebody else has cleared it.
  const held = deferred();
  await page.routeWebSocket(/rpc/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage(async (frame) => {
      if (/"type":"result".*"cmd":"all_stop"/.test(String(frame))) await held.promise;
      socket.send(frame);
    });
  });
  await page.route(/api\/all_stop/, (route) => held.promise.then(() => route.continue()));
  await page.reload();
  await button(card(page, "stopped"), "Jump!");
  await page.keyboard.press("Escape");
  await client.expect("halloween/worker_host/status/all_stop", "engaged");
  await shows(page.locator(".all-stop"), /\d confirmed in/);
  await allClear(client);
  await button(card(page, "stopped"), "Jump!");
  await shows(page, /NOT CONFIRMED/);
  const posted = page.waitForResponse(/api\/all_stop/);
  held.resolve();
  await posted;
  await page.locator('.stop-bar[data-phase="ready"]').waitFor();
  await client.barrier();
  expect(client.texts("halloween/worker_host/status/all_stop").at(-1)).toBe("clear");
});

test("console restarted, or killed, broker and host killed: the page says so, and recovers by itself", async () => {
  const { broker, host, client, url } = await startHaunt(["jumper"], {
    WORKER_CONSOLE_PORT: String(await freePort()),
  });
  const page = await openPage(`${url}/#/props`);
  const jump = await button(card(page, "jumper"), "Jump!");
  await hold(jump);
  await client.expect("halloween/jumper/telemetry/jumps", "1");
  await client.command("worker_host", { action: "stop_worker", args: { id: "console" } });
  await shows(page, /RESTARTING/);
  await shows(card(page, "jumper"), "restarting");
  await client.command("worker_host", { action: "start_worker", args: { id: "console" } });
  await button(card(page, "jumper"), "Jump!");
  process.kill(listenerOf(host, Number(new URL(url).port)), "SIGKILL");
  await shows(page, /NO LINK/);
  expect(await jump.getAttribute("aria-disabled")).toBe("true");
  await pressDown(page.locator(".stop-bar"));
  await page.mouse.up();
  await shows(page, /NOT CONFIRMED/);
  await client.expect("halloween/worker_host/status/all_stop", "engaged");
  await shows(page, "ENGAGED");
  await allClear(client);
  await button(card(page, "jumper"), "Jump!");
  await broker.stop();
  await shows(page, /BROKER AWAY/);
  await shows(card(page, "jumper").locator(".press").first(), "broker away");
  const again = host.log.next(({ msg }) => msg === "all-stop is engaged", "all-stop while the broker is away");
  await pressDown(page.locator(".stop-bar"));
  await page.mouse.up();
  await again;
  await shows(page, "ENGAGED");
  await broker.start();
  await pressDown(await button(page, "All clear"));
  await client.close();
  const after = await TestClient.connect(broker.url);
  await after.expect("halloween/worker_host/status/all_stop", "clear");
  await page.mouse.up();
  await button(card(page, "jumper"), "Jump!");
  host.signal("SIGKILL");
  await shows(page, /NO LINK/);
  await after.barrier();
  expect(sent(client, "jumper", "jump")).toBe(1);
  expect(sent(after, "jumper", "jump")).toBe(0);
});

/** The process, of those that a host has started, that listens at a port. */
function listenerOf(host: TestHost, port: number): number {
  const hex = `:${port.toString(16).toUpperCase().padStart(4, "0")} 00000000:0000 0A`;
  const line = readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .find((each) => each.includes(hex));
  const socket = `socket:[${line?.trim().split(/\s+/)[9]}]`;
  const children = readFileSync(`/proc/${host.pid}/task/${host.pid}/children`, "utf8").trim().split(" ");
  const found = children.find((pid) => {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((name) => readlinkSync(`${folder}/${name}`) === socket);
  });
  if (!found) throw new Error(`nothing listens at ${port}`);
  return Number(found);
}

test("hostile descriptions, names and payloads never become markup, and never break the page", async () => {
  const { client, url } = await haunt();
  const markup = '<img src=x onerror="globalThis.pwned=1"><script>globalThis.pwned=1</script>';
  const hostile = [
    JSON.stringify({
      contract: 1,
      name: markup,
      area: markup,
      commands: { [markup.replaceAll(/\s/g, "")]: { description: markup, widget: { label: markup } } },
    }),
    JSON.stringify({ name: 5, area: [], commands: [1, null], telemetry: "x" }),
    JSON.stringify({
      commands: { a: null, __proto__: { safe: true }, constructor: 1, hold: { requires_state: 3, widget: [] } },
    }),
    JSON.stringify({
      name: "\u202Eevil",
      area: "\u2066hall\u0007",
      description: "\u202E",
      commands: {
        fire: { description: "\u202Eerif", widget: { label: "\u202EpotS" } },
        move: { args: { title: "\u202Esm", enum: ["\u202Ea", "b"], default: "\u202Ea" } },
      },
      telemetry: { t: { unit: "\u202Es" } },
    }),
    "null",
    "{",
    "[".repeat(5_000),
    `{"name":"${"x".repeat(70_000)}"}`,
  ];
  for (const [index, text] of hostile.entries()) {
    await client.publish(`halloween/hostile_${index}/description`, text, { retain: true });
    await client.publish(`halloween/hostile_${index}/status/availability`, "online", { retain: true });
    await client.publish(`halloween/hostile_${index}/state`, markup, { retain: true });
    await client.publish(`halloween/hostile_${index}/telemetry/t`, "\u202E5");
    await client.publish(`halloween/hostile_${index}/status/error`, "\u202Eko\u0000");
    await client.publish(`halloween/hostile_${index}/telemetry/${index}<b>`, `${markup}${"y".repeat(50_000)}`);
    await client.publish(
      `halloween/hostile_${index}/status/runstate`,
      `{"state":"failed","detail":${JSON.stringify(markup)}}`,
      { retain: true },
    );
  }
  const fuzzed = fuzz(200, markup);
  await Promise.all(
    fuzzed.flatMap((text, index) =>
      Object.entries({ description: text, state: text.slice(0, 300), "status/lock_out": text.slice(0, 300) }).map(
        ([key, value]) => client.publish(`halloween/fuzzed_${index}/${key}`, value, { retain: true }),
      ),
    ),
  );
  await client.publish("halloween/<b>/state", "armed", { retain: true });
  await client.publish("halloween/worker_host/status/all_stop_heard", '{"since":"x","heard":[1,{"id":2}]}', {
    retain: true,
  });
  const page = await openPage(`${url}/#/props`, { width: 320, height: 600 });
  for (const index of hostile.keys()) await shows(card(page, `hostile_${index}`), /<img src=x/);
  await expect.poll(() => page.locator('[data-id^="fuzzed_"]').count(), { timeout: PATIENCE_MS }).toBe(200);
  await hold(await button(card(page, "beside"), "Jump!"));
  await client.expect("halloween/beside/telemetry/jumps", "1");
  expect(
    await page.evaluate("[globalThis.pwned, document.images.length, document.querySelectorAll('b').length]"),
  ).toEqual([undefined, 0, 0]);
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(320);
  await shows(page, "\\u202epotS");
  // Each prop's own screen: forms are made of what its description says.
  const ids = [
    ...hostile.map((_, at) => `hostile_${at}`),
    ...fuzzed.flatMap((_, at) => (at % 3 === 0 ? [`fuzzed_${at}`] : [])),
  ];
  const odd = await page.evaluate(`(async () => {
    const odd = [];
    for (const id of ${JSON.stringify(ids)}) {
      const shown = new Promise((resolve) => addEventListener("hashchange", resolve, { once: true }));
      location.hash = "#/prop/" + id;
      await shown;
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      if (!document.querySelector('.prop[data-id="' + id + '"]')) odd.push(id);
      // What turns the writing around, or hides in it.
      if (/(?!\\s)[\\p{Cc}\\p{Cf}]/u.test(document.body.innerText)) odd.push(id);
    }
    return odd;
  })()`);
  expect(odd).toEqual([]);
  await page.getByRole("link", { name: "Show" }).click();
  await shows(page, /\d+ of \d+ online/);
  expect(
    await page.evaluate("[globalThis.pwned, document.images.length, document.querySelectorAll('b').length]"),
  ).toEqual([undefined, 0, 0]);
  expect(await page.getByText("This page has failed").count()).toBe(0);
});

/** Descriptions in which something is another value: any JSON, or markup. */
function fuzz(count: number, markup: string): string[] {
  const schema = {
    type: "object",
    properties: { ms: { type: "number", maximum: 5 }, to: { enum: ["a", 1] } },
    required: ["ms"],
  };
  const command = { description: "Move", args: schema, widget: { label: "Move" }, requires_state: ["armed"] };
  const fine = {
    contract: 1,
    name: "x",
    area: "y",
    commands: { move: command, stop: {} },
    telemetry: { t: { unit: "s" } },
  };
  const odd = fc.oneof(fc.jsonValue(), fc.constant(markup), fc.constantFrom("__proto__", "#", "#/$defs/a", 1e308, -0));
  const changed = (value: unknown, at: number, into: unknown): unknown => {
    if (typeof value !== "object" || value === null || at <= 0) return into;
    const keys = Object.keys(value);
    const key = keys[at % keys.length] ?? "";
    const inner = (value as Record<string, unknown>)[key];
    return { ...value, [key]: changed(inner, Math.floor(at / keys.length) - 1, into) };
  };
  const described = fc.tuple(fc.nat(5_000), odd).map(([at, into]) => JSON.stringify(changed(fine, at, into)));
  return fc.sample(described, { numRuns: count, seed: 31 });
}
