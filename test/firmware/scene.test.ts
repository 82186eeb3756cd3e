import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { BROKER, startBroker, type TestBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { BIN, ROOT, startHost, type TestHost } from "../harness/host.ts";
import { repeatUntil } from "../harness/repeat.ts";
import { type Board, startBoard } from "../harness/sketch.ts";

const PIR = 27;
const VALVE = 26;
const PUMP = 26;
const MOTOR = 25;

interface Haunt {
  broker: TestBroker;
  client: TestClient;
  host: TestHost;
  coffin: Board;
  fogger: Board;
  shaker: Board;
  button: Board;
}

/** The shipped props with their boards. */
async function startHaunt(): Promise<Haunt> {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const [coffin, fogger, shaker, button] = ["coffin_jumper", "fogger", "grave_shaker", "panic_button"].map((sketch) =>
    // The heater is warm, nobody presses the button, and nobody is in front of the coffin.
    startBoard(sketch, { broker, inputs: { 27: 0 } }),
  ) as [Board, Board, Board, Board];
  const host = await startHost({ broker, builtins: "shipped", args: ["--props", join(ROOT, "props")] });
  await client.expect("halloween/fogger_hw/state", "idle");
  await client.expect("halloween/panic_button/state", "ready");
  await client.expect("halloween/coffin_jumper_hw/status/availability", "online");
  await client.expect("halloween/grave_shaker_hw/status/availability", "online");
  return { broker, client, host, coffin, fogger, shaker, button };
}

/** Arms the coffin and its board. The worker tells by no message that it has heard of all-clear. */
async function arm({ client }: Haunt): Promise<void> {
  await repeatUntil(client, "coffin_jumper", "arm", "halloween/coffin_jumper_hw/state", "armed");
}

/** Somebody walks past. */
async function scare({ coffin, fogger, shaker }: Haunt): Promise<void> {
  const all = [coffin.pinTurns(VALVE, 1), fogger.pinTurns(PUMP, 1), shaker.pinTurns(MOTOR, 204)];
  coffin.set(PIR, 1);
  await Promise.all(all);
}

test("somebody in front of the coffin: the lid jumps, the fogger fogs, the grave shakes, and all of it ends", async () => {
  const haunt = await startHaunt();
  const { client, coffin, fogger, shaker } = haunt;
  await arm(haunt);
  const ended = [coffin.pinTurns(VALVE, 0), fogger.pinTurns(PUMP, 0), shaker.pinTurns(MOTOR, 0)];
  await scare(haunt);
  await Promise.all(ended);
  for (const [id, on] of [
    ["fogger", "fogging"],
    ["grave_shaker", "shaking"],
  ]) {
    for (const state of [on, "idle"]) await client.expect(`halloween/${id}/state`, state);
  }
  await client.expect("halloween/coffin_jumper/state", "cooldown");
  // Its board stays armed for the next one.
  for (const state of ["jumping", "armed"]) await client.expect("halloween/coffin_jumper_hw/state", state);
  for (const topic of ["warn", "error"].flatMap((key) => [
    ...["coffin_jumper_hw", "fogger_hw", "grave_shaker_hw", "coffin_jumper"].map(
      (id) => `halloween/${id}/status/${key}`,
    ),
  ])) {
    expect(client.texts(topic), topic).toEqual([]);
  }
});

test("the panic button in the middle of it: everything is off, and stays so until all-clear", async () => {
  const haunt = await startHaunt();
  const { client, coffin, fogger, shaker, button } = haunt;
  await arm(haunt);
  const off = [coffin.pinTurns(VALVE, 0), fogger.pinTurns(PUMP, 0), shaker.pinTurns(MOTOR, 0)];
  await scare(haunt);
  button.set(27, 1);
  await Promise.all(off);
  await client.expect("halloween/worker_host/status/all_stop", "engaged");
  await client.expect("halloween/panic_button/state", "engaged");
  await button.shows(26, 1);
  for (const state of ["firing", "idle"]) await client.expect("halloween/coffin_jumper/state", state);
  coffin.set(PIR, 0);
  await client.expect("halloween/coffin_jumper_hw/telemetry/pir", "0");
  // The worker tells by no message that it has heard of all-stop.
  const refused = /"start" refused: all-stop is engaged/;
  await repeatUntil(client, "fogger", "start", "halloween/fogger/status/warn", refused);
  await client.command("fogger_hw", "start");
  await client.expect("halloween/fogger_hw/status/warn", /start refused: all-stop is engaged/);

  // Cleared while it is still pressed: it engages again.
  await client.command("worker_host", "all_clear");
  for (const text of ["clear", "engaged"]) await client.expect("halloween/worker_host/status/all_stop", text);
  button.set(27, 0);
  await client.expect("halloween/panic_button/telemetry/pressed", "false");
  await client.command("worker_host", "all_clear");
  await client.expect("halloween/panic_button/state", "ready");
  expect([coffin.pin(VALVE), fogger.pin(PUMP), shaker.pin(MOTOR)]).toEqual([0, 0, 0]);
  await arm(haunt);
});

test("the host is killed in the middle of it: each board ends by itself what it was told", async () => {
  const haunt = await startHaunt();
  const { coffin, fogger, shaker, host } = haunt;
  await arm(haunt);
  const off = [coffin.pinTurns(VALVE, 0), fogger.pinTurns(PUMP, 0), shaker.pinTurns(MOTOR, 0)];
  await scare(haunt);
  host.signal("SIGKILL");
  await Promise.all(off);
});

test("the coffin's board is reset in the middle of it: the coffin is disarmed with it", async () => {
  const haunt = await startHaunt();
  const { client, coffin } = haunt;
  await arm(haunt);
  await scare(haunt);
  coffin.tell({ reset: true });
  await coffin.resets("power_on");
  expect(coffin.pin(VALVE)).toBe(0);
  await client.expect(
    "halloween/coffin_jumper/status/warn",
    "disarmed, since the state of coffin_jumper_hw is disarmed",
  );
  for (const state of ["firing", "idle"]) await client.expect("halloween/coffin_jumper/state", state);
});

test.runIf(BROKER === "mosquitto")(
  "the broker is killed in the middle of it: all is off, and all comes back idle",
  async () => {
    const haunt = await startHaunt();
    const { broker, coffin, fogger, shaker } = haunt;
    await arm(haunt);
    const off = [coffin.pinTurns(VALVE, 0), fogger.pinTurns(PUMP, 0), shaker.pinTurns(MOTOR, 0)];
    await scare(haunt);
    const lost = coffin.trace.next(({ serial }) => /out of reach/.test(serial ?? ""), "that the board notices");
    await broker.stop();
    await Promise.all([...off, lost]);
    await broker.start();
    const late = await TestClient.connect(broker.url);
    for (const id of ["coffin_jumper_hw", "fogger_hw", "grave_shaker_hw", "panic_button", "coffin_jumper", "fogger"]) {
      await late.expect(`halloween/${id}/status/availability`, "online");
    }
    await late.expect("halloween/coffin_jumper_hw/state", "disarmed");
    await late.expect("halloween/coffin_jumper/state", "idle");
    expect([coffin.pin(VALVE), fogger.pin(PUMP), shaker.pin(MOTOR)]).toEqual([0, 0, 0]);
  },
);

test("a board under its worker's id: named, renamed on the command line, and then both are there", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  startBoard("fogger", { broker, inputs: { 27: 0 }, env: { PROP_ID: "fogger" } });
  await client.expect("halloween/fogger/state", "idle");
  const host = await startHost({ broker, args: ["--props", join(ROOT, "props"), "--props-allow", "fogger"] });
  const words = "worker-host board rename fogger fogger_hw";
  await client.expect("halloween/worker_host/status/error", new RegExp(words));
  const rename = promisify(execFile)(process.execPath, [BIN, "board", "rename", "fogger", "fogger_hw"], {
    env: { PATH: process.env.PATH, MQTT_HOST: "127.0.0.1", MQTT_PORT: String(broker.port) },
  });
  await client.expect("halloween/fogger_hw/status/availability", "online");
  expect((await rename).stdout).toMatch(/fogger_hw/);
  await client.expect("halloween/fogger/status/runstate", /"running"/);
  await client.command("fogger", "start 200");
  await client.expect("halloween/fogger_hw/state", "fogging");
  await host.stop();
});
