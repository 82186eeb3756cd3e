import { expect, onTestFinished, test } from "vitest";
import { BaseWorker } from "worker-host";
import { startWorker } from "worker-host/testing";
import { workerSource } from "./harness/folder.ts";
import { sharedHaunt } from "./harness/haunt.ts";
import { fourAtATime, runCli } from "./harness/host.ts";

const haunt = sharedHaunt({
  filters: ["halloween/#"],
  props: {
    "lab/backend/worker.ts": workerSource("do_ping() { return 'pong'; }"),
    "bad/backend/worker.ts": workerSource("async start() { throw new Error('no \\u001b[31mheater'); }"),
  },
  args: ["--max-restarts", "0"],
});

const CASES: [args: string[], code: number, says: RegExp][] = [
  [["lab", "ping"], 0, /^pong\n$/],
  [["lab", "ping", "--no-wait"], 0, /^halloween\/lab\/cmd \{/],
  [["worker_host", "list"], 0, /^\[\{"id":"/],
  [["worker_host", "list", "--no-wait"], 0, /^halloween\/worker_host\/cmd \{/],
  [["broadcast", "stop"], 0, /^halloween\/broadcast\/cmd \{/],
  [["nosuch", "arm", "--no-wait"], 1, /^nothing has the id "nosuch": "npx worker-host list" says what runs\n$/],
  [["nosuch", "arm"], 1, /^nothing has the id "nosuch"|^nobody takes commands for nosuch/],
  [["gone_hw", "arm", "--no-wait"], 1, /^gone_hw is offline\n$/],
  [["bad", "arm", "--no-wait"], 1, /^bad is failed: .*no \\u001b\[31mheater/],
  [["bad", "arm"], 1, /^bad is failed: |^nobody takes commands for bad/],
];

test("send to what is not there says so and ends with 1, on every broker; to what is there it doesn't", async () => {
  const { client, broker } = await haunt();
  await client.publish("halloween/gone_hw/status/availability", "offline", { retain: true });
  await fourAtATime(CASES, async ([args, code, says]) => {
    const answer = await runCli(["send", ...args], { env: { MQTT_URL: broker.url } });
    expect(answer.code, args.join(" ")).toBe(code);
    expect(answer.stdout + answer.stderr, args.join(" ")).toMatch(says);
  });
});

test("a command from start() to what is not there yet is a warning that names it; whenOnline waits for it", async () => {
  const { client, add } = await haunt();
  const chief = workerSource(`async start() {
      await this.command("lamp_typo", "glow");
      await this.command("lamp", "glow", "early");
      this.spawn(async () => {
        await this.whenOnline("lamp", "chief");
        await this.command("lamp", "glow", "late");
      });
    }
    async do_show() {
      await this.requireOnline("lamp", "lamp_typo", "gone_hw");
      this.telemetry("shows", 1);
    }`);
  await add({ "chief/backend/worker.ts": chief });
  const warned = (id: string) =>
    client.expect("halloween/chief/status/warn", `"glow" went to ${id}, which is not there: nothing has that id`);
  await Promise.all([warned("lamp_typo"), warned("lamp")]);
  await add({ "lamp/backend/worker.ts": workerSource("do_glow(when) { this.telemetry('glows', when); }") });
  expect(await client.expect("halloween/lamp/telemetry/glows")).toBe("late");
  await client.barrier();
  expect(client.texts("halloween/chief/status/warn")).toHaveLength(2);
  await client.publish("halloween/gone_hw/status/availability", "offline", { retain: true });
  await client.command("chief", { action: "show", reply_to: "halloween/cli/reply/show" });
  expect(JSON.parse(await client.expect("halloween/cli/reply/show"))).toMatchObject({
    status: "error",
    error:
      "Error: lamp_typo is not there: nothing has that id; gone_hw is not there: nobody runs it, or its board is off",
  });
  expect(client.texts("halloween/chief/telemetry/shows")).toEqual([]);
});

class Conductor extends BaseWorker {
  override async start() {
    await super.start();
    await this.command("fogger", "fire");
    this.spawn(async () => {
      await this.whenOnline("fogger", "lamp");
      this.state = "ready";
    });
  }

  async do_wait() {
    await this.whenOnline("strobe");
  }
}

test("in a test of a worker the others are there unless they say otherwise; whenOnline ends with what it is called in", async () => {
  const conductor = await startWorker(Conductor);
  onTestFinished(() => conductor.stop());
  await conductor.advance(1000);
  expect(await conductor.state()).toBe("ready");
  expect(conductor.messages.filter(({ topic }) => topic.endsWith("/warn"))).toEqual([]);
  const strobe = "halloween/strobe/status/availability";
  await conductor.publish(strobe, "offline", { retain: true });
  const waiting = conductor.call("wait").catch((error: Error) => error.message);
  await conductor.advance(10_000);
  await conductor.send("stop");
  expect(await waiting).toMatch(/aborted/);
  const again = conductor.call("wait");
  await conductor.advance(1000);
  await conductor.publish(strobe, "online", { retain: true });
  await again;
  await expect(conductor.worker.whenOnline("no id")).rejects.toThrow(/is no prop's id/);
});
