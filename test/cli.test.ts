import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { transform } from "esbuild";
import mqtt from "mqtt";
import { describe, expect, onTestFinished, test } from "vitest";
import { freePort } from "../bench/ports.mjs";
import { systemClock } from "../worker-host/base/clock.ts";
import { send } from "../worker-host/cli/send.ts";
import type { WorkerSummary } from "../worker-host/contract/description.ts";
import { resolveSettings } from "../worker-host/host/settings/settings.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { BIN, cleanEnvironment, fourAtATime, ROOT, runCli, startHost } from "./harness/host.ts";
import { Happenings, patiently } from "./harness/wait.ts";

const ECHO = workerSource("onCommand(action, args) { this.telemetry(action, { args }); }");
const PROPS = {
  "fogger/backend/worker.ts": ECHO,
  "fogger/backend/config.yaml": "interval: 5",
  "broken/backend/worker.ts": "export const nothing = 1;\n",
  "old/backend/worker.py": "",
};

describe("help", () => {
  test("each has an example", async () => {
    await fourAtATime(["", "run", "list", "send", "board rename"], async (command) => {
      const { code, stdout, stderr } = await runCli([...command.split(" ").filter(Boolean), "--help"]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toMatch(new RegExp(`^Usage: worker-host ${command}`));
      expect(stdout).toMatch(new RegExp(`\\nExample:\\n  worker-host ${command}.+\\n`));
    });
  });

  test("--version", async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
    expect(await runCli(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
  });
});

const NOT_UNDERSTOOD: [string[], RegExp][] = [
  [["--mqtt-hots", "x"], /unknown option '--mqtt-hots'.*\n.*Did you mean --mqtt-host\?/],
  [["send", "fogger", "start", "--nope"], /unknown option '--nope'/],
  [["lst"], /there is no command "lst"; did you mean "npx worker-host list"\?/],
  [["dance"], /there is no command "dance"; there are: run, simulate, access, console, list, send, .*board/],
  [["--broker-port", "1", "list"], /the command comes first, then its options: npx worker-host list --…/],
  [["list", "fogger"], /too many arguments for 'list'/],
  [["send"], /missing required argument 'id'/],
  [["send", "fog.ger", "start"], /"fog\.ger" is no prop's id: expected letters, digits, "_" and "-", such as "fogger"/],
  [["send", "fogger", "start 3000"], /"start 3000" is no action: expected one word, such as "start"/],
  [["send", "fogger", "start", "--json", "{x: 1}"], /--json \{x: 1\}: not JSON .*single quotes/],
  [["send", "fogger", "start", "3000", "--json", "1"], /either arguments or --json, not both/],
  [["send", "fogger", "start", "--json"], /option '--json <value>' argument missing/],
  [["board", "rename", "fogger"], /missing required argument 'new-id'/],
  [["board", "rename", "fog.ger", "fogger_hw"], /"fog\.ger" is no prop's id: expected letters/],
  [["board", "rename", "fogger", "fogger hw"], /"fogger hw" can't be an id: .* such as "fogger_hw"/],
  [["board", "rename", "fogger", "broadcast"], /"broadcast" is reserved/],
  [["board", "rename", "fogger", "fogger"], /the board has the id "fogger" already: give another/],
  [["board", "renmae"], /unknown command 'renmae'.*\n.*Did you mean rename\?/],
  [["--log-level", "loud"], /--log-level: expected one of trace, .*got "loud"/],
];

test("what isn't understood ends with 2 and a sentence", async () => {
  await fourAtATime(NOT_UNDERSTOOD, async ([args, says]) => {
    const { code, stdout, stderr } = await runCli(args);
    expect(stderr, args.join(" ")).toMatch(says);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect({ code, stdout }, args.join(" ")).toEqual({ code: 2, stdout: "" });
  });
});

/** The columns of a table, by its first one. */
function rowsOf(table: string): Record<string, string[]> {
  return Object.fromEntries(
    table
      .trim()
      .split("\n")
      .map((line) => line.split(/ {2,}/))
      .map(([first = "", ...others]) => [first, others]),
  );
}

test("what is printed into a pipe that nobody reads any more ends without a word", async () => {
  const piped = 'set -o pipefail; "$0" "$@" | true';
  await fourAtATime([["list", "--help"], ["--help"], ["--version"]], async (args) => {
    const { code, stderr } = await runCli(args, { command: ["bash", "-c", piped, process.execPath, BIN] });
    expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: "" });
  });
});

describe("list", () => {
  test("without a host, what would load", async () => {
    const cwd = makeFolder(Object.fromEntries(Object.entries(PROPS).map(([path, text]) => [`props/${path}`, text])));
    const args = ["list", "--broker-port", String(await freePort()), "--disable-all-builtins"];
    const { code, stdout, stderr } = await runCli([...args, "--props-disable", "broken"], { cwd });
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /^no broker at mqtt:\/\/127\.0\.0\.1:\d+ \(.*ECONNREFUSED.*\): .*this is what would load:\n$/,
    );
    const { heartbeat: _, console: __, ...rows } = rowsOf(stdout);
    expect(rows).toEqual({
      id: ["runstate", "board", "file", "config", "remark"],
      broken: ["skipped", "-", "props/broken/backend/worker.ts", "-", "in WORKER_PROPS_DISABLE"],
      fogger: ["would load", "-", "props/fogger/backend/worker.ts", "props/fogger/backend/config.yaml"],
      old: ["skipped", "-", "props/old/backend/worker.py", "-", expect.stringContaining("docs/porting-from-python.md")],
    });

    const json = await runCli([...args, "--json"], { cwd });
    expect(json.code).toBe(0);
    const workers = JSON.parse(json.stdout) as WorkerSummary[];
    expect(workers.find(({ id }) => id === "fogger")).toEqual({
      id: "fogger",
      file: "props/fogger/backend/worker.ts",
      config: "props/fogger/backend/config.yaml",
      state: "would load",
    });

    const running = await runCli([...args, "--running"], { cwd });
    expect(running).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/^no broker at/) });
  });

  test("with no worker at all, says so", async () => {
    const args = ["list", "--only-own-builtins"];
    const { code, stdout } = await runCli([...args, "--broker-port", String(await freePort())]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "no worker\n" });
  });

  test("with a host, what it runs", async () => {
    const host = await startHost({ props: PROPS });
    const args = ["list", "--broker-port", String(await host.port())];
    const { code, stdout, stderr } = await runCli(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const rows = rowsOf(stdout);
    expect(Object.keys(rows)).toEqual(["id", "broken", "fogger", "old"]);
    expect(rows.fogger).toEqual([
      "running",
      "-",
      expect.stringMatching(/fogger\/backend\/worker\.ts$/),
      expect.stringMatching(/fogger\/backend\/config\.yaml$/),
    ]);
    expect(rows.broken).toEqual([
      "failed",
      "-",
      expect.anything(),
      "-",
      expect.stringContaining("exports no class Worker"),
    ]);

    const json = await runCli([...args, "--json", "--running"]);
    const workers = JSON.parse(json.stdout) as WorkerSummary[];
    expect(workers.map(({ id, state }) => `${id} ${state}`)).toEqual([
      "broken failed",
      "fogger running",
      "old skipped",
    ]);

    expect(await host.stop()).toMatchObject({ code: 0 });
  });

  test("the host of this folder is found at whatever port it has picked", async () => {
    const host = await startHost({ props: PROPS });
    const { cwd } = host;
    for (const more of [[], ["--broker-port", "0"]]) {
      const { code, stdout, stderr } = await runCli(["list", "--running", ...more], { cwd });
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toContain("fogger");
    }
    expect(await runCli(["send", "fogger", "fire", "7"], { cwd })).toMatchObject({ code: 0, stderr: "" });
    // What a host is told by its author is answered.
    expect(await runCli(["send", "worker_host", "reload", "foger"], { cwd })).toMatchObject({
      code: 1,
      stderr: 'worker_host reload: there is no worker "foger"; did you mean "fogger"?\n',
    });
    expect(await runCli(["send", "worker_host", "reload", "fogger"], { cwd })).toMatchObject({ code: 0 });
    // A port that is named is the one.
    const other = await runCli(["list", "--running", "--broker-port", String(await freePort())], { cwd });
    expect(other).toMatchObject({ code: 1, stderr: expect.stringMatching(/^no broker at/) });
    await host.stop();
    const gone = await runCli(["list", "--running", "--broker-port", "0"], { cwd });
    expect(gone).toMatchObject({ code: 1, stderr: expect.stringMatching(/^port 0 lets .*no host runs on the folder/) });
  });

  test("of a host that has stopped, the broker's word is not taken for a running one", async () => {
    const broker = await startBroker();
    const host = await startHost({ broker, props: PROPS });
    const env = { MQTT_URL: broker.url };
    expect((await runCli(["list", "--running"], { env })).stdout).toContain("fogger");
    await host.stop();
    const asked = await runCli(["list", "--running"], { env });
    expect(asked).toEqual({ code: 1, stdout: "", stderr: "no host runs on the broker\n" });
  });

  test("what somebody else wrote on the host's topic is not believed", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url, []);
    await client.publish("halloween/worker_host/status/availability", "online", { retain: true });
    for (const description of ["{oops", "null", '{"workers": 5}']) {
      await client.publish("halloween/worker_host/description", description, { retain: true });
      const { code, stderr } = await runCli(["list", "--running"], { env: { MQTT_URL: broker.url } });
      expect({ code, stderr }, description).toEqual({
        code: 1,
        stderr: "halloween/worker_host/description holds no description of a host\n",
      });
    }
  });
});

