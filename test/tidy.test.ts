import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

const retained = { retain: true };
const describes = (said: object) => JSON.stringify({ contract: 1, commands: {}, ...said });

/** What is retained of a haunt of two hosts, one away, and of what was there in other years. */
const KEPT: Record<string, string> = {
  // A prop that was renamed while no host ran, and one of the Python worker host.
  "old_fogger/status/availability": "offline",
  "old_fogger/status/runstate": '{"state":"stopped","host":"worker_host"}',
  "old_fogger/state": "idle",
  "old_fogger/status/lock_out": "the hose leaks",
  "python_prop/availability": "offline",
  "python_prop/telemetry/config": "{}",
  "python_prop/telemetry/a\nb": "1",
  "never_there/cmd": "fire",
  "broadcast/cmd": "stop now",
  "worker_host/claim": "held",
  // A board that is off, a host that does not run, and its prop.
  "gate_hw/status/availability": "offline",
  "gate_hw/description": describes({ id: "gate_hw", board: "esp32" }),
  "attic/status/availability": "offline",
  "attic/status/all_stop": "clear",
  "attic/description": JSON.stringify({ contract: 1, name: "attic", workers: [{ id: "bats", board: "offline" }] }),
  "bats/status/availability": "offline",
  "bats/state": "idle",
  "bats_hw/status/availability": "offline",
  // What the lab of the host that runs does not describe.
  "lab/telemetry/level": "7",
  "lab/telemetry/old_level": "3",
  "lab/availability": "online",
  "lab/status/error": "the pump is dry",
  // Somebody's, who is online for the Python worker host.
  "fortune/availability": "online",
  "fortune/state": "idle",
};

const LAB = workerSource(`static telemetry = { level: { type: "number", retain: true } };
  async start() { await super.start(); this.telemetry("level", 7, { retain: true }); }`);

async function haunt() {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, props: { "lab/backend/worker.ts": LAB } });
  await client.expect("halloween/lab/status/availability", "online");
  for (const [key, payload] of Object.entries(KEPT)) await client.publish(`halloween/${key}`, payload, retained);
  const tidy = (...args: string[]) => runCli(["tidy", ...args], { cwd: host.cwd, env: { MQTT_URL: broker.url } });
  await client.barrier();
  const before = client.seen.all.length;
  /** The topics that were cleared since, without the prefix. */
  const cleared = async () => {
    await client.barrier();
    const empty = client.seen.all.slice(before).filter(({ text }) => text === "");
    return empty.map(({ topic }) => topic.replace("halloween/", "")).toSorted();
  };
  return { tidy, cleared };
}

interface Listed {
  id: string;
  topic: string;
  bytes: number;
  why: string;
  cleared: boolean;
}

function listed(stdout: string): Map<string, Listed> {
  const all = JSON.parse(stdout) as Listed[];
  return new Map(all.map((each) => [each.topic.replace("halloween/", ""), each]));
}

const UNOWNED = [
  ...["broadcast/cmd", "never_there/cmd", "worker_host/claim"],
  ...["old_fogger/state", "old_fogger/status/availability", "old_fogger/status/runstate"],
  ...["python_prop/availability", "python_prop/telemetry/a\nb", "python_prop/telemetry/config"],
];
const UNSAID = ["lab/availability", "lab/telemetry/old_level"];

test("tidy lists what nothing owns, and what a living prop does not describe, and clears nothing unless its id is named", async () => {
  const { tidy, cleared } = await haunt();
  const first = await tidy("--json");
  expect(first.code).toBe(0);
  const found = listed(first.stdout);
  expect([...found.keys()].toSorted()).toEqual([...UNOWNED, ...UNSAID].toSorted());
  expect(found.get("old_fogger/state")).toEqual({
    id: "old_fogger",
    topic: "halloween/old_fogger/state",
    bytes: 4,
    why: "offline, and no host describes it",
    cleared: false,
  });
  expect(found.get("never_there/cmd")?.why).toBe("nothing says that it is there");
  expect(found.get("worker_host/claim")?.why).toBe("worker_host is online, and the contract has no such topic");
  for (const line of [
    /^halloween\/old_fogger\/status\/lock_out is kept: it protects; run a host, and end it there$/m,
    /^halloween\/attic\/status\/all_stop is kept: it protects; run a host of that name, and end it there$/m,
    /^gate_hw is kept: a board that is off; where it is gone for good, "npx worker-host tidy gate_hw" lists it$/m,
    /^attic is kept: a host that does not run/m,
    /^to clear them: npx worker-host tidy broadcast lab never_there old_fogger python_prop worker_host --clear$/m,
  ])
    expect(first.stderr).toMatch(line);
  expect(await tidy("--clear")).toMatchObject({ code: 2, stderr: expect.stringContaining("--clear: name the ids") });
  expect(await cleared()).toEqual([]);

  const second = await tidy("old_fogger", "python_prop", "never_there", "broadcast", "worker_host", "--clear");
  expect(second).toMatchObject({ code: 0, stderr: expect.stringContaining(`${UNOWNED.length} cleared\n`) });
  expect(second.stdout).toContain("halloween/old_fogger/state (4 bytes): offline, and no host describes it; cleared\n");
  // A topic can't forge a line.
  expect(second.stdout).toContain("halloween/python_prop/telemetry/a\\nb (1 bytes)");
  expect(await cleared()).toEqual(UNOWNED.toSorted());
});

test("what is online is cleared where its id is named; a board that is off and a host that does not run, too", async () => {
  const { tidy, cleared } = await haunt();
  const bats = await tidy("bats", "--clear");
  expect(bats.stderr).toMatch(/^bats is kept: the host attic describes it; remove it there, or .*tidy attic/m);
  expect((await tidy("lab", "gate_hw", "attic", "--clear")).code).toBe(0);
  expect(await cleared()).toEqual(
    [
      ...["attic/description", "attic/status/availability", "gate_hw/description", "gate_hw/status/availability"],
      ...UNSAID,
    ].toSorted(),
  );
  // Its host is gone now.
  expect([...listed((await tidy("bats", "bats_hw", "--json")).stdout).keys()].toSorted()).toEqual([
    ...["bats/state", "bats/status/availability", "bats_hw/status/availability"],
  ]);
});

test("tidy refuses what is no id, says where no broker is, and where nothing is to be done", async () => {
  const broker = await startBroker();
  const env = { MQTT_URL: broker.url };
  expect(await runCli(["tidy", "no/id"], { env })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('"no/id" is no prop'),
  });
  expect(await runCli(["tidy"], { env })).toMatchObject({ code: 0, stderr: "nothing is retained under halloween/\n" });
  await broker.stop();
  expect(await runCli(["tidy"], { env })).toMatchObject({ code: 1, stderr: expect.stringContaining("no broker at") });
});
