import { execFile } from "node:child_process";
import { cpSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import mqtt, { type MqttClient } from "mqtt";
import { describe, expect, onTestFinished, test } from "vitest";
import { makeCertificates } from "../worker-host/host/access/certificates.ts";
import { access, makeAccess, startGuardedBroker } from "./harness/access.ts";
import { BROKER } from "./harness/broker.ts";
import { compose } from "./harness/compose.ts";
import { shared } from "./harness/ending.ts";
import { makeFolder, workerSource } from "./harness/folder.ts";
import { cleanEnvironment, fourAtATime, runCli, startHost } from "./harness/host.ts";
import { Happenings } from "./harness/wait.ts";

const run = promisify(execFile);

const made = shared(() => makeAccess());

/** A folder with a user of each role, to be changed. */
async function copyOfAccess(): ReturnType<typeof makeAccess> {
  const { cwd, passwords } = await made();
  const copy = makeFolder();
  cpSync(cwd, copy, { recursive: true });
  return { cwd: copy, passwords: new Map(passwords) };
}

async function connect(port: number, username: string, password: string | undefined, will?: string) {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    ...{ username, protocolVersion: 4, reconnectPeriod: 0 },
    ...(password === undefined ? {} : { password }),
    ...(will === undefined
      ? {}
      : { will: { topic: will, payload: Buffer.from("will"), qos: 1 as const, retain: true } }),
  });
  client.on("error", () => {});
  onTestFinished(() => {
    client.end(true);
  });
  return client;
}

/** Whether what `from` publishes reaches `to`. */
async function delivered(from: MqttClient, to: MqttClient, topic: string): Promise<boolean> {
  const payload = `try ${Math.random()}`;
  let seen = false;
  const hear = (_: string, data: Buffer) => {
    seen ||= data.toString() === payload;
  };
  to.on("message", hear);
  await to.subscribeAsync(topic, { qos: 1 });
  // mosquitto acknowledges once it has handed it out.
  await from.publishAsync(topic, payload, { qos: 1 });
  await barrier(to);
  await to.unsubscribeAsync(topic);
  to.off("message", hear);
  return seen;
}

const P = "halloween";

