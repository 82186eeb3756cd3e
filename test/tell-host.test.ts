import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { shared } from "./harness/ending.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

type Given = Parameters<typeof runCli>[1];

const NAMED: [where: string, args: string[], given: () => Given][] = [
  ["on the command line", ["--name", "attic"], () => ({})],
  ["in the environment", [], () => ({ env: { WORKER_NAME: "attic" } })],
  ["in worker-host.yaml", [], () => ({ cwd: makeFolder({ "worker-host.yaml": "name: attic\n" }) })],
];

/** Two hosts of two names on one broker. */
const hosts = shared(async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const fogger = { "fogger/backend/worker.ts": workerSource("do_ping() { this.telemetry('pong', 1); }") };
  await startHost({ broker, props: fogger, args: ["--name", "attic"] });
  await startHost({ broker, props: {} });
  await client.expect("halloween/attic/status/all_stop", "clear");
  await client.expect("halloween/worker_host/status/all_stop", "clear");
  return { broker, client };
});

/** Tells the host named attic something by the command line, as a person does. */
async function teller(args: string[], options?: Given) {
  const { broker, client } = await hosts();
  const tell = async (...words: string[]) => {
    const { code, stdout, stderr } = await runCli([...words, "--mqtt-url", broker.url, ...args], options);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    return stdout;
  };
  return { client, tell };
}

/** The host of another name has heard none of it. */
async function expectOtherUntold(client: TestClient): Promise<void> {
  await client.barrier();
  expect(client.texts("halloween/worker_host/cmd")).toEqual([]);
  expect(client.texts("halloween/worker_host/status/all_stop")).toEqual(["clear"]);
}

test.each(NAMED)("all-stop and all-clear reach the host named %s", async (_, args, given) => {
  const { client, tell } = await teller(args, given());
  expect(await tell("all-stop", "smoke")).toMatch(
    /^all-stop is engaged\nall-stop is engaged by cli \(smoke\) since .*: only stop and safe commands run until "npx worker-host all-clear --name attic"\nheard: fogger, in \d+ ms\n$/,
  );
  await client.expect("halloween/attic/status/all_stop", "engaged");
  await tell("all-clear");
  await client.expect("halloween/attic/status/all_stop", "clear");
  await expectOtherUntold(client);
});

test("show, lock-out and release reach the host that is named", async () => {
  const { client, tell } = await teller(["--name", "attic"]);
  await tell("show", "on");
  await client.expect("halloween/attic/description", /"show":true/);

  expect(await tell("lock-out", "fogger", "the", "hose", "leaks")).toMatch(
    /^fogger is locked out until "npx worker-host release fogger --name attic"\nheard: fogger, in \d+ ms\n$/,
  );
  await client.expect("halloween/fogger/status/lock_out", "the hose leaks");
  await tell("release", "fogger");
  await client.expect("halloween/fogger/status/lock_out", "");
  await expectOtherUntold(client);
});

test("without a name, they reach worker_host", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, props: {} });
  expect(await runCli(["all-stop", "--mqtt-url", broker.url])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/: only stop and safe commands run until "npx worker-host all-clear"\n$/),
  });
  await client.expect("halloween/worker_host/status/all_stop", "engaged");
});

test("a board can't be given the name of the host that is named", async () => {
  expect(await runCli(["board", "rename", "fogger", "attic", "--name", "attic"])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^"attic" is reserved/),
  });
});
