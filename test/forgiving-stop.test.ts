import { describe, expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";
import { PATIENCE_MS } from "./harness/wait.ts";

const LAMP = workerSource(
  `async do_on() { await this.hold(60_000, () => this.telemetry("lamp", "on"), () => this.telemetry("lamp", "off")); }
   @command({ args: z.enum(["soft", "hard"]).default("hard") })
   do_stop(how) { this.telemetry("stopped", how); }`,
  'import { command, z } from "worker-host";',
);

const FORGIVEN = [
  ["a number for an id", { action: "stop", id: 7 }, /^stop obeyed, though "id" is 7; expected a text$/],
  ["an odd expires_at", { action: "stop", expires_at: "soon" }, /^stop obeyed, though "expires_at" is "soon"/],
  ["an expires_at that is over", { action: "stop", expires_at: 1000 }, undefined],
  ["a reply_to that is none", { action: "stop", reply_to: 5 }, /^stop obeyed, though "reply_to" is 5/],
  [
    "a reply_to where no reply may go",
    { action: "stop", reply_to: "halloween/other/cmd" },
    /^stop obeyed without a reply: a reply can't go to "halloween\/other\/cmd"; expected halloween\/<id>\/reply\/<name>$/,
  ],
  ["args that don't fit", { action: "stop", args: { at: "once" } }, /^stop obeyed without its args: /],
  ["another spelling", "STOP", undefined],
  ["the command line's spelling of all-stop", "all-stop guest down", /^stop obeyed without its args: /],
  ["quotes", '"Stop!"', undefined],
  ["a C text with its end", "stop\0\0", undefined],
  ["more than a command may have", `stop${" ".repeat(70_000)}`, /^stop obeyed, though a command has at most 65536$/],
  ["what is nearly JSON", '{"action":"stop",}', /^stop obeyed, though it starts with "{" but is not JSON /],
  ["an emergency", "e-stop", undefined],
] as const;

async function start() {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, props: { "lamp/backend/worker.ts": LAMP } });
  return client;
}

async function switchOn(client: TestClient, count: number): Promise<void> {
  await client.command("lamp", "on");
  await expect
    .poll(() => client.texts("halloween/lamp/telemetry/lamp").filter((text) => text === "on").length, {
      timeout: PATIENCE_MS,
    })
    .toBe(count);
}

const offs = (client: TestClient) =>
  client.texts("halloween/lamp/telemetry/lamp").filter((text) => text === "off").length;

describe.each(["lamp", "broadcast"])("a stop to %s is obeyed, and what it doesn't need is forgiven", (target) => {
  test("whatever it is", { timeout: 60_000 }, async () => {
    const client = await start();
    const topic = `halloween/${target === "lamp" ? "lamp" : "worker_host"}/status/warn`;
    for (const [index, [what, payload, warning]] of FORGIVEN.entries()) {
      await switchOn(client, index + 1);
      await client.command(target, payload);
      await expect.poll(() => offs(client), { message: what, timeout: PATIENCE_MS }).toBe(index + 1);
      await expect
        .poll(() => client.texts("halloween/lamp/telemetry/stopped").length, { message: what, timeout: PATIENCE_MS })
        .toBe(index + 1);
      if (warning === undefined) continue;
      const said = () => [...client.texts(topic), ...client.texts("halloween/lamp/status/warn")];
      await expect
        .poll(() => said().some((text) => warning.test(text.replace("halloween/broadcast/cmd: ", ""))), {
          message: what,
          timeout: PATIENCE_MS,
        })
        .toBe(true);
    }
    expect(client.texts("halloween/lamp/telemetry/stopped")).toEqual(FORGIVEN.map(() => "hard"));
    expect(client.texts("halloween/other/cmd")).toEqual([]);
  });
});

test("all_stop to the host is obeyed, and what it doesn't need is forgiven", { timeout: 60_000 }, async () => {
  const client = await start();
  const ALL_STOP = "halloween/worker_host/status/all_stop";
  const stops = () => client.texts("halloween/broadcast/cmd").length;
  const talk = [
    [{ action: "all_stop", id: 7 }, /^all_stop obeyed, though "id" is 7; expected a text$/],
    [{ action: "ALL-STOP", reply_to: "halloween/lamp/cmd" }, /^all_stop obeyed without a reply: /],
    [{ action: "Stop", expires_at: {} }, /^stop obeyed, though "expires_at" is /],
    ["all-stop guest down", undefined],
    ["ALL STOP", undefined],
    ["emergency stop!", undefined],
    [`{"action":"all_stop","args":${"[".repeat(900)}${"]".repeat(900)}}`, /^all_stop obeyed, though it is nested /],
  ] as const;
  for (const [index, [payload, warning]] of talk.entries()) {
    await client.command("worker_host", payload);
    await expect.poll(stops, { timeout: PATIENCE_MS }).toBe(index + 1);
    await client.expect(ALL_STOP, "engaged");
    if (warning) await client.expect("halloween/worker_host/status/warn", warning);
  }
  // Nothing else is forgiven, and no latch is cleared by a spelling.
  await client.command("worker_host", { action: "all_clear", id: 7 });
  await client.expect("halloween/worker_host/status/warn", /^command refused: "id" is 7/);
  expect(client.texts(ALL_STOP).at(-1)).toBe("engaged");
});

test("a command that is called as an emergency stop is that command, and what only begins like a stop is none", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const source = workerSource(
    ["estop", "all", "stop_motor", "stopwatch"]
      .map((name) => `do_${name}(n) { this.telemetry("${name}", n ?? 0); }`)
      .join("\n"),
  );
  await startHost({ broker, props: { "lamp/backend/worker.ts": source } });
  for (const [text, key, value] of [
    ["estop", "estop", "0"],
    ["stop_motor 3", "stop_motor", "3"],
    ["stopwatch", "stopwatch", "0"],
    ["all off", "all", "off"],
  ] as const) {
    await client.command("lamp", text);
    await client.expect(`halloween/lamp/telemetry/${key}`, value);
  }
  await client.command("lamp", "stop-motor 3");
  await client.expect("halloween/lamp/status/warn", /^unknown action "stop-motor"/);
});

test("all_stop to all props stops them, and says that it holds nothing", async () => {
  const client = await start();
  await switchOn(client, 1);
  await client.command("broadcast", "all-stop");
  await client.expect("halloween/lamp/telemetry/lamp", "off");
  await client.expect(
    "halloween/worker_host/status/warn",
    "all_stop on halloween/broadcast/cmd stopped all props once, and holds none of them: send it to halloween/worker_host/cmd",
  );
});