/** Who, what, which topic, and whether it goes through. */
const TABLE: [user: string, does: "publish" | "subscribe", topic: string, goes: boolean][] = [
  ...(["telemetry/x", "status/availability", "state", "description", "status/warn", "reply/1"] as const).map(
    (rest) => ["fogger_hw", "publish", `${P}/fogger_hw/${rest}`, true] as [string, "publish", string, boolean],
  ),
  ["fogger_hw", "publish", `${P}/cli/reply/1`, true],
  ["fogger_hw", "publish", `${P}/lamp/cmd`, false],
  ["fogger_hw", "publish", `${P}/lamp/status/availability`, false],
  ["fogger_hw", "publish", `${P}/fogger/cmd`, false],
  ["fogger_hw", "publish", `${P}/broadcast/cmd`, false],
  ["fogger_hw", "publish", `${P}/worker_host/cmd`, true],
  ["fogger_hw", "publish", `${P}/attic/cmd`, true],
  ["fogger_hw", "publish", `${P}/worker_host/admin/cmd`, false],
  ["fogger_hw", "publish", `${P}/worker_host/reply/1`, true],
  ["fogger_hw", "publish", `${P}/worker_host/status/all_stop`, false],
  ["fogger_hw", "publish", "elsewhere", false],
  ["fogger_hw", "subscribe", `${P}/fogger_hw/cmd`, true],
  ["fogger_hw", "subscribe", `${P}/fogger/cmd`, true],
  ["fogger_hw", "subscribe", `${P}/broadcast/cmd`, true],
  ["fogger_hw", "subscribe", `${P}/worker_host/status/all_stop`, true],
  ["fogger_hw", "subscribe", `${P}/attic/status/all_stop`, true],
  ["fogger_hw", "subscribe", `${P}/fogger_hw/status/lock_out`, true],
  ["fogger_hw", "subscribe", `${P}/lamp/telemetry/x`, false],
  ["fogger_hw", "subscribe", `${P}/lamp/cmd`, false],
  ["fogger_hw", "subscribe", `${P}/cli/reply/1`, false],
  ["lamp", "subscribe", `${P}/l/cmd`, false],
  ["ext", "publish", `${P}/ext/telemetry/x`, true],
  ["ext", "publish", `${P}/fogger/cmd`, true],
  ["ext", "publish", `${P}/broadcast/cmd`, true],
  ["ext", "publish", `${P}/worker_host/cmd`, true],
  ["ext", "publish", `${P}/worker_host/admin/cmd`, false],
  ["ext", "publish", `${P}/cli/reply/1`, true],
  ["ext", "publish", `${P}/fogger/telemetry/x`, false],
  ["ext", "publish", `${P}/worker_host/status/all_stop`, false],
  ["ext", "publish", "zigbee2mqtt/lamp/set", true],
  ["ext", "subscribe", "zigbee2mqtt/lamp", true],
  ["ext", "subscribe", `${P}/lamp/telemetry/x`, true],
  ["gate", "publish", `${P}/fogger/cmd`, true],
  ["gate", "publish", `${P}/worker_host/cmd`, true],
  ["gate", "publish", `${P}/worker_host/admin/cmd`, false],
  ["gate", "publish", `${P}/attic/admin/cmd`, false],
  ["gate", "publish", `${P}/broadcast/cmd`, true],
  ["gate", "publish", `${P}/fogger/telemetry/x`, false],
  ["gate", "publish", `${P}/worker_host/status/all_stop`, false],
  ["gate", "subscribe", `${P}/cli/reply/1`, true],
  ["anna", "publish", `${P}/worker_host/admin/cmd`, true],
  ["anna", "publish", `${P}/attic/admin/cmd`, true],
  ["anna", "publish", `${P}/worker_host/cmd`, true],
  ["anna", "publish", `${P}/fogger/cmd`, true],
  ["anna", "publish", `${P}/fogger/telemetry/x`, false],
  ["anna", "publish", `${P}/worker_host/status/all_stop`, false],
  ["anna", "publish", `${P}/worker_host/description`, false],
  ["anna", "subscribe", `${P}/cli/reply/1`, true],
  ["wall", "subscribe", `${P}/fogger/telemetry/x`, true],
  ["wall", "subscribe", `${P}/worker_host/description`, true],
  ["wall", "subscribe", "zigbee2mqtt/lamp", false],
  ["wall", "publish", `${P}/fogger/cmd`, false],
  ["wall", "publish", `${P}/worker_host/admin/cmd`, false],
  ["wall", "publish", `${P}/wall/telemetry/x`, false],
  ["wall", "publish", `${P}/cli/reply/1`, false],
  ["worker_host", "publish", `${P}/fogger/status/runstate`, true],
  ["worker_host", "publish", "homeassistant/device/x/config", true],
  ["worker_host", "publish", "elsewhere", false],
];

