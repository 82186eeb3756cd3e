import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { startBroker, type TestBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";
import { type RunningCli, startCli } from "./harness/running-cli.ts";

interface Recorded {
  ms: number;
  topic: string;
  payload?: string;
  base64?: string;
  qos: number;
  retain: boolean;
}

async function startWatch(broker: TestBroker, args: string[] = [], cwd = makeFolder()): Promise<RunningCli> {
  const cli = startCli(["watch", "--mqtt-url", broker.url, ...args], { cwd });
  await cli.notesThat(/^watching .*; Ctrl-C ends it$/);
  return cli;
}

function recorded(path: string): Recorded[] {
  const [, ...lines] = readFileSync(path, "utf8").trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as Recorded);
}

/** A recording of these messages, by hand. */
function recordingOf(messages: Partial<Recorded>[]): string {
  const path = join(makeFolder(), "show.jsonl");
  const lines = messages.map((message) => ({ ms: 0, topic: "", payload: "", qos: 1, retain: false, ...message }));
  const head = { recording: 1, prefix: "halloween", started: "2026-10-31T20:00:00.000Z" };
  writeFileSync(path, [head, ...lines].map((line) => `${JSON.stringify(line)}\n`).join(""));
  return path;
}

function replay(broker: TestBroker, file: string, ...args: string[]) {
  return runCli(["replay", "--mqtt-url", broker.url, file, ...args]);
}

describe("worker-host watch", () => {
  test("prints time, prop, key and value, JSON on one line", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url, []);
    await client.publish("halloween/fogger/state", "idle", { retain: true });
    const cli = await startWatch(broker);
    await client.publish("halloween/fogger/telemetry/motor/left", '{\n  "a b": 1.50,\n  "c": [1, 2]\n}');
    await client.publish("halloween/fogger/telemetry/bytes", Buffer.from([0xff, 0x00]));
    expect(await cli.says(/bytes/)).toMatch(/^\d\d:\d\d:\d\d\.\d{3} fogger +telemetry\/bytes +\(2 bytes: ff00\)$/);
    expect(cli.lines.all[0]).toMatch(/^[\d:.]+ fogger +state +\(retained\) idle$/);
    expect(cli.lines.all[1]).toMatch(/ fogger +telemetry\/motor\/left +\{"a b":1\.50,"c":\[1,2\]\}$/);
    expect(await cli.stop()).toBe(0);
  });

  test("with --json, prints an object on each line", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url, []);
    const cli = await startWatch(broker, ["--json"]);
    await client.publish("halloween/fogger/state", "idle");
    await client.publish("halloween/fogger/telemetry/bytes", Buffer.from([0xff]), { qos: 0 });
    await cli.says(/bytes/);
    const [first, second] = cli.lines.all.map((line) => JSON.parse(line) as Recorded);
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/);
    expect(first).toEqual({ time, topic: "halloween/fogger/state", payload: "idle", qos: 1, retain: false });
    expect(second).toMatchObject({ base64: "/w==", qos: 0 });
  });

  test.each([
    ["fogger", ["halloween/fogger/state", "halloween/fogger/telemetry/level"]],
    ["fogger/telemetry", ["halloween/fogger/telemetry/level"]],
    ["fogger/telemetry/level", ["halloween/fogger/telemetry/level"]],
    ["zigbee2mqtt/#", ["zigbee2mqtt/lamp"]],
    ["halloween/lamp/state", ["halloween/lamp/state"]],
  ])("takes %s for a filter", async (filter, topics) => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url, []);
    const cli = await startWatch(broker, ["--json", filter]);
    const others = ["halloween/fogger/state", "halloween/lamp/state", "zigbee2mqtt/lamp"];
    for (const topic of [...others, "halloween/fogger/telemetry/level"]) await client.publish(topic, "x");
    const last = topics.at(-1) ?? "";
    await client.publish(last, "end");
    await cli.says(/"end"/);
    const seen = cli.lines.all.map((line) => (JSON.parse(line) as Recorded).topic);
    expect([...new Set(seen)].sort()).toEqual(topics);
  });

  test("refuses a filter that is none, and says where no broker is", async () => {
    expect(await runCli(["watch", "fo#gger"])).toMatchObject({ code: 2, stdout: "" });
    const away = await runCli(["watch", "--mqtt-url", "mqtt://127.0.0.1:9"]);
    expect(away).toMatchObject({ code: 1, stderr: expect.stringMatching(/^no broker at mqtt:\/\/127\.0\.0\.1:9 /) });
  });

  test("shows what a terminal would obey written out, in topics and payloads", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url, []);
    for (const args of [[], ["--json"]]) {
      const cli = await startWatch(broker, args);
      await client.publish("halloween/fog\u202eger/telemetry/x", "\u001b[2J\u009b31m\r\n\u0007\u202e\u2028");
      await client.publish("halloween/fogger/telemetry/x", '{"a": "\u009b31m"}');
      await client.publish("halloween/fogger/telemetry/end", "end");
      await cli.says(/end/);
      expect(cli.lines.all.length).toBe(3);
      const all = cli.lines.all.join("\n");
      expect(all).toContain("\\u202e");
      expect(all).toContain("\\u001b[2J\\u009b31m\\r\\n\\u0007\\u202e\\u2028");
      // biome-ignore lint/suspicious/noControlCharactersInRegex: it is about them
      expect(all).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e\u2028]/);
    }
  });

  test("ends when nobody takes what it prints", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url, []);
    const cli = await startWatch(broker);
    cli.hangUp();
    await client.publish("halloween/fogger/state", "one");
    await client.publish("halloween/fogger/state", "two");
    expect(await cli.ended()).toBe(0);
  });

  test("goes on after the broker was away", async () => {
    const broker = await startBroker();
    const cli = await startWatch(broker);
    await broker.stop();
    await cli.notesThat(/trying again until it works$/);
    await broker.start();
    await cli.notesThat(/^connected again$/);
    const client = await TestClient.connect(broker.url, []);
    await client.publish("halloween/fogger/state", "back");
    await cli.says(/back/);
  });
});