describe("send", () => {
  /** What follows the action on the command line, and the args that are to arrive. */
  const ARGS: [string[], unknown][] = [
    [[], null],
    [["hello"], "hello"],
    [["hello", "world"], "hello world"],
    [["750"], 750],
    [["-5.5"], -5.5],
    [["true"], true],
    [["null"], null],
    [["on"], "on"],
    [["007"], "007"],
    [["12345678901234567890"], "12345678901234567890"],
    [
      ["[1,", "2]"],
      [1, 2],
    ],
    [["x=1", "y=2"], "x=1 y=2"],
    [['{"x": 1}'], { x: 1 }],
    [['"750"'], "750"],
    [[""], ""],
  ];

  test("takes arguments for JSON where they are that, and for text elsewhere", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url, ["halloween/fogger/cmd"]);
    await client.publish("halloween/fogger/status/availability", "online", { retain: true });
    const settings = resolveSettings({
      flags: new Map([["mqtt_url", broker.url]]),
      env: {},
      cwd: makeFolder(),
      shippedBuiltins: "",
    });
    for (const [args, arrives] of ARGS) {
      const id = randomUUID();
      const edges = { newId: () => id, clock: systemClock, random: Math.random };
      const options = { id: "fogger", action: "set", args, wait: false, ...edges };
      const { code, text } = await send(settings, options);
      const payload = await client.expect("halloween/fogger/cmd");
      expect({ code, text }).toEqual({ code: 0, text: `halloween/fogger/cmd ${payload}` });
      expect(JSON.parse(payload), args.join(" ")).toEqual({ action: "set", args: arrives, id });
    }
    expect(client.seen.all.some(({ retain }) => retain)).toBe(false);
  });

  test("publishes one command, with an id of its own, and shows it", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url, ["halloween/+/cmd"]);
    await client.publish("halloween/fogger/status/availability", "online", { retain: true });
    const cases: [string[], object][] = [
      [["fogger", "ping", "hello", "world"], { action: "ping", args: "hello world" }],
      [["fogger", "fire", "-5.5"], { action: "fire", args: -5.5 }],
      [["fogger", "say", "--", "--loud"], { action: "say", args: "--loud" }],
      [["fogger", "move", "--json", '{"x": [1, null]}'], { action: "move", args: { x: [1, null] } }],
      [["fogger", "say", "--json", '"750"'], { action: "say", args: "750" }],
      [["broadcast", "stop"], { action: "stop", args: null }],
    ];
    const ids = new Set<string>();
    for (const [args, expected] of cases) {
      const topic = `halloween/${args[0]}/cmd`;
      const { code, stdout, stderr } = await runCli(["send", "--no-wait", ...args], { env: { MQTT_URL: broker.url } });
      expect({ code, stderr }, args.join(" ")).toEqual({ code: 0, stderr: "" });
      const payload = await client.expect(topic);
      expect(stdout).toBe(`${topic} ${payload}\n`);
      const { id, ...command } = JSON.parse(payload) as { id: string };
      expect(command).toEqual(expected);
      ids.add(id);
    }
    expect(ids.size).toBe(cases.length);
    await client.barrier();
    expect(client.seen.all.filter(({ topic }) => topic.endsWith("/cmd"))).toHaveLength(cases.length);
  });

  test("reaches a prop of the running host", async () => {
    const host = await startHost({ props: PROPS });
    const client = await TestClient.connect(await host.url());
    const { code } = await runCli(["send", "fogger", "fire", "750", "--broker-port", String(await host.port())]);
    expect(code).toBe(0);
    await client.expect("halloween/fogger/telemetry/fire", '{"args":750}');
  });

  test("with the broker away, says so and ends with 1", async () => {
    const { code, stdout, stderr } = await runCli(["send", "fogger", "start", "--mqtt-host", "127.0.0.1"], {
      env: { MQTT_PORT: String(await freePort()) },
    });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^not sent: no broker at mqtt:\/\/127\.0\.0\.1:\d+ \(.*ECONNREFUSED.*\): start one with /);
  });

  test("with wrong credentials, says so and ends with 1", async () => {
    const broker = await startBroker({ user: { username: "haunt", password: "boo" } });
    const args = ["send", "fogger", "start", "--no-wait", "--mqtt-url", broker.url, "--mqtt-username", "haunt"];
    const wrong = await runCli(args, { env: { MQTT_PASSWORD: "wrong" } });
    expect({ code: wrong.code, stdout: wrong.stdout }).toEqual({ code: 1, stdout: "" });
    expect(wrong.stderr).toMatch(
      /^not sent: mqtt:.* refuses user "haunt": wrong or missing credentials; set MQTT_USER/,
    );
    const client = await TestClient.connect(broker.url, ["#"], { username: "haunt", password: "boo" });
    await client.publish("halloween/fogger/status/availability", "online", { retain: true });
    expect((await runCli(args, { env: { MQTT_PASSWORD: "boo" } })).code).toBe(0);
    await client.expect("halloween/fogger/cmd");
  });

  test("to a port that a host is yet to pick, says what to give", async () => {
    const { code, stderr } = await runCli(["send", "fogger", "start", "--broker-port", "0"]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("give --broker-port the one that") });
  });
});

