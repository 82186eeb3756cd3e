import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, readFileSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, onTestFinished, test } from "vitest";
import { freePort } from "../bench/ports.mjs";
import { BROKER } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder } from "./harness/folder.ts";
import { ROOT } from "./harness/host.ts";
import { Happenings, patiently } from "./harness/wait.ts";

const SHIPPED = readFileSync(join(ROOT, "mosquitto.conf"), "utf8");

/** The shipped settings by name; comments aside. */
function settings(): Map<string, string> {
  const lines = SHIPPED.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.split(" ")[0] ?? "", line.split(" ").slice(1).join(" ")]));
}

/** A folder for mosquitto, which goes on as a user of its own where root started it. */
function makeData(): string {
  const folder = makeFolder();
  chmodSync(folder, 0o777);
  return folder;
}

/**
 * mosquitto with the shipped file, but for the port and the folder, which are the container's in it.
 *
 * @param savedEvery after how many changes it writes its file, where that isn't as shipped
 */
async function startMosquitto(
  folder: string,
  savedEvery?: number,
): Promise<{ url: string; kill: () => Promise<void> }> {
  const port = await freePort();
  const config = SHIPPED.replace(/^listener 1883$/m, `listener ${port} 127.0.0.1`)
    .replace(/^persistence_location .*$/m, `persistence_location ${folder}/`)
    .replace(/^autosave_interval (.*)$/m, (_, shipped) => `autosave_interval ${savedEvery ?? shipped}`);
  writeFileSync(join(folder, "mosquitto.conf"), config);
  // Verbose, to hear when it listens.
  const args = ["-v", "-c", join(folder, "mosquitto.conf")];
  const child = spawn("mosquitto", args, { stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(child, "exit");
  const kill = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  onTestFinished(kill);
  const said = new Happenings<string>();
  createInterface({ input: child.stderr }).on("line", (line) => said.add(line));
  const died = exited.then(() => Promise.reject(new Error(`mosquitto ended: ${said.all.join("\n")}`)));
  // It ends by `kill` too, when nobody waits for this any more.
  died.catch(() => {});
  await Promise.race([said.find((line) => / running$/.test(line), "mosquitto to run"), died]);
  return { url: `mqtt://127.0.0.1:${port}`, kill };
}

/** Fulfils when the file in the watched folder holds this text. */
async function written(folder: string, name: string, text: string, ms: number): Promise<void> {
  const file = join(folder, name);
  const holds = () => existsSync(file) && readFileSync(file).includes(text);
  const watcher = watch(folder);
  try {
    const found = new Promise<void>((resolve) => {
      const look = () => {
        if (holds()) resolve();
      };
      watcher.on("change", look);
      look();
    });
    await patiently(found, () => `"${text}" in ${file}`, ms);
  } finally {
    watcher.close();
  }
}

test("mosquitto.conf says what docker-compose.yml relies on", () => {
  const shipped = settings();
  for (const [name, value] of [
    ["listener", "1883"],
    ["allow_anonymous", "true"],
    ["persistence", "true"],
    ["persistence_location", "/mosquitto/data/"],
    ["autosave_on_changes", "true"],
    ["autosave_interval", "1"],
    ["set_tcp_nodelay", "true"],
  ] as const) {
    expect(shipped.get(name), name).toBe(value);
  }
});

describe.runIf(BROKER === "mosquitto")("mosquitto with the shipped mosquitto.conf", () => {
  test("keeps a retained message over a kill -9, 2 s after it came", async () => {
    const folder = makeData();
    const before = await startMosquitto(folder);
    const publisher = await TestClient.connect(before.url, []);
    const saved = written(folder, "mosquitto.db", "outlives the power cut", 2_000);
    await publisher.publish("halloween/fogger/state", "outlives the power cut", { retain: true });
    await saved;
    await publisher.close();
    await before.kill();

    const after = await startMosquitto(folder);
    const subscriber = await TestClient.connect(after.url);
    await subscriber.expect("halloween/fogger/state", "outlives the power cut");
  });

  test("gives a newcomer all that a large haunt retains", async () => {
    // Each save is a sync of the disk, and it is not the disk that is looked at.
    const { url } = await startMosquitto(makeData(), 10_000);
    const publisher = await TestClient.connect(url, []);
    const topics = Array.from({ length: 1_100 }, (_, index) => `halloween/prop_${index}/state`);
    await Promise.all(topics.map((topic) => publisher.publish(topic, "idle", { retain: true })));
    const subscriber = await TestClient.connect(url);
    await subscriber.barrier();
    const received = new Set(subscriber.seen.all.map(({ topic }) => topic));
    expect(topics.filter((topic) => !received.has(topic))).toEqual([]);
  });
});