describe("secrets", () => {
  test("are in no log file, in nothing that is watched, and in no recording", async () => {
    const broker = await startBroker({ user: { username: "haunt", password: "br0ker-pass" } });
    const login = { username: "haunt", password: "br0ker-pass" };
    const client = await TestClient.connect(broker.url, ["halloween/#"], login);
    const env = { MQTT_USERNAME: "haunt", MQTT_PASSWORD: "br0ker-pass", LAMP_PASSWORD: "br0ker-pass" };
    const cwd = makeFolder();
    const watching = ["watch", "--mqtt-url", broker.url, "--record", "show.jsonl"];
    const cli = startCli(watching, { cwd, env });
    await cli.notesThat(/^watching/);
    const worker = workerSource(
      `static config = z.object({ key: z.string().meta({ secret: true }), pin: z.number().meta({ secret: true }) });
       do_tell() {
         this.log.info({ config: this.config }, \`key \${this.config.key}\`);
         console.log(this.config, JSON.stringify({ nested: JSON.stringify(this.config) }));
         this.log.warn(process.env.LAMP_PASSWORD);
         this.telemetry("told", 1);
       }
       do_end() { throw new Error(\`no \${this.config.key}\`); }`,
      'import { z } from "worker-host";',
    );
    const host = await startHost({
      broker,
      cwd,
      env,
      props: { "safe/backend/worker.ts": worker, "safe/backend/config.yaml": 'key: "f1rst\\"key"\npin: 44556677\n' },
    });
    await client.command("safe", "tell");
    await client.expect("halloween/safe/telemetry/told");
    const args = { id: "safe", config: { key: "s3cond-key" } };
    await client.command("worker_host", { action: "configure", args, reply_to: "halloween/cli/reply/c" });
    expect(await client.expect("halloween/cli/reply/c")).toMatch(/"ok"/);
    await client.command("worker_host", 'configure {"id": "safe", "config": {"key": "th1rd-key"}}');
    await client.command("worker_host", '{"action": "configure", "args": {"config": {"key": "f0urth-key"}');
    await client.expect("halloween/worker_host/status/warn", /not JSON/);
    await client.command("safe", "tell");
    await cli.says(/told/);
    await host.stop();
    await client.publish("halloween/end", "x");
    await cli.says(/ end/);
    await cli.stop();
    const logs = readdirSync(join(cwd, "data/logs")).map((name) => readFileSync(join(cwd, "data/logs", name), "utf8"));
    expect(logs.join("")).toContain("[hidden]");
    const all = [...logs, host.stdout, cli.lines.all.join("\n"), readFileSync(join(cwd, "show.jsonl"), "utf8")].join(
      "",
    );
    for (const secret of ["f1rst", "44556677", "s3cond", "th1rd", "f0urth", "br0ker-pass"])
      expect(all).not.toContain(secret);
    expect(all).toContain('\\"config\\":\\"[hidden]\\"');
    for (const line of logs.join("").trimEnd().split("\n")) expect(() => JSON.parse(line)).not.toThrow();
  });
});

