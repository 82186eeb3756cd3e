import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { ROOT, startHost, type TestHost } from "./harness/host.ts";

const ALL_STOP = "halloween/worker_host/status/all_stop";
const BROADCAST = "halloween/broadcast/cmd";

/** Far less than one sync of the slow disk takes, and far more than a busy machine needs. */
const AT_ONCE_MS = 2_000;
const SYNC_MS = 3_000;

const FOGGER = workerSource(`
  async do_fire() { await this.hold(60_000, () => this.telemetry("fog", "on"), () => this.telemetry("fog", "off")); }
  do_ping() { this.telemetry("pong", 1); }
  onAllStop() { this.telemetry("all_stop", 1); }`);

async function start(env: Record<string, string> = {}, cwd = makeFolder()) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, cwd, props: { "fogger/backend/worker.ts": FOGGER }, env });
  let asked = 0;
  /** Tells the host something; fulfils with its answer. */
  const tell = async (action: string, args?: unknown) => {
    const reply_to = `halloween/cli/reply/t${++asked}`;
    await client.command("worker_host", { action, args, id: `t${asked}`, reply_to });
    return JSON.parse(await client.expect(reply_to)) as { status: string; error?: string; result?: Answer };
  };
  return { broker, client, host, cwd, tell };
}

interface Answer {
  engaged?: boolean;
  unsaved?: string;
}

function slowDisk(): Record<string, string> {
  return { NODE_OPTIONS: `--import=file://${ROOT}test/harness/slow-disk.mjs`, SLOW_DISK_MS: String(SYNC_MS) };
}

/** The data folder can't be written to until what this gives is called: a file is in its place. */
function breakDisk(cwd: string): () => void {
  renameSync(join(cwd, "data"), join(cwd, "data.away"));
  writeFileSync(join(cwd, "data"), "");
  return () => {
    rmSync(join(cwd, "data"));
    renameSync(join(cwd, "data.away"), join(cwd, "data"));
  };
}

function latchFile(cwd: string): { engaged?: boolean } {
  const path = join(cwd, "data/all_stop.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as { engaged?: boolean }) : {};
}

/** Ends the host as a power cut does. */
async function cutPower(host: TestHost): Promise<void> {
  host.signal("SIGKILL");
  await host.exit;
}

describe("on a disk on which each sync takes 3 s", () => {
  test("all_stop is told before it is written, also behind an all_clear that is being written", {
    timeout: 60_000,
  }, async () => {
    const { client, cwd, tell } = await start(slowDisk());
    await client.expect(ALL_STOP, "clear");
    await client.command("fogger", "fire");
    await client.expect("halloween/fogger/telemetry/fog", "on");

    let began = Date.now();
    const first = tell("all_stop");
    await client.expect(BROADCAST, /"stop"/);
    await client.expect(ALL_STOP, "engaged");
    await client.expect("halloween/fogger/telemetry/fog", "off");
    expect(Date.now() - began).toBeLessThan(AT_ONCE_MS);
    // The answer doesn't wait for a disk that takes so long, and says what that means.
    expect((await first).result).toMatchObject({
      engaged: true,
      unsaved: expect.stringMatching(/still being written/),
    });
    await expect.poll(() => latchFile(cwd).engaged, { timeout: 30_000 }).toBe(true);

    const clearing = tell("all_clear");
    await client.expect("halloween/worker_host/cmd", /all_clear/);
    await client.barrier();
    began = Date.now();
    const second = tell("all_stop");
    await client.expect(BROADCAST, new RegExp(`"stop"(?!.*${idOf(client.texts(BROADCAST)[0])})`));
    expect(Date.now() - began).toBeLessThan(AT_ONCE_MS);
    expect((await second).result).toMatchObject({ engaged: true });
    // Engaged wins over the clearing that is on its way.
    expect((await clearing).result).toMatchObject({ engaged: true });
    expect(latchFile(cwd).engaged).toBe(true);
    expect(client.texts(ALL_STOP).at(-1)).toBe("engaged");
  });

  test("a lock-out is told before it is written", { timeout: 60_000 }, async () => {
    const { client, tell } = await start(slowDisk());
    await client.command("fogger", "fire");
    await client.expect("halloween/fogger/telemetry/fog", "on");
    const began = Date.now();
    const answer = tell("lock_out", "fogger the hose leaks");
    await client.expect("halloween/fogger/status/lock_out", "the hose leaks");
    await client.expect("halloween/fogger/telemetry/fog", "off");
    expect(Date.now() - began).toBeLessThan(AT_ONCE_MS);
    expect((await answer).result?.unsaved).toMatch(/still being written/);
  });
});

describe("on a disk that can't be written", () => {
  test("all_stop says that it would not outlive a restart, and is written as soon as it can be", {
    timeout: 60_000,
  }, async () => {
    const { broker, client, host, cwd, tell } = await start();
    const mend = breakDisk(cwd);
    expect((await tell("all_stop", { by: "anna", reason: "smoke" })).result).toMatchObject({
      engaged: true,
      by: "anna",
      unsaved: expect.stringMatching(/all_stop\.json/),
    });
    await client.expect("halloween/worker_host/status/error", /^all-stop would not outlive a restart of the host: /);
    // What needs the disk says why: a host that starts anew would read the old file.
    const refused = await tell("all_clear");
    expect(refused).toMatchObject({
      status: "error",
      error: expect.stringMatching(/^all-stop stays engaged: .*all_stop\.json can't be written/),
    });
    mend();
    await host.logged(/all_stop\.json is written: all-stop would outlive a restart of the host again/);
    await cutPower(host);
    // A broker that forgot everything: the file alone is left.
    await broker.stop();
    await broker.start();
    await startHost({ broker, cwd });
    const watching = await TestClient.connect(broker.url);
    await watching.expect(ALL_STOP, "engaged");
  });

  test("a lock-out says so too, and release says why it needs the disk", { timeout: 60_000 }, async () => {
    const { broker, client, host, cwd, tell } = await start();
    const mend = breakDisk(cwd);
    expect((await tell("lock_out", "fogger the hose leaks")).result?.unsaved).toMatch(/show_night\.json/);
    await client.expect("halloween/fogger/status/lock_out", "the hose leaks");
    await client.expect("halloween/worker_host/status/error", /^lock-outs would not outlive a restart of the host: /);
    expect(await tell("release", "fogger")).toMatchObject({
      status: "error",
      error: expect.stringMatching(/^fogger stays locked out: .*show_night\.json can't be written/),
    });
    await client.command("fogger", "ping");
    await client.expect("halloween/fogger/status/warn", /^"ping" refused: it is locked out \(the hose leaks\)/);
    mend();
    await host.logged(/show_night\.json is written: lock-outs would outlive a restart of the host again/);
    await cutPower(host);
    await broker.stop();
    await broker.start();
    await startHost({ broker, cwd, props: { "fogger/backend/worker.ts": FOGGER } });
    const watching = await TestClient.connect(broker.url);
    await watching.expect("halloween/fogger/status/lock_out", "the hose leaks");
  });
});

function idOf(payload = "{}"): string {
  return (JSON.parse(payload) as { id: string }).id;
}