test("a port in use is told, with how to use the broker that is there, and ends with 1", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
  });
  const { port } = server.address() as { port: number };
  const { code, stderr } = await runCli(["--broker-port", String(port)]);
  expect(code).toBe(1);
  expect(stderr).toContain(`port ${port} is in use`);
  expect(stderr).toContain(`npx worker-host --mqtt-host 127.0.0.1 --mqtt-port ${port}`);
  expect(stderr).toMatch(/--broker-port \d+/);
  expect(stderr).not.toMatch(/\n\s+at /);
});

/** A worker-host at a terminal, by util-linux's `script`. */
class Terminal {
  readonly #lines = new Happenings<string>();
  readonly #child;
  readonly #exit: Promise<number | null>;

  constructor(args: string[], cwd: string, env: Record<string, string>) {
    const command = ["exec", process.execPath, BIN, ...args].map((word) => `'${word}'`).join(" ");
    this.#child = spawn("script", ["-qec", command.replace("'exec'", "exec"), "/dev/null"], {
      cwd,
      env: { ...cleanEnvironment(), SHELL: "/bin/sh", TERM: "xterm", ...env },
      stdio: ["pipe", "pipe", "inherit"],
    });
    let rest = "";
    this.#child.stdout.on("data", (data) => {
      const lines = `${rest}${data}`.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#lines.add(stripVTControlCharacters(line).trimEnd());
    });
    this.#exit = new Promise((resolve) => this.#child.once("close", resolve));
    onTestFinished(async () => {
      if (this.#child.exitCode === null) this.#child.kill("SIGTERM");
      await this.#exit;
    });
  }

  get text(): string {
    return this.#lines.all.join("\n");
  }

  /** Fulfils when a line matches. */
  async shows(line: RegExp): Promise<void> {
    await this.#lines.find((each) => line.test(each), `the line ${line}`);
  }

  /** The closing lines, once they are there. */
  async banner(): Promise<string> {
    await this.shows(/npx worker-host send/);
    const { all } = this.#lines;
    const begin = all.findIndex((line) => line.startsWith("  worker-host "));
    await this.#lines.find(() => all.indexOf("", begin) > begin, "the end of the closing lines");
    return this.text.slice(this.text.indexOf("  worker-host "));
  }

  /** Ends it as the key does. */
  async ctrlC(): Promise<number | null> {
    this.#child.stdin.write("\u0003");
    return patiently(this.#exit, () => `the end after Ctrl-C; it said:\n${this.text}`);
  }
}