describe.runIf(BROKER === "mosquitto")("with the files that access writes, mosquitto", () => {
  test("lets through what each role may, and nothing else", async () => {
    const { cwd, passwords } = await copyOfAccess();
    await letIn(cwd, passwords, "anna", "--role", "author");
    await letIn(cwd, passwords, "attic", "--role", "host");
    // One who may do everything, to publish to and to read from whom is tried.
    const acl = join(cwd, "access/mosquitto/acl");
    writeFileSync(acl, `${readFileSync(acl, "utf8")}\nuser all\ntopic readwrite #\n`);
    await run("mosquitto_passwd", ["-b", join(cwd, "access/mosquitto/passwords"), "all", "secret"]);
    const { port } = await startGuardedBroker(cwd);
    const all = await connect(port, "all", "secret");
    const clients = new Map<string, MqttClient>();
    for (const [user] of TABLE) {
      if (!clients.has(user)) clients.set(user, await connect(port, user, passwords.get(user)));
    }
    const wrong: string[] = [];
    for (const [user, does, topic, goes] of TABLE) {
      const client = clients.get(user) as MqttClient;
      const came = await (does === "publish" ? delivered(client, all, topic) : delivered(all, client, topic));
      if (came !== goes) wrong.push(`${user} ${does} ${topic}: ${came ? "went through" : "was dropped"}`);
    }
    expect(wrong).toEqual([]);
  });

  test("has a host do for an author what it doesn't for an operator, and a panic button stop it", async () => {
    const cwd = makeFolder();
    await access(cwd, "init");
    const passwords = new Map([["worker_host", envOf(cwd).MQTT_PASSWORD ?? ""]]);
    await letIn(cwd, passwords, "gate", "--role", "operator");
    await letIn(cwd, passwords, "anna", "--role", "author");
    await letIn(cwd, passwords, "panic_button", "--also", `write ${P}/broadcast/cmd`);
    const { port } = await startGuardedBroker(cwd);
    const envFor = (user: string) => ({
      ...{ MQTT_HOST: "127.0.0.1", MQTT_PORT: String(port) },
      ...{ MQTT_USERNAME: user, MQTT_PASSWORD: passwords.get(user) ?? "" },
    });
    const file = "lab/backend/config.yaml";
    const props = makeFolder({ "lab/backend/worker.ts": workerSource("do_ping() {}"), [file]: "level: 1\n" });
    const host = await startHost({ args: ["--props", props], env: envFor("worker_host") });
    const said = new Happenings<string>();
    const all = await connect(port, "worker_host", passwords.get("worker_host"));
    all.on("message", (topic, payload) => said.add(`${topic} ${payload}`));
    await all.subscribeAsync(`${P}/#`, { qos: 1 });
    const configure = { action: "configure", args: { id: "lab", config: { level: 2 } } };
    const refused = () => said.all.filter((line) => line.includes(`"configure" refused: it is taken on ${P}/`)).length;
    for (const [index, user] of ["panic_button", "gate"].entries()) {
      const client = await connect(port, user, passwords.get(user));
      for (const topic of ["admin/cmd", "cmd"])
        await client.publishAsync(`${P}/worker_host/${topic}`, JSON.stringify({ ...configure, id: user }), { qos: 1 });
      const stop = JSON.stringify({ action: "all_stop", reply_to: `${P}/cli/reply/${user}` });
      await client.publishAsync(`${P}/worker_host/cmd`, stop, { qos: 1 });
      await said.find(() => refused() > index, `that ${user} may not`);
      await said.find((line) => line.startsWith(`${P}/cli/reply/${user} `), "the answer to all_stop");
    }
    expect(said.all.filter((line) => line.startsWith(`${P}/worker_host/admin/cmd`))).toEqual([]);
    expect(readFileSync(join(props, file), "utf8")).toBe("level: 1\n");
    const operator = await runCli(["send", "worker_host", "rescan"], { cwd, env: envFor("gate") });
    expect(operator).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/"rescan" needs a user with the role "author"/),
    });
    await all.publishAsync(`${P}/never_there/state`, "idle", { retain: true, qos: 1 });
    expect(await runCli(["tidy", "never_there", "--clear"], { cwd, env: envFor("gate") })).toMatchObject({
      code: 1,
      stderr: `0 cleared\n${P}/never_there/state is not cleared: may this user publish there?\n`,
    });
    const args = ["configure", "--json", JSON.stringify(configure.args)];
    expect(await runCli(["send", "worker_host", ...args], { cwd, env: envFor("anna") })).toMatchObject({
      stdout: "ok\n",
    });
    expect(readFileSync(join(props, file), "utf8")).toBe("level: 2\n");
    await host.stop();
  });

  test("publishes a will where its user may publish, and no other; retained messages are read by who may", async () => {
    const { cwd, passwords } = await copyOfAccess();
    const { port } = await startGuardedBroker(cwd);
    const host = await connect(port, "worker_host", passwords.get("worker_host"));
    const seen: string[] = [];
    const willSeen = new Promise<void>((resolve) => {
      host.on("message", (topic) => {
        seen.push(topic);
        resolve();
      });
    });
    await host.subscribeAsync(`${P}/+/status/availability`, { qos: 1 });
    for (const [user, topic] of [
      ["fogger_hw", `${P}/lamp/status/availability`],
      ["lamp", `${P}/lamp/status/availability`],
    ] as const) {
      const client = await connect(port, user, passwords.get(user), topic);
      const closed = new Promise((resolve) => client.once("close", () => resolve(undefined)));
      client.stream.destroy();
      await closed;
    }
    const board = await connect(port, "fogger_hw", passwords.get("fogger_hw"));
    const read: string[] = [];
    board.on("message", (topic) => read.push(topic));
    await host.publishAsync(`${P}/worker_host/status/all_stop`, "clear", { qos: 1, retain: true });
    await board.subscribeAsync([`${P}/#`, `${P}/worker_host/status/all_stop`], { qos: 1 });
    await barrier(board);
    await willSeen;
    expect(seen).toEqual([`${P}/lamp/status/availability`]);
    expect([...new Set(read)]).toEqual([`${P}/worker_host/status/all_stop`]);
  });

  test("refuses nobody, a wrong password, and one who was removed, once it was told", async () => {
    const { cwd, passwords } = await copyOfAccess();
    const { port, pid } = await startGuardedBroker(cwd);
    await expect(mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0 })).rejects.toThrow(
      /[Nn]ot authorized/,
    );
    await expect(connect(port, "lamp", "wrong")).rejects.toThrow(/[Nn]ot authorized|Bad user/);
    const lamp = await connect(port, "lamp", passwords.get("lamp"));
    lamp.end(true);
    expect((await access(cwd, "remove", "lamp")).code).toBe(0);
    process.kill(pid, "SIGHUP");
    const refused = async () => {
      const client = await connect(port, "lamp", passwords.get("lamp")).catch(() => undefined);
      client?.end(true);
      return client === undefined;
    };
    // It reads the files between two rounds of its loop.
    while (!(await refused())) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  test("drops what the host says with a user who may not, which its start finds out", async () => {
    const { cwd, passwords } = await copyOfAccess();
    const { port } = await startGuardedBroker(cwd);
    const host = await startHost({
      props: {},
      dontWait: true,
      env: {
        ...{ MQTT_HOST: "127.0.0.1", MQTT_PORT: String(port) },
        ...{ MQTT_USERNAME: "gate", MQTT_PASSWORD: passwords.get("gate") ?? "" },
      },
    });
    await host.logged(/worker_host\/claim: nothing came back in 5 s; may this user publish and subscribe there\?/);
    await host.stop();
  });

  test.each([
    [P, []],
    ["haunt", ["--prefix", "haunt"]],
  ])(
    "is what compose starts with .env: on the network, under %s, with a health check that publishes and reads",
    async (prefix, init) => {
      const { cwd } = await (init.length === 0 ? copyOfAccess() : makeAccess(...init));
      const env = envOf(cwd);
      const { broker, worker_host: host } = compose(env).services;
      expect(broker.ports).toEqual(["0.0.0.0:1883:1883", "0.0.0.0:8883:8883"]);
      for (const mount of broker.volumes.slice(0, 2))
        expect(existsSync(join(cwd, mount.split(":")[0] ?? "")), mount).toBe(true);
      expect(host.environment).toMatchObject({ MQTT_USERNAME: "worker_host", MQTT_PASSWORD: env.MQTT_PASSWORD });
      expect(host.environment).toMatchObject({ MQTT_PREFIX: prefix });

      const { port } = await startGuardedBroker(cwd);
      const check = String(broker.healthcheck.test[1]).replace("mosquitto_rr", `mosquitto_rr -p ${port}`);
      const healthy = (environment: Record<string, string>) =>
        run("sh", ["-c", check], { env: { PATH: process.env.PATH, ...environment } }).then(
          ({ stdout }) => stdout.trim(),
          () => "unhealthy",
        );
      expect(await healthy(broker.environment ?? {})).toBe("ok");
      expect(await healthy({})).toBe("unhealthy");
      expect(await healthy({ ...broker.environment, MQTT_PASSWORD: "wrong" })).toBe("unhealthy");

      const served = await startHost({
        props: {},
        builtins: "shipped",
        env: { ...host.environment, MQTT_HOST: "127.0.0.1", MQTT_PORT: String(port) },
      });
      await served.stop();
    },
  );

  test("serves TLS, the host and a renewed certificate included, and nobody is disconnected by that", async () => {
    const { cwd, passwords } = await copyOfAccess();
    expect((await access(cwd, "tls")).stdout).toMatch(/localhost, broker, 127\.0\.0\.1/);
    const { tlsPort, pid } = await startGuardedBroker(cwd);
    const env = {
      MQTT_URL: `mqtts://127.0.0.1:${tlsPort}`,
      MQTT_CA: join(cwd, "access/ca.crt"),
      MQTT_USERNAME: "worker_host",
      MQTT_PASSWORD: passwords.get("worker_host") ?? "",
    };
    const host = await startHost({ env, builtins: "shipped", args: [], props: {} });
    const ca = readFileSync(join(cwd, "access/ca.crt"));
    const client = await mqtt.connectAsync(env.MQTT_URL, {
      ca,
      username: "gate",
      password: passwords.get("gate") ?? "",
    });
    onTestFinished(() => {
      client.end(true);
    });
    let closed = false;
    client.on("close", () => {
      closed = true;
    });
    const before = readFileSync(join(cwd, "access/mosquitto/server.crt"), "utf8");
    await access(cwd, "tls", "haunt.example.org");
    expect(readFileSync(join(cwd, "access/mosquitto/server.crt"), "utf8")).not.toBe(before);
    expect(readFileSync(join(cwd, "access/ca.crt"))).toEqual(ca);
    process.kill(pid, "SIGHUP");
    const named = async () => {
      const options = { ca, servername: "haunt.example.org", username: "gate", password: passwords.get("gate") ?? "" };
      const other = await mqtt.connectAsync(env.MQTT_URL, { ...options, reconnectPeriod: 0 }).catch(() => undefined);
      other?.end(true);
      return other !== undefined;
    };
    while (!(await named())) await new Promise((resolve) => setTimeout(resolve, 20));
    await client.publishAsync(`${P}/heartbeat/cmd`, "ping", { qos: 1 });
    expect(closed).toBe(false);
    await host.stop();
  });
});

