import { readdirSync, readFileSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { BaseWorker, duration, type Telemetry, z } from "worker-host";
import { type StartWorkerOptions, startWorker } from "worker-host/testing";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";

class Lantern extends BaseWorker<z.infer<typeof Lantern.config>> {
  static description = "A lantern";
  static version = "1.2.0";
  static config = z.object({
    glow_ms: duration().default(5000),
    token: z.string().meta({ secret: true }).default("t0psecret"),
    wifi: z.object({ name: z.string().default("haunt"), password: z.string().meta({ secret: true }) }).optional(),
  });
  static telemetry: Telemetry = { level: { unit: "%", type: "number", retain: true } };

  override onConfig() {}

  do_glow() {}

  do_add() {
    this.addCommand("dim", { description: "Dim it", args: z.number().max(100), timeoutMs: 700 }, (level) => {
      this.telemetry("level", level);
      return level / 2;
    });
  }

  do_remove() {
    return this.removeCommand("dim");
  }

  do_move(where: string) {
    this.describe({ area: where, telemetry: { heat: { unit: "°C" }, level: null }, moved: true });
  }
}

async function start(options: StartWorkerOptions = {}) {
  const lantern = await startWorker(Lantern, { id: "lantern", ...options });
  onTestFinished(() => lantern.stop());
  return lantern;
}

test("a worker describes itself: class, commands, telemetry, and its config without secrets", async () => {
  const lantern = await start({
    config: { glow_ms: "2s", token: "s3cret", wifi: { password: "pa55" }, mistyped: "s3cret2" },
  });
  expect(lantern.description).toMatchObject({
    contract: 1,
    id: "lantern",
    class: "lantern",
    version: "1.2.0",
    description: "A lantern",
    commands: { add: {}, glow: {}, move: {}, remove: {} },
    telemetry: { level: { unit: "%", type: "number", retain: true } },
    config: {
      schema: { type: "object", properties: { token: { type: "string", secret: true } } },
      values: { glow_ms: "2s", wifi: { name: "haunt" } },
    },
  });
  const text = JSON.stringify(lantern.messages);
  for (const secret of ["s3cret", "pa55", "t0psecret"]) expect(text).not.toContain(secret);
});

test("what is secret stands nowhere in what is said of it, in whichever way the schema is put together", async () => {
  const secret = z.string().meta({ secret: true });
  class Vault extends BaseWorker {
    static config = z.object({
      deep: z.object({ pin: secret, port: z.number() }).default({ pin: "s3cret", port: 1 }),
      pair: z.tuple([z.number(), secret]).optional(),
      list: z.array(secret).default(["s3cret"]),
      code: z
        .union([z.literal("s3cret"), z.literal("other")])
        .meta({ secret: true })
        .optional(),
      both: z
        .union([z.union([z.string(), z.boolean()]).meta({ secret: true }), z.number()])
        .nullable()
        .optional(),
      whole: z.object({ word: z.string().default("s3cret") }).meta({ secret: true, examples: [{ word: "s3cret" }] }),
    });
  }
  const config = {
    deep: { pin: "s3cret", port: 2 },
    pair: [1, "s3cret"],
    list: ["s3cret"],
    code: "s3cret",
    both: "s3cret",
  };
  const vault = await startWorker(Vault, { config: { ...config, whole: { word: "s3cret" } } });
  onTestFinished(() => vault.stop());
  expect(vault.description?.config).toMatchObject({ values: { deep: { port: 2 } } });
  expect(JSON.stringify(vault.messages)).not.toContain("s3cret");
  // What stands beside it is wrong, and quoted.
  class Picky extends BaseWorker {
    static config = z.object({ deep: z.object({ pin: secret }).refine(() => false, { error: "expected another" }) });
  }
  await expect(startWorker(Picky, { config: { deep: { pin: "s3cret" } } })).rejects.toThrow(
    'deep: expected another, got {"pin":"[hidden]"}',
  );
});

test("it changes in the same moment as what it describes", async () => {
  const lantern = await start();
  await lantern.send("add");
  expect(lantern.description?.commands.dim).toEqual({
    description: "Dim it",
    args: { type: "number", maximum: 100 },
    timeout_ms: 700,
  });
  expect(await lantern.call("dim", 50)).toBe(25);
  expect(await lantern.telemetry("level")).toBe(50);
  await expect(lantern.call("dim", "bright")).rejects.toMatchObject({ code: "refused" });
  await lantern.send("add");
  expect(await lantern.status("error")).toMatch(/there is a command "dim" already: remove it first/);
  expect(await lantern.call("remove")).toBe(true);
  // It follows the reply.
  await lantern.advance(0);
  expect(lantern.description?.commands).not.toHaveProperty("dim");
  expect(await lantern.call("remove")).toBe(false);

  await lantern.send("move attic");
  expect(lantern.description).toMatchObject({ area: "attic", moved: true, telemetry: { heat: { unit: "°C" } } });
  expect(lantern.description?.telemetry).not.toHaveProperty("level");
  await lantern.configure({ glow_ms: 7 });
  expect(lantern.description?.config).toMatchObject({ values: { glow_ms: 7 } });
});

test("a declared key is retained; what is declared wrongly is told", async () => {
  const lantern = await start();
  await lantern.send("add");
  await lantern.send("dim 5");
  class Wrong extends BaseWorker {
    static telemetry = { level: { unit: 5 } };
  }
  await expect(startWorker(Wrong)).rejects.toThrow(/static properties: telemetry\.level\.unit: expected string, got 5/);
  class Liar extends BaseWorker {
    override async start() {
      this.describe({ commands: {} });
    }
  }
  await expect(startWorker(Liar)).rejects.toThrow(/describe: "commands" is said by the host: leave it out/);
});

test("a worker can't say that it is a board", async () => {
  class Pretender extends BaseWorker {
    override async start() {
      this.describe({ board: "esp32" });
    }
  }
  await expect(startWorker(Pretender)).rejects.toThrow(/describe: "board" is said by boards: name it otherwise/);
});

test("a call waits as long as its target gives that command, and a grace; without a description 30 s", async () => {
  class Caller extends BaseWorker {
    async do_ask(action: string) {
      await this.call("other", action);
    }
  }
  const caller = await startWorker(Caller);
  onTestFinished(() => caller.stop());
  const description = { contract: 1, id: "other", commands: { quick: { timeout_ms: 1000 }, odd: { timeout_ms: "x" } } };
  await caller.publish("halloween/other/description", JSON.stringify(description), { retain: true });
  await caller.send("ask quick");
  await caller.advance(1400);
  expect(caller.messages.filter(({ topic }) => topic.endsWith("status/error"))).toEqual([]);
  await caller.advance(200);
  expect(await caller.status("error")).toMatch(/other quick: no reply in 1500 ms/);
  for (const action of ["odd", "constructor", "slow"]) {
    await caller.send(`ask ${action}`);
    await caller.advance(29_000);
    await caller.advance(1_100);
    expect(await caller.status("error")).toContain(`other ${action}: no reply in 30000 ms`);
  }
});

test("a command to a prop that is known to be absent is a warning on the sender's status", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url, ["halloween/+/status/#", "halloween/+/telemetry/#"]);
  await client.publish("halloween/gone_hw/status/availability", "offline", { retain: true });
  const source = workerSource("async do_tell(id) { this.telemetry('sent', await this.command(id, 'start')); }");
  await startHost({ broker, props: { "lab/backend/worker.ts": source, "good/backend/worker.ts": workerSource() } });
  await client.command("lab", "tell gone_hw");
  await client.expect("halloween/lab/status/warn", /^"start" went to gone_hw, which is not there/);
  await client.command("lab", "tell good");
  await client.expect("halloween/good/status/warn", /unknown action "start"/);
  await client.command("lab", "tell never_seen");
  await client.expect("halloween/lab/status/warn", /^"start" went to never_seen, which is not there/);
  expect(client.texts("halloween/lab/status/warn").filter((text) => text.includes("good"))).toEqual([]);
});