/** Does what a printed mosquitto_pub line does, where no mosquitto_pub is installed. */
async function pasteMosquittoPub(line: string): Promise<void> {
  const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? "");
  const value = (flag: string) => (words.includes(flag) ? words[words.indexOf(flag) + 1] : undefined);
  expect(words[0]).toBe("mosquitto_pub");
  const [username, password] = [value("-u"), value("-P")];
  const client = await mqtt.connectAsync(`mqtt://${value("-h") ?? "127.0.0.1"}:${value("-p") ?? 1883}`, {
    protocolVersion: 4,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  });
  await client.publishAsync(value("-t") ?? "", value("-m") ?? "", { qos: 1 });
  await client.endAsync();
}

/** Pastes a printed line into another shell. */
async function paste(line: string, cwd: string, env: Record<string, string> = {}): Promise<number | null> {
  const command = line.replace(/^npx worker-host/, `'${process.execPath}' '${BIN}'`);
  const child = spawn("sh", ["-c", command], { cwd, env: { ...cleanEnvironment(), ...env }, stdio: "ignore" });
  const exit = new Promise<number | null>((resolve) => child.once("close", resolve));
  return patiently(exit, () => `the end of ${line}`);
}

const FILES = Object.fromEntries(Object.entries(PROPS).map(([path, text]) => [`props/${path}`, text]));