describe.runIf(BROKER === "mosquitto")("a certificate that is", () => {
  test.each<[what: string, env: (cwd: string) => Record<string, string>, days: number, says: RegExp]>([
    ["of an unknown authority", () => ({}), 0, /signed by an authority that is not known here: .*MQTT_CA/],
    ["expired", withCa, -1000, /its certificate has expired: renew it with "npx worker-host access tls"/],
    ["not valid yet", withCa, 1000, /its certificate is not valid yet: look at the clocks/],
    ["for another name", withCa, 0, /its certificate is for other names: .*worker-host access tls <name>/],
  ])("%s is told in words", async (what, env, days, says) => {
    const { cwd } = await copyOfAccess();
    await makeCertificates({
      folder: join(cwd, "access"),
      broker: join(cwd, "access/mosquitto"),
      names: [what === "for another name" ? "haunt.example.org" : "127.0.0.1"],
      now: Date.now() + days * 86_400_000,
      serialNumber: () => "01",
    });
    const config = join(cwd, "access/mosquitto/mosquitto.conf");
    const tls = ["cafile ca.crt", "certfile server.crt", "keyfile server.key"];
    const lines = tls.map((line) => line.replace(" ", " /mosquitto/access/"));
    writeFileSync(config, `${readFileSync(config, "utf8")}\nlistener 8883\n${lines.join("\n")}\n`);
    const { tlsPort } = await startGuardedBroker(cwd);
    const url = `mqtts://127.0.0.1:${tlsPort}`;
    const { code, stderr } = await runCli(["send", "fogger", "ping"], { cwd, env: { MQTT_URL: url, ...env(cwd) } });
    expect(stderr).toMatch(says);
    expect(code).toBe(1);
  });
});

