import { spawn } from "node:child_process";
import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { makeFolder } from "../harness/folder.ts";
import { BIN, ROOT, runCli } from "../harness/host.ts";
import { Happenings, patiently } from "../harness/wait.ts";

/** A folder from which the repository's props run. */
const shippedHaunt = () => makeFolder({ "worker-host.yaml": `props: ${JSON.stringify(join(ROOT, "props"))}\n` });

/** `worker-host simulate`, as a person starts it, with a keyboard. */
async function simulate(args: string[] = [], cwd = shippedHaunt()) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const child = spawn(process.execPath, [BIN, "simulate", ...args], {
    cwd,
    env: { PATH: process.env.PATH, MQTT_HOST: "127.0.0.1", MQTT_PORT: String(broker.port), WORKER_CLAIM_MS: "50" },
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
  });
  const said = new Happenings<string>();
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on("line", (line) => said.add(line));
  const exit = new Promise<number | null>((resolve) => child.once("close", resolve));
  onTestFinished(async () => {
    if (child.exitCode === null) process.kill(-(child.pid ?? 0), "SIGKILL");
    await exit;
  });
  const type = (line: string) => child.stdin.write(`${line}\n`);
  const says = (text: RegExp) => said.find((line) => text.test(line), String(text), 20_000);
  return { client, child, exit, type, says };
}

test("a haunt without hardware: it says what to press, and pressing it does what a guest would", async () => {
  const { client, child, exit, type, says } = await simulate();
  await says(/c {2}coffin_jumper: somebody in front of the coffin/);
  for (const id of ["coffin_jumper", "fogger", "grave_shaker"]) {
    await client.expect(`halloween/${id}/status/availability`, "online");
    await client.expect(`halloween/${id}_hw/status/availability`, "online");
  }
  await client.expect("halloween/panic_button/state", "ready");
  await client.expect("halloween/fogger_hw/state", "idle");
  type("coffin_jumper arm");
  await client.expect("halloween/coffin_jumper_hw/state", "armed");
  type("c");
  await Promise.all([
    says(/^coffin_jumper: valve on$/),
    says(/^fogger: pump on$/),
    says(/^grave_shaker: motor on, 204 of 255$/),
  ]);
  await Promise.all([
    says(/^coffin_jumper: valve off$/),
    says(/^fogger: pump off$/),
    says(/^grave_shaker: motor off$/),
  ]);
  type("p");
  await client.expect("halloween/worker_host/status/all_stop", "engaged");
  await says(/^panic_button: lamp on$/);
  type("nonsense");
  await says(/"nonsense" is no key and no command/);
  process.kill(child.pid ?? 0, "SIGINT");
  expect(await patiently(exit, () => "its end")).toBe(0);
  for (const id of ["coffin_jumper_hw", "panic_button"]) {
    await client.expect(`halloween/${id}/status/availability`, "offline");
  }
});

test("only some sketches; one that is not there is told, with those that are", async () => {
  const { client, says } = await simulate(["fogger"]);
  await says(/h {2}fogger: the heater is cold/);
  await client.expect("halloween/fogger_hw/status/availability", "online");
  const other = await simulate(["foger"]);
  await other.says(/no sketch "foger" in .*there are: coffin_jumper, fogger, grave_shaker, panic_button/);
  expect(await other.exit).toBe(2);
});

test("in a haunt of one's own, sketches are built there with what comes along", async () => {
  const cwd = makeFolder({ "worker-host.yaml": "disable_all_builtins: true\n" });
  // What is the same for all sketches was built before this suite.
  cpSync(join(ROOT, "build/firmware/none"), join(cwd, "build/firmware/none"), {
    recursive: true,
    preserveTimestamps: true,
  });
  expect((await runCli(["new", "prop", "exit_button", "--from", "panic_button"], { cwd })).code).toBe(0);
  const { client, says } = await simulate([], cwd);
  await says(/p {2}exit_button: /);
  await client.expect("halloween/exit_button/state", "ready");
  expect(existsSync(join(cwd, "build/firmware/none/exit_button"))).toBe(true);
});