test("loop(): again and again, with the class's interval; store and dataDir outlive the worker", async () => {
  class Pulse extends BaseWorker {
    static loopIntervalMs = 60_000;
    override async loop() {
      const count = (this.store.get<number>("count") ?? 0) + 1;
      await this.store.set("count", count);
      this.telemetry("pulse", count);
      if (count === 2) this.pauseLoop();
    }
    do_resume() {
      this.resumeLoopIn(5000);
    }
    do_where() {
      return this.dataDir;
    }
    do_write(name: string) {
      return this.writeFile(name, Buffer.from([name.length]));
    }
    do_exec() {
      return this.exec("echo", ["hello", 5]);
    }
  }
  const pulse = await startWorker(Pulse);
  onTestFinished(() => pulse.stop());
  expect(await pulse.telemetry("pulse")).toBe(1);
  await pulse.advance(60_500);
  expect(await pulse.telemetry("pulse")).toBe(2);
  await pulse.advance(600_000);
  await pulse.send("resume");
  await pulse.advance(5_500);
  expect(await pulse.telemetry("pulse")).toBe(3);
  expect(await pulse.call("exec")).toEqual({ stdout: "hello 5\n", stderr: "" });
  const folder = String(await pulse.call("where"));
  expect(JSON.parse(readFileSync(`${folder}/store.json`, "utf8"))).toEqual({ count: 3 });
  for (const name of ["a.bin", "scores_2.json"]) {
    await pulse.call("write", name);
    await pulse.call("write", name);
    expect(readFileSync(`${folder}/${name}`)).toEqual(Buffer.from([name.length]));
  }
  for (const name of ["store.json", "../x", "a/b", ".hidden", "", "..", "x".repeat(201), "a\u0000"])
    await expect(pulse.call("write", name)).rejects.toThrow(/can't be a file's name: .* such as "scores.json"/);
  expect(readdirSync(folder).sort()).toEqual(["a.bin", "scores_2.json", "store.json"]);
});