/** Makes one more user, and keeps the password. */
async function letIn(cwd: string, passwords: Map<string, string>, name: string, ...how: string[]): Promise<void> {
  passwords.set(name, (await access(cwd, "add", name, ...how)).stdout.trim());
}

/** What `init` has written for compose. */
function envOf(cwd: string): Record<string, string> {
  const lines = readFileSync(join(cwd, ".env"), "utf8").trim().split("\n");
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2))) as Record<string, string>;
}

function withCa(cwd: string): Record<string, string> {
  return { MQTT_CA: join(cwd, "access/ca.crt") };
}

/** Fulfils when what the broker had for a client before has arrived: it answers a connection's packets in their order. */
async function barrier(client: MqttClient): Promise<void> {
  await client.subscribeAsync(`barrier/${Math.random()}`, { qos: 1 });
}

describe("access", () => {
  test("writes what is secret for its owner alone, and each password once", async () => {
    const { cwd, passwords } = await made();
    for (const [file, mode] of [
      ["access", 0o700],
      [".env", 0o600],
      ["access/mosquitto", 0o755],
    ] as const) {
      expect(statSync(join(cwd, file)).mode & 0o777, file).toBe(mode);
    }
    const texts = ["users.yaml", "mosquitto/acl", "mosquitto/passwords", "mosquitto/mosquitto.conf"].map((name) =>
      readFileSync(join(cwd, "access", name), "utf8"),
    );
    for (const password of passwords.values()) {
      expect(password).toMatch(/^[A-Za-z0-9]{24}$/);
      for (const text of texts) expect(text).not.toContain(password);
    }
    expect(texts[1]).not.toMatch(/^pattern/m);
    expect(texts[2]?.split("\n").filter(Boolean)).toHaveLength(6);
    expect(texts[2]).toMatch(/^fogger_hw:\$7\$101\$[A-Za-z0-9+/=]{16}\$[A-Za-z0-9+/=]{88}$/m);
    const { stdout } = await access(cwd, "list");
    expect(stdout).toMatch(/^ext +worker, and readwrite zigbee2mqtt\/#$/m);
  });

  test.runIf(BROKER === "mosquitto")("writes passwords that mosquitto_passwd reads back", async () => {
    const { cwd } = await copyOfAccess();
    const copy = join(makeFolder(), "passwords");
    cpSync(join(cwd, "access/mosquitto/passwords"), copy);
    await run("mosquitto_passwd", ["-D", copy, "fogger_hw"]);
    await run("mosquitto_passwd", ["-b", copy, "gate", "another"]);
    const users = readFileSync(copy, "utf8").split("\n").filter(Boolean);
    expect(users.map((line) => line.split(":")[0])).toEqual(["ext", "gate", "lamp", "wall", "worker_host"]);
  });

  test("writes the prefix where compose finds it for both, over one that was there", async () => {
    const cwd = makeFolder({ ".env": "MQTT_PREFIX=old\n" });
    await access(cwd, "init", "--prefix", "haunt/attic");
    const env = Object.fromEntries([
      /^(MQTT_PREFIX)=(.*)$/m.exec(readFileSync(join(cwd, ".env"), "utf8"))?.slice(1) ?? [],
    ]);
    const { broker, worker_host: host } = compose(env).services;
    for (const { environment } of [broker, host]) expect(environment).toMatchObject({ MQTT_PREFIX: "haunt/attic" });
    expect(broker.healthcheck.test[1]).not.toContain(P);
  });

  test("is written beside worker-host.yaml, from whichever folder of the haunt, with its prefix", async () => {
    const home = makeFolder({ "worker-host.yaml": "mqtt_prefix: haunt", "props/fogger/config.yaml": "" });
    await access(join(home, "props/fogger"), "init");
    expect(readFileSync(join(home, ".env"), "utf8")).toMatch(
      /^BROKER_ACCESS=\.\/access\/mosquitto$[\s\S]*^MQTT_PREFIX=haunt$/m,
    );
    expect(existsSync(join(home, "access/mosquitto/passwords"))).toBe(true);
  });

  test.each([
    ["relative", () => "access", "./access"],
    ["absolute", (cwd: string) => join(cwd, "access"), undefined],
  ])("writes a folder that is %s into .env as compose takes it", async (_, given, written) => {
    const cwd = makeFolder();
    const dir = written ?? given(cwd);
    await access(cwd, "init", "--dir", given(cwd));
    const env = readFileSync(join(cwd, ".env"), "utf8");
    expect(env).toMatch(new RegExp(`^BROKER_CONF=${dir}/mosquitto/mosquitto\\.conf$`, "m"));
    expect(env).toMatch(new RegExp(`^BROKER_ACCESS=${dir}/mosquitto$`, "m"));
  });

  test("leaves what else is in .env as it is, and replaces its own where it stands", async () => {
    const before = [
      "# Ours.",
      "export MQTT_PASSWORD=old",
      "",
      "LOG_LEVEL=debug",
      "# MQTT_USERNAME=anna",
      "",
      "MQTT_PREFIX = haunt",
      "MQTT_PASSWORD=older",
      "LAST=1",
    ];
    const cwd = makeFolder({ ".env": before.join("\n") });
    await access(cwd, "init");
    const env = readFileSync(join(cwd, ".env"), "utf8");
    const password = /^MQTT_PASSWORD=([A-Za-z0-9]{24})$/m.exec(env)?.[1];
    expect(env.split("\n")).toEqual([
      "# Ours.",
      `MQTT_PASSWORD=${password}`,
      "",
      "LOG_LEVEL=debug",
      "# MQTT_USERNAME=anna",
      "",
      "MQTT_PREFIX=halloween",
      // The last one counts.
      `MQTT_PASSWORD=${password}`,
      "LAST=1",
      "BROKER_ADDRESS=0.0.0.0",
      "BROKER_CONF=./access/mosquitto/mosquitto.conf",
      "BROKER_ACCESS=./access/mosquitto",
      "MQTT_USERNAME=worker_host",
      "",
    ]);
  });

  const REFUSED: [args: string[], code: number, says: RegExp][] = [
    [["init", "--dir", "other", "--prefix", "a/"], 2, /--prefix: "a\/" can't be it: it starts or ends with "\/"/],
    [["init"], 2, /access has users already: "npx worker-host access list"/],
    [["add", "gate"], 1, /there is a user "gate"/],
    [["add", "worker_host"], 1, /"worker_host" is reserved/],
    [["add", "broadcast"], 1, /"broadcast" is reserved/],
    [["add", "fog machine"], 1, /can't be an id: .*such as "fog_machine"/],
    [["add", "a:b"], 1, /can't be an id/],
    [["add", "x\ny"], 1, /can't be an id/],
    [["add", "x", "--role", "king"], 2, /Allowed choices are board, worker, operator, author, viewer, host/],
    [["add", "x", "--also", "all #"], 2, /expected such as "read zigbee2mqtt\/#", got "all #"/],
    [["add", "x", "--also", "read a#"], 1, /can't subscribe to "a#"/],
    [["remove", "nobody"], 1, /no user "nobody"; there are: .*gate/],
  ];

  test("what is refused changes nothing", async () => {
    const cwd = makeFolder();
    await access(cwd, "init");
    await access(cwd, "add", "gate", "--role", "operator");
    const before = readFileSync(join(cwd, "access/users.yaml"), "utf8");
    await fourAtATime(REFUSED, async ([args, code, says]) => {
      const outcome = await access(cwd, ...args);
      expect(outcome.stderr, args.join(" ")).toMatch(says);
      expect(outcome.code, args.join(" ")).toBe(code);
      expect(readFileSync(join(cwd, "access/users.yaml"), "utf8"), args.join(" ")).toBe(before);
    });
    expect(existsSync(join(cwd, "other"))).toBe(false);
  });

  test("a folder that is not there, or spoilt, is told", async () => {
    const cwd = makeFolder();
    expect((await access(cwd, "list")).stderr).toMatch(/no .*users\.yaml: begin with "npx worker-host access init"/);
    await access(cwd, "init");
    writeFileSync(join(cwd, "access/users.yaml"), "prefix: halloween\nusers: { x: { role: king } }\n");
    expect((await access(cwd, "list")).stderr).toMatch(/users\.yaml: .*role/s);
  });
});

test("the environment of the tests has no user of its own", () => {
  expect(Object.keys(cleanEnvironment()).filter((name) => name.startsWith("MQTT_"))).toEqual([]);
});