/** Where clients on other machines would reach this one. */
const LAN_ADDRESSES = Object.values(networkInterfaces()).flatMap((infos) =>
  (infos ?? []).filter(({ family, internal }) => family === "IPv4" && !internal).map(({ address }) => address),
);

describe.runIf(process.platform === "linux")("at a terminal", () => {
  test("the start ends with what a newcomer needs, and Ctrl-C ends it with 0", async () => {
    const cwd = makeFolder({ ...FILES, "builtins/heartbeat.ts": ECHO });
    const terminal = new Terminal(["--broker-port", "0", "--builtins", "builtins", "--only-own-builtins"], cwd, {});
    const banner = await terminal.banner();
    const url = /broker {4}(mqtt:\/\/127\.0\.0\.1:\d+) \(embedded\)\n/.exec(banner)?.[1] ?? "";
    expect(url, banner).not.toBe("");
    expect(banner).toMatch(/running {3}fogger, heartbeat\n/);
    expect(banner).toMatch(
      /failed {4}broken: props\/broken\/backend\/worker\.ts exports no class Worker .*write "export class Worker/,
    );
    expect(terminal.text).not.toMatch(/^\{/m);

    const client = await TestClient.connect(url);
    await pasteMosquittoPub(/mosquitto_pub .*/.exec(banner)?.[0] ?? "");
    await client.expect("halloween/heartbeat/telemetry/ping", '{"args":"hello"}');
    expect(await paste(/npx worker-host send .*/.exec(banner)?.[0] ?? "", cwd)).toBe(0);
    await client.expect("halloween/heartbeat/telemetry/ping", '{"args":"hello"}');

    const offline = client.expect("halloween/heartbeat/status/availability", "offline");
    expect(await terminal.ctrlC()).toBe(0);
    await offline;
  });

  test("with a broker of one's own, the lines to paste name it, and no password", async () => {
    const broker = await startBroker({ user: { username: "haunt", password: "s3cret" } });
    const cwd = makeFolder(FILES);
    const terminal = new Terminal(["--disable-all-builtins", "--props-disable", "broken"], cwd, {
      MQTT_URL: broker.url.replace("//", "//haunt:s3cret@"),
      MQTT_PREFIX: "my haunt",
    });
    const banner = await terminal.banner();
    expect(banner).toContain(`  broker    ${broker.url}\n`);
    expect(banner).not.toContain("failed");
    expect(banner).toMatch(/mosquitto_pub -p \d+ -u haunt -P "\$MQTT_PASSWORD" -t 'my haunt\/fogger\/cmd'/);
    const client = await TestClient.connect(broker.url, ["#"], { username: "haunt", password: "s3cret" });
    const line = /npx worker-host send .*/.exec(banner)?.[0] ?? "";
    expect(await paste(line, cwd, { MQTT_PASSWORD: "s3cret" }), line).toBe(0);
    await client.expect("my haunt/fogger/telemetry/ping", '{"args":"hello"}');
    expect(terminal.text).not.toContain("s3cret");
    expect(await terminal.ctrlC()).toBe(0);
  });

  test("Ctrl-C while the broker is waited for ends it with 0, and without closing lines", async () => {
    const terminal = new Terminal(
      ["--mqtt-host", "127.0.0.1", "--mqtt-port", String(await freePort())],
      makeFolder(),
      {},
    );
    await terminal.shows(/trying again until it works/);
    expect(await terminal.ctrlC()).toBe(0);
    expect(terminal.text).not.toContain("npx worker-host send");
  });

  test("--lan says how to come in from another machine and from a board", async () => {
    const cwd = makeFolder(FILES);
    const terminal = new Terminal(["--lan", "--broker-port", "0", "--disable-all-builtins"], cwd, {});
    const banner = await terminal.banner();
    const kept = JSON.parse(readFileSync(join(cwd, "data/broker-credentials.json"), "utf8")) as {
      username: string;
      password: string;
    };
    const port = /mqtt:\/\/127\.0\.0\.1:(\d+)/.exec(banner)?.[1] ?? "";
    const client = await TestClient.connect(`mqtt://127.0.0.1:${port}`, ["#"], kept);
    for (const address of LAN_ADDRESSES) expect(banner).toContain(`mqtt://${address}:${port}`);
    if (LAN_ADDRESSES.length === 0) expect(banner).toContain("on the LAN: no address found");
    const [first = "this machine's address"] = LAN_ADDRESSES;
    expect(banner).toContain(
      `for a board: host ${first}, port ${port}, user ${kept.username}, password ${kept.password}`,
    );
    if (LAN_ADDRESSES.length > 0) {
      await pasteMosquittoPub(/from another machine: (mosquitto_pub .*)/.exec(banner)?.[1] ?? "");
      await client.expect("halloween/fogger/telemetry/ping", '{"args":"hello"}');
    }
    await pasteMosquittoPub(/try +(mosquitto_pub .*)/.exec(banner)?.[1] ?? "");
    await client.expect("halloween/fogger/telemetry/ping");
    expect(await paste(/npx worker-host send .*/.exec(banner)?.[0] ?? "", cwd)).toBe(0);
    await client.expect("halloween/fogger/telemetry/ping");
    expect(await terminal.ctrlC()).toBe(0);
  });
});

describe("--lan", () => {
  /** An address of this machine that isn't the one which the broker listens on without `--lan`. */
  const other = LAN_ADDRESSES[0] ?? "127.0.0.2";
  const enter = (address: string, port: number, credentials: { username?: string; password?: string } = {}) =>
    mqtt.connectAsync(`mqtt://${address}:${port}`, { protocolVersion: 4, reconnectPeriod: 0, ...credentials });

  test("without it, only this machine gets in", async () => {
    const host = await startHost();
    await expect(enter(other, await host.port())).rejects.toThrow(/ECONNREFUSED/);
  });

  test("makes credentials, demands them of every client, keeps them, and logs no password", async () => {
    const cwd = makeFolder();
    const first = await startHost({ cwd, args: ["--lan"], props: PROPS });
    const file = join(cwd, "data/broker-credentials.json");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const kept = JSON.parse(readFileSync(file, "utf8")) as { username: string; password: string };
    expect(kept.password.length).toBeGreaterThanOrEqual(12);

    const port = await first.port();
    const { username, password } = kept;
    for (const wrong of [{}, { username }, { username, password: "" }, { username, password: `${password}x` }]) {
      await expect(enter(other, port, wrong), JSON.stringify(wrong)).rejects.toThrow(/Not authorized|refused/i);
    }
    await expect(enter(other, port, { username: "other", password })).rejects.toThrow(/Not authorized|refused/i);
    const client = await TestClient.connect(`mqtt://${other}:${port}`, ["halloween/#"], kept);

    await first.logged(/^on the LAN: /);
    await first.logged(/^from another machine: mosquitto_pub -h /);
    await first.logged(/^for a board: /);
    expect(first.stdout + first.stderr).not.toContain(password);

    const sent = await runCli(["send", "fogger", "fire", "750", "--broker-port", String(port)], { cwd });
    expect(sent).toMatchObject({ code: 0, stderr: "" });
    await client.expect("halloween/fogger/telemetry/fire", '{"args":750}');
    const listed = await runCli(["list", "--running", "--broker-port", String(port)], { cwd });
    expect(listed.stdout).toContain("fogger");
    const stranger = await runCli(["send", "fogger", "fire", "--broker-port", String(port)]);
    expect(stranger).toMatchObject({ code: 1, stderr: expect.stringContaining("MQTT_USERNAME") });
    await first.stop();

    const second = await startHost({ cwd, args: ["--lan"] });
    await TestClient.connect(await second.url(), ["halloween/#"], kept);
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(kept);
  });

  test("takes given credentials, and keeps none", async () => {
    const cwd = makeFolder();
    const env = { MQTT_USERNAME: "haunt", MQTT_PASSWORD: "s3cret" };
    const host = await startHost({ cwd, args: ["--lan"], env });
    await TestClient.connect(await host.url(), ["halloween/#"], { username: "haunt", password: "s3cret" });
    await expect(enter("127.0.0.1", await host.port())).rejects.toThrow(/Not authorized|refused/i);
    expect(() => statSync(join(cwd, "data/broker-credentials.json"))).toThrow(/ENOENT/);
    expect(host.stdout + host.stderr).not.toContain("s3cret");
  });

  test("with kept credentials that can't be read, says what to do and ends with 2", async () => {
    const cwd = makeFolder({ "data/broker-credentials.json": "{oops" });
    const { code, stderr } = await runCli(["--lan", "--broker-port", "0"], { cwd });
    expect(code).toBe(2);
    expect(stderr).toMatch(/data\/broker-credentials\.json: .*mend it, or delete it to have new ones made\n$/);
  });
});

describe("a Node that is too old", () => {
  test.each(["18.0.0", "20.18.3", "0.10.48"])("%s is told so, and ends with 1", async (version) => {
    const folder = makeFolder({
      "pretend.cjs": `Object.defineProperty(process, "versions", { value: { node: "${version}" } });`,
    });
    const child = spawn(process.execPath, ["-r", join(folder, "pretend.cjs"), BIN, "list"], {
      env: cleanEnvironment(),
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (data) => {
      stderr += String(data);
    });
    const code = new Promise<number | null>((resolve) => child.once("close", resolve));
    expect(await patiently(code, () => "its end")).toBe(1);
    expect(stderr).toBe(
      `worker-host needs Node 20.19 or newer, and this is Node ${version}. Get a newer one at ` +
        "https://nodejs.org/en/download, or with a version manager: nvm install 24\n",
    );
  });

  test("can read bin.cjs: nothing in it is newer than ES5", async () => {
    const source = readFileSync(BIN, "utf8").replace(/^#!.*\n/, "");
    const [old, newest] = await Promise.all([
      transform(source, { target: "es5" }),
      transform(source, { target: "esnext" }),
    ]);
    expect(old.code).toBe(newest.code);
    // Syntax that esbuild prints away, whatever the target.
    expect(source).not.toMatch(/,\s*\)/);
    const { engines } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { engines: { node: string } };
    expect(source).toContain(`[${engines.node.replace(">=", "").replace(".", ", ")}]`);
  });
});
