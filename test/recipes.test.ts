import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { BaseWorker } from "worker-host";
import { type StartWorkerOptions, startWorker } from "worker-host/testing";
import type { WorkerContext } from "../worker-host/worker/context.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource, writeFiles } from "./harness/folder.ts";
import { ROOT, startHost } from "./harness/host.ts";

/** The first block of TypeScript under a heading. */
function sourceIn(doc: string, heading: string): string {
  const text = readFileSync(join(ROOT, `docs/${doc}.md`), "utf8");
  const section = text.split(/^## /m).find((each) => each.startsWith(`${heading}\n`)) ?? "";
  const [, source = ""] = /^```ts\n([\s\S]*?)^```$/m.exec(section) ?? [];
  return source;
}

/** The worker of the recipe under this heading, started. */
async function recipe(heading: string, { doc = "recipes", ...options }: StartWorkerOptions & { doc?: string } = {}) {
  const folder = makeFolder({ "props/recipe/backend/worker.ts": sourceIn(doc, heading) });
  const file: string = join(folder, "props/recipe/backend/worker.ts");
  const { Worker } = (await import(file)) as { Worker: new (context: WorkerContext) => BaseWorker };
  const worker = await startWorker(Worker, { id: "recipe", ...options });
  onTestFinished(() => worker.stop());
  return worker;
}

/** What it sent to others, as `fogger start 5000`. */
const sentBy = (worker: Awaited<ReturnType<typeof recipe>>) =>
  worker.commands.map(({ target, action, args }) =>
    [target, action, args].filter((part) => part !== undefined).join(" "),
  );

test("the motion sensor starts something once it is armed, and not again before the cooldown is over", async () => {
  const grave = await recipe("A motion sensor starts something");
  const move = () => grave.publish("halloween/path_pir/telemetry/motion", "1");
  await move();
  await grave.send("arm");
  expect(sentBy(grave)).toEqual([]);
  await move();
  expect(sentBy(grave)).toEqual(["grave_hw shake"]);
  await move();
  expect(await grave.status("warn")).toContain("shake refused: busy");
  await grave.advance(3000);
  expect(sentBy(grave)).toEqual(["grave_hw shake", "grave_hw stop"]);
  await move();
  expect(await grave.status("warn")).toContain("shake refused: cooling down");
  await grave.advance(20_000);
  await grave.send("stop");
  await move();
  expect(sentBy(grave).filter((line) => line.endsWith("shake")).length).toBe(1);
});

test("a sound that is not in the list is refused", async () => {
  const speaker = await recipe("A sound on a speaker");
  await speaker.send("play ../../etc/passwd");
  expect(await speaker.status("warn")).toContain("play refused");
});

const HOUR_MS = 3_600_000;

test("the gate greets in the opening hours alone, and the clock closes the haunt", async () => {
  const timeOfDay = (ms: number) => new Date(ms).toTimeString().slice(0, 5);
  const [opens, closes] = [2, 4].map((hours) => timeOfDay(Date.now() + hours * HOUR_MS));
  const gate = await recipe("Opening hours", { config: { opens, closes, props: ["fogger", "coffin"] } });
  const move = () => gate.publish("halloween/gate_pir/telemetry/motion", "1");
  await move();
  expect(sentBy(gate)).toEqual([]);
  await gate.advance(3 * HOUR_MS);
  expect(sentBy(gate)).toEqual([]);
  await move();
  await gate.advance(5000);
  expect(sentBy(gate)).toEqual(["gate_hw open", "gate_hw close"]);
  await gate.advance(1.5 * HOUR_MS);
  expect(sentBy(gate).slice(2)).toEqual(["fogger stop", "coffin stop"]);
  await move();
  expect(sentBy(gate).length).toBe(4);
});

test("of two props that must not run at once, the second is refused while the first runs", async () => {
  const fuse = await recipe("Two props that must not run at once");
  await fuse.send("run fogger");
  await expect(fuse.call("run", "strobe")).rejects.toMatchObject({ code: "refused" });
  await fuse.advance(5000);
  await fuse.send("run strobe");
  expect(sentBy(fuse)).toEqual(["fogger start 5000", "fogger stop", "strobe start 5000"]);
});

test("a prop that needs a warm-up takes its command once it is warm, and is cold after a stop", async () => {
  const fogger = await recipe("A prop that needs a warm-up");
  await fogger.send("warm");
  await expect(fogger.call("fog")).rejects.toThrow("fog refused: it needs the state ready, and the state is warming");
  await fogger.advance("4min");
  await fogger.send("fog");
  expect(sentBy(fogger)).toEqual(["fogger_hw heater_on", "fogger_hw start 3000"]);
  await fogger.send("stop");
  expect(sentBy(fogger).slice(2)).toContain("fogger_hw heater_off");
  await expect(fogger.call("fog")).rejects.toThrow("the state is cold");
  await fogger.send("warm");
  await fogger.advance("3h");
  expect(sentBy(fogger).at(-1)).toBe("fogger_hw heater_off");
});

test("code in props/_shared is no prop; an edit of it starts anew what imports it, and no other", async () => {
  const shared = (word: string) => ({ "_shared/word.ts": `export const word: string = "${word}";` });
  const says = 'async start() { this.telemetry("says", word); }';
  const props = makeFolder({
    ...shared("first"),
    "a/backend/worker.ts": workerSource(says, 'import { word } from "../../_shared/word.ts";'),
    "b/backend/worker.ts": workerSource(says, 'const word = "alone";'),
  });
  const host = await startHost({ args: ["--props", props] });
  expect(await host.ready()).toMatchObject({ running: 2, failed: 0 });
  const client = await TestClient.connect(await host.url(), ["halloween/+/telemetry/says"]);
  writeFiles(props, shared("second"));
  await client.expect("halloween/a/telemetry/says", "second");
  expect(client.texts("halloween/b/telemetry/says")).toEqual([]);
});

test("a command is taken by the broker, not by the prop; a call is answered by the prop", async () => {
  const props = makeFolder({
    "slow/backend/worker.ts": workerSource(
      "async do_go() { await this.sleep(60_000); }\ndo_no() { throw new Error('no'); }",
    ),
    "asks/backend/worker.ts": workerSource(
      `async do_tell() { return this.command("slow", "go"); }
       async do_call() { return this.call("slow", "no").catch((error) => error.code); }`,
    ),
  });
  const host = await startHost({ args: ["--props", props] });
  const client = await TestClient.connect(await host.url(), ["halloween/#"]);
  const reply = async (action: string) => {
    await client.command("asks", JSON.stringify({ action, reply_to: `halloween/cli/reply/${action}` }));
    return JSON.parse(await client.expect(`halloween/cli/reply/${action}`)).result;
  };
  expect(await reply("tell")).toBe(true);
  expect(await reply("call")).toBe("failed");
});

const PORTING = "porting-from-python";

test("the ported lantern does what the Python one did", async () => {
  const lantern = await recipe("Side by side", { doc: PORTING, config: { tick_interval: 5 } });
  expect(await lantern.telemetry("tick")).toBe(0);
  await lantern.advance(5000);
  expect(await lantern.telemetry("tick")).toBe(1);
  expect(await lantern.state()).toBe("idle");
  for (const [command, ms] of [
    ["glow", 500],
    ["glow 200", 200],
    [{ action: "glow", args: "300" }, 300],
  ] as const) {
    await lantern.send(command);
    expect(await lantern.state()).toBe("glowing");
    await lantern.advance(ms);
    expect(await lantern.state()).toBe("idle");
  }
  expect(sentBy(lantern).slice(0, 2)).toEqual(["lantern_hw on", "lantern_hw off"]);
  await lantern.send("dance now");
  expect(await lantern.status("warn")).toBe("what is dance?");
});

test("a worker serves a board that still speaks as in 2025", async () => {
  const host = await startHost({ props: { "coffin/backend/worker.ts": sourceIn(PORTING, "On the wire") } });
  const client = await TestClient.connect(await host.url());
  const board = "halloween/esp32-coffin-jumper-01";
  await client.publish(`${board}/telemetry`, '{"fw": "1.0.0", "triggers": 7, "pir": "---"}');
  await client.expect("halloween/coffin/telemetry/triggers", "7");
  await client.publish(`${board}/availability`, "online", { retain: true });
  await client.expect("halloween/coffin/telemetry/board", "online");
  await client.command("coffin", "volume 12");
  expect(JSON.parse(await client.expect(`${board}/cmd`))).toEqual({ action: "set_volume", params: { volume: 12 } });
  await client.command("worker_host", "all_stop");
  expect(JSON.parse(await client.expect(`${board}/cmd`))).toMatchObject({ action: "stop_action" });
});