describe("worker-host watch --record and worker-host replay", () => {
  test("publish again what was said, in its order and with its timing", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url, []);
    const cwd = makeFolder();
    const cli = await startWatch(broker, ["--record", "show.jsonl"], cwd);
    for (let i = 0; i < 20; i++) await client.publish("halloween/fogger/telemetry/i", String(i));
    await client.publish("halloween/fogger/telemetry/bytes", Buffer.from([0xff, 0x01]));
    await client.publish("halloween/fogger/state", "armed", { retain: true });
    await cli.says(/armed/);
    expect(await cli.stop()).toBe(0);
    expect(await cli.notesThat(/recorded/)).toBe("22 messages are recorded in show.jsonl");
    expect(recorded(join(cwd, "show.jsonl")).map(({ ms }) => ms)).toEqual(
      recorded(join(cwd, "show.jsonl"))
        .map(({ ms }) => ms)
        .toSorted((a, b) => a - b),
    );
    const rehearsal = await TestClient.connect(broker.url, ["rehearsal/#"]);
    const { code, stdout } = await replay(broker, join(cwd, "show.jsonl"), "--mqtt-prefix", "rehearsal");
    expect(stdout).toMatch(/^22 messages were published in \d+\.\d s, none of them retained\n$/);
    expect(code).toBe(0);
    await rehearsal.barrier();
    expect(rehearsal.texts("rehearsal/fogger/telemetry/i")).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
    const late = await TestClient.connect(broker.url, ["rehearsal/#"]);
    await late.barrier();
    expect(late.seen.all.filter(({ topic }) => topic.startsWith("rehearsal"))).toEqual([]);
  });

  test("keep the time between two messages, or less of it", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    const topic = "halloween/fogger/telemetry/x";
    const short = recordingOf([
      { topic, payload: "1" },
      { ms: 1500, topic, payload: "2" },
    ]);
    const began = performance.now();
    expect(await replay(broker, short)).toMatchObject({ code: 0 });
    await client.expect(topic, "2");
    expect(performance.now() - began).toBeGreaterThan(1500);

    // In ten minutes otherwise.
    const long = recordingOf([
      { topic, payload: "3" },
      { ms: 600_000, topic, payload: "4" },
    ]);
    expect(await replay(broker, long, "--speed", "6000")).toMatchObject({ code: 0 });
    await client.expect(topic, "4");
    expect(client.texts(topic)).toEqual(["1", "2", "3", "4"]);
  });

  test("leave out what decides, and commands unless they are asked for", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    const said = [
      "fogger/status/availability",
      "fogger/status/lock_out",
      "fogger/description",
      "fogger/reply/a",
      "worker_host/status/all_stop",
      "worker_host/status/warn",
      "attic/uptime",
      "attic/status/warn",
      "fogger/state",
    ].map((rest) => ({ topic: `halloween/${rest}`, payload: "online" }));
    const runstate = JSON.stringify({ state: "running", since: "2026-10-31T20:00:00.000Z", host: "cellar" });
    const file = recordingOf([
      ...said,
      { topic: "halloween/fogger/status/runstate", payload: runstate, retain: true },
      { topic: "zigbee2mqtt/lamp/set", payload: "ON" },
      { topic: "halloween/fogger/cmd", payload: "start 3000" },
      { topic: "halloween/fogger/cmd", payload: '{"action": "fire", "args": 1, "id": "old", "expires_at": 1}' },
      { topic: "halloween/fogger/cmd", payload: "retained", retain: true },
      { topic: "halloween/loft/cmd", payload: "all_clear" },
      ...["worker_host", "attic", "cellar"].map((id) => ({ topic: `halloween/${id}/cmd`, payload: "list" })),
    ]);
    const without = await replay(broker, file);
    expect(without.code).toBe(0);
    expect(without.stdout.trimEnd().split("\n")).toEqual([
      expect.stringMatching(/^1 messages were published/),
      expect.stringMatching(/^left out: 12 of hosts, availability/),
      "left out: 1 outside the recording's prefix",
      "left out: 4 commands (--commands sends them)",
    ]);
    await client.barrier();
    expect(client.seen.all.map(({ topic }) => topic).filter((topic) => !topic.startsWith("test/"))).toEqual([
      "halloween/fogger/state",
    ]);
    const { stdout } = await replay(broker, file, "--commands");
    expect(stdout).toContain("left out: 2 commands that can't be sent again");
    await client.barrier();
    const [text, json, ...more] = client.texts("halloween/fogger/cmd");
    expect(text).toBe("start 3000");
    expect(JSON.parse(json ?? "")).toEqual({ action: "fire", args: 1, id: expect.not.stringMatching(/^old$/) });
    expect(more).toEqual([]);
    expect(client.seen.all.filter(({ topic }) => /(worker_host|attic|cellar|loft|lamp)/.test(topic))).toEqual([]);
  });

  test("refuse what is no recording, with its line, before anything is said", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    const good = { topic: "halloween/fogger/state", payload: "idle", ms: 5 };
    const bad: [string, string, RegExp][] = [
      ["", "", /:1: it is no recording: /],
      ["", "hello\n", /:1: it is no recording: /],
      ["", '{"recording": 2, "prefix": "halloween"}\n', /:1: it is a recording of another version/],
      [recordingOf([good]), "oops\n", /:3: expected "ms"/],
      [recordingOf([good, { ...good, ms: 4 }]), "", /:3: expected "ms" to be a number, 5 or more/],
      [recordingOf([good, { ...good, topic: "halloween/#" }]), "", /:3: can't publish to "halloween\/#"/],
      [recordingOf([good, { ...good, qos: 7 }]), "", /:3: expected "qos"/],
    ];
    for (const [from, more, fault] of bad) {
      const path = join(makeFolder(), "bad.jsonl");
      writeFileSync(path, `${from === "" ? "" : readFileSync(from, "utf8")}${more}`);
      const { code, stderr } = await replay(broker, path);
      expect(stderr).toMatch(fault);
      expect(code).toBe(1);
    }
    expect((await replay(broker, "nowhere.jsonl")).stderr).toMatch(/^nowhere\.jsonl: ENOENT/);
    for (const speed of ["0", "-1", "fast"]) {
      expect(await replay(broker, recordingOf([good]), `--speed=${speed}`)).toMatchObject({
        code: 2,
        stderr: `--speed ${speed}: expected a number greater than 0, such as 2 or 0.5\n`,
      });
    }
    await client.barrier();
    expect(client.texts("halloween/fogger/state")).toEqual([]);
  });

  test("write over no file", async () => {
    const broker = await startBroker();
    const cwd = makeFolder({ "show.jsonl": "mine" });
    const cli = startCli(["watch", "--mqtt-url", broker.url, "--record", "show.jsonl"], { cwd });
    expect(await cli.ended()).toBe(1);
    expect(cli.notes.all).toEqual(["show.jsonl: it is there already: name another one"]);
    expect(readFileSync(join(cwd, "show.jsonl"), "utf8")).toBe("mine");
  });
});
