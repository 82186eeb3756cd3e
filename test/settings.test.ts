// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how a config names a variable
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { WorkerHostError } from "../worker-host/contract/errors.ts";
import { readConfigFile } from "../worker-host/host/config/config-file.ts";
import { resolveSettings, SETTINGS, type Settings } from "../worker-host/host/settings/settings.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { type Files, makeFolder, workerSource } from "./harness/folder.ts";
import { runCli, type StartHostOptions, startHost } from "./harness/host.ts";
import { CERTIFICATE, ENCRYPTED_KEY, KEY, OTHER_KEY } from "./harness/pem.ts";

interface Given {
  flags?: Record<string, string | boolean>;
  env?: Record<string, string>;
  /** Files of the folder that it is run in; `yaml` stands for worker-host.yaml. */
  files?: Files;
  yaml?: string;
}

function resolve({ flags = {}, env = {}, files = {}, yaml }: Given): Settings & { cwd: string } {
  const cwd = makeFolder({ ...files, ...(yaml === undefined ? {} : { "worker-host.yaml": yaml }) });
  const settings = resolveSettings({ flags: new Map(Object.entries(flags)), env, cwd, shippedBuiltins: "/shipped" });
  return { ...settings, cwd };
}

/** A config in which no `${NAME}` stands. */
const both = (values: object) => ({ values, shown: values });

function faultsOf(given: Given): string[] {
  try {
    resolve(given);
  } catch (error) {
    if (!(error instanceof WorkerHostError)) throw error;
    expect(error.code).toBe("invalid_settings");
    return error.message.split("\n");
  }
  return [];
}

describe("defaults", () => {
  test("with nothing given, the embedded broker and all workers of this folder", () => {
    const { cwd, ...settings } = resolve({});
    expect(settings).toEqual({
      settingsFile: join(cwd, "worker-host.yaml"),
      props: join(cwd, "props"),
      builtins: ["/shipped"],
      data: join(cwd, "data"),
      prefix: "halloween",
      name: "worker_host",
      standby: false,
      claimMs: 1000,
      external: undefined,
      tlsFiles: {},
      embedded: { port: 1883, isPortGiven: false, lan: false },
      selectBuiltins: { disableAll: false, allow: [], disable: [] },
      selectProps: { disableAll: false, allow: [], disable: [] },
      pythonAvailability: false,
      maxProcesses: 16,
      limits: { maxMemoryMb: 512, stallWarnMs: 500, stallKillMs: 5000 },
      intensity: { maxRestarts: 5, withinMs: 60_000 },
      operatorTimeoutMs: 0,
      logKept: { files: 5, fileBytes: 100_000 },
      homeAssistant: { enabled: false, prefix: "homeassistant" },
      builtinConfig: new Map([["console", both({ port: 1031, host: "127.0.0.1" })]]),
      logLevel: "info",
    });
  });

  test("the page's port and address go over the config file of the builtin worker that serves it", () => {
    const { builtinConfig } = resolve({
      flags: { console_port: "0" },
      env: { WORKER_CONSOLE_PORT: "1032", WORKER_CONSOLE_HOST: "::1" },
    });
    expect(builtinConfig.get("console")).toEqual(both({ port: 0, host: "::1" }));
    const hostOf = (sources: Parameters<typeof resolve>[0]) =>
      resolve(sources).builtinConfig.get("console")?.values.host;
    expect(hostOf({ flags: { lan: true } })).toBe("0.0.0.0");
    expect(hostOf({ flags: { lan: true }, env: { WORKER_CONSOLE_HOST: "127.0.0.1" } })).toBe("127.0.0.1");
    expect(() => resolve({ env: { WORKER_CONSOLE_PORT: "door" } })).toThrow(
      'WORKER_CONSOLE_PORT: expected a port from 0 to 65535, got "door"',
    );
  });

  test("builtin_config goes over the config files of builtin workers, and a setting that was given over it", () => {
    const yaml = "builtin_config: { console: { port: 5, host: '::1', more: 1 }, heartbeat: { word: '${WORD}' } }\n";
    const { builtinConfig } = resolve({ yaml, env: { WORD: "secret", WORKER_CONSOLE_PORT: "7" } });
    expect(builtinConfig.get("console")).toEqual(both({ port: 7, host: "::1", more: 1 }));
    expect(builtinConfig.get("heartbeat")).toEqual({ values: { word: "secret" }, shown: { word: "${WORD}" } });
    expect(resolve({ yaml: "builtin_config: { console: { host: '::1' } }" }).builtinConfig.get("console")).toEqual(
      both({ port: 1031, host: "::1" }),
    );
    for (const odd of ["builtin_config: 5", "builtin_config: [a]", "builtin_config: { heartbeat: 5 }"])
      expect(faultsOf({ yaml: odd })).toEqual([
        expect.stringMatching(/^worker-host\.yaml: builtin_config: expected ids/),
      ]);
  });

  test("relative folders start from the one that it is run in", () => {
    const { cwd, props, builtins, data } = resolve({
      flags: { props: "haunt/props" },
      env: { WORKER_BUILTINS_DIR: "../mine" },
      yaml: "data: /var/lib/haunt",
    });
    expect([props, builtins, data]).toEqual([
      join(cwd, "haunt/props"),
      ["/shipped", join(cwd, "../mine")],
      "/var/lib/haunt",
    ]);
    expect(resolve({ flags: { only_own_builtins: true, builtins: "mine" } }).builtins).toHaveLength(1);
  });

  test("every setting has a flag, a variable and a key of its own, and they look alike", () => {
    for (const field of ["key", "env"] as const) {
      expect(new Set(SETTINGS.map((setting) => setting[field])).size).toBe(SETTINGS.length);
    }
    for (const { key, env, flag } of SETTINGS) {
      expect(key).toMatch(/^[a-z_]+$/);
      expect(env).toMatch(/^(MQTT|WORKER|LOG)_[A-Z_]+$/);
      expect(flag.split(" ")[0]).toBe(`--${key.replaceAll("_", "-")}`);
    }
  });
});

describe("precedence", () => {
  const everywhere = {
    flags: { mqtt_prefix: "flag" },
    env: { MQTT_PREFIX: "env" },
    yaml: "mqtt_prefix: file",
  };

  test.each<[string, Given, string]>([
    ["a flag", everywhere, "flag"],
    ["the environment", { ...everywhere, flags: {} }, "env"],
    ["the file", { yaml: everywhere.yaml }, "file"],
    ["the default", {}, "halloween"],
    ["the file, where the environment is empty", { ...everywhere, flags: {}, env: { MQTT_PREFIX: "" } }, "file"],
    ["the default, where the file says nothing", { yaml: "mqtt_prefix:\n" }, "halloween"],
  ])("%s", (_name, given, prefix) => {
    expect(resolve(given).prefix).toBe(prefix);
  });

  test("holds for a switch: a variable can undo the file", () => {
    expect(resolve({ yaml: "lan: true" }).embedded.lan).toBe(true);
    // With a broker of one's own it opens the page alone.
    const beside = resolve({ yaml: "lan: true", env: { MQTT_HOST: "broker" } });
    expect([beside.embedded.lan, beside.builtinConfig.get("console")?.values.host]).toEqual([false, "0.0.0.0"]);
    expect(resolve({ yaml: "lan: true", env: { WORKER_LAN: "0" } }).embedded.lan).toBe(false);
    expect(resolve({ env: { WORKER_LAN: "0" }, flags: { lan: true } }).embedded.lan).toBe(true);
  });

  test("an empty variable is none, as docker compose hands it on", () => {
    const env = Object.fromEntries(SETTINGS.map(({ env: name }) => [name, ""]));
    const [empty, none] = [resolve({ env }), resolve({})].map(({ cwd, settingsFile, props, data, ...rest }) => rest);
    expect(empty).toEqual(none);
  });

  test("a host in a stronger place wins over a URL in a weaker one", () => {
    const url = "mqtt://from-url:1";
    expect(resolve({ flags: { mqtt_host: "from-host" }, env: { MQTT_URL: url } }).external?.url).toBe(
      "mqtt://from-host:1883",
    );
    expect(resolve({ env: { MQTT_HOST: "from-host" }, flags: { mqtt_url: url } }).external?.url).toBe(url);
    expect(resolve({ env: { MQTT_HOST: "from-host", MQTT_URL: url } }).external?.url).toBe(url);
    expect(resolve({ env: { MQTT_HOST: "from-host" }, yaml: `mqtt_url: ${url}` }).external?.url).toBe(
      "mqtt://from-host:1883",
    );
  });
});

describe("the folder", () => {
  const files = {
    "haunt/worker-host.yaml": "props: scares\nmqtt_prefix: haunt\n",
    "haunt/scares/fogger/config.yaml": "",
  };
  const at = (root: string, env = {}, flags = {}) =>
    resolveSettings({
      flags: new Map(Object.entries(flags)),
      env,
      cwd: join(root, "haunt/scares/fogger"),
      shippedBuiltins: "/shipped",
    });

  test("of the nearest settings file, upwards, is where what it names and the defaults start", () => {
    const root = makeFolder(files);
    expect(at(root)).toMatchObject({
      settingsFile: join(root, "haunt/worker-host.yaml"),
      props: join(root, "haunt/scares"),
      data: join(root, "haunt/data"),
      prefix: "haunt",
    });
    const nearer = makeFolder({ ...files, "haunt/scares/fogger/worker-host.json": "{}" });
    expect(at(nearer)).toMatchObject({ prefix: "halloween", data: join(nearer, "haunt/scares/fogger/data") });
  });

  test("one is in is where flags and the environment start", () => {
    const root = makeFolder(files);
    expect(at(root, { WORKER_DATA_DIR: "here" }, { builtins: "b" })).toMatchObject({
      data: join(root, "haunt/scares/fogger/here"),
      builtins: expect.arrayContaining([join(root, "haunt/scares/fogger/b")]),
    });
  });

  test("is named in what is wrong with the file", () => {
    const root = makeFolder({
      ...files,
      "haunt/worker-host.yaml": "broker_port: ouch\nmqtt_url: mqtts://h\nmqtt_ca: ca.crt\n",
    });
    expect(() => at(root)).toThrow(/^\.\.\/\.\.\/worker-host\.yaml: broker_port: expected a port/m);
    expect(() => at(root)).toThrow(/mqtt_ca: can't read ca\.crt/);
  });
});

describe("the broker", () => {
  test.each<[Record<string, string>, string]>([
    [{ MQTT_URL: "mqtt://192.168.1.10" }, "mqtt://192.168.1.10"],
    [{ MQTT_URL: "mqtt://192.168.1.10:1884/" }, "mqtt://192.168.1.10:1884"],
    [{ MQTT_URL: "mqtts://broker.example:8883" }, "mqtts://broker.example:8883"],
    [{ MQTT_URL: "ws://broker.example/mqtt" }, "ws://broker.example/mqtt"],
    [{ MQTT_URL: "wss://broker.example:443/mqtt" }, "wss://broker.example/mqtt"],
    [{ MQTT_URL: "mqtt://[fe80::1]:1883" }, "mqtt://[fe80::1]:1883"],
    [{ MQTT_HOST: "broker" }, "mqtt://broker:1883"],
    [{ MQTT_HOST: "broker", MQTT_PORT: "1884" }, "mqtt://broker:1884"],
    [{ MQTT_HOST: "fe80::1", MQTT_PORT: " 1884 " }, "mqtt://[fe80::1]:1884"],
    [{ MQTT_HOST: "[fe80::1]" }, "mqtt://[fe80::1]:1883"],
    [{ MQTT_HOST: "fe80::1%eth0" }, "mqtt://[fe80::1]:1883"],
    [{ MQTT_URL: "ws://broker/mqtt?token=t0psecret" }, "ws://broker/mqtt"],
  ])("%j is %s", (env, url) => {
    expect(resolve({ env }).external?.url).toBe(url);
  });

  test("credentials are beside the URL or in it, and never in what is shown", () => {
    const beside = { MQTT_USERNAME: "haunt", MQTT_PASSWORD: "boo" };
    const one = { username: "haunt", password: "boo" };
    expect(resolve({ env: { MQTT_HOST: "broker", ...beside } }).external).toMatchObject(one);
    const inUrl = resolve({ env: { MQTT_URL: "mqtt://ha%40unt:b%2Foo@broker" } }).external;
    expect(inUrl).toMatchObject({ username: "ha@unt", password: "b/oo", url: "mqtt://broker" });
    expect(resolve({ env: { MQTT_URL: "mqtt://haunt@broker", MQTT_PASSWORD: "boo" } }).external).toMatchObject(one);
  });

  test("credentials from a stronger place than the URL's win", () => {
    const env = { MQTT_URL: "mqtt://old:older@broker" };
    expect(resolve({ env, flags: { mqtt_username: "new", mqtt_password: "newer" } }).external).toMatchObject({
      username: "new",
      password: "newer",
    });
    expect(resolve({ env, yaml: "mqtt_username: file" }).external).toMatchObject({ username: "old" });
  });

  test("with neither URL nor host, they are the embedded one's", () => {
    const { external, embedded } = resolve({ env: { MQTT_USERNAME: "haunt", MQTT_PASSWORD: "boo" } });
    expect(external).toBeUndefined();
    expect(embedded).toMatchObject({ username: "haunt", password: "boo" });
  });

  const files = { "tls/ca.pem": CERTIFICATE, "tls/cert.pem": CERTIFICATE, "tls/key.pem": KEY };
  const tls = { MQTT_CA: "tls/ca.pem", MQTT_CERT: "tls/cert.pem", MQTT_KEY: "tls/key.pem" };

  test("TLS files are read, and make a host's URL an encrypted one", () => {
    const { external, tlsFiles, cwd } = resolve({ files, env: { MQTT_HOST: "broker", ...tls } });
    expect(external).toMatchObject({ url: "mqtts://broker:8883", ca: CERTIFICATE, cert: CERTIFICATE, key: KEY });
    expect(tlsFiles).toEqual({
      ca: join(cwd, "tls/ca.pem"),
      cert: join(cwd, "tls/cert.pem"),
      key: join(cwd, "tls/key.pem"),
    });
    const { external: other } = resolve({ files, env: { MQTT_URL: "wss://broker/mqtt", MQTT_CA: "tls/ca.pem" } });
    expect(other).toMatchObject({ url: "wss://broker/mqtt", ca: CERTIFICATE });
    expect(resolve({ files, env: { MQTT_HOST: "broker", MQTT_PORT: "1", MQTT_CA: tls.MQTT_CA } }).external?.url).toBe(
      "mqtts://broker:1",
    );
  });

  test.each<[string, Record<string, string>, RegExp]>([
    [
      "a file that isn't there",
      { MQTT_HOST: "broker", MQTT_CA: "nowhere.pem" },
      /^MQTT_CA: can't read nowhere\.pem: ENOENT/,
    ],
    [
      "a certificate without its key",
      { MQTT_HOST: "broker", MQTT_CERT: tls.MQTT_CERT },
      /^MQTT_CERT: it needs MQTT_KEY/,
    ],
    ["a key without its certificate", { MQTT_HOST: "broker", MQTT_KEY: tls.MQTT_KEY }, /^MQTT_KEY: it needs MQTT_CERT/],
    [
      "a URL that isn't encrypted",
      { MQTT_URL: "mqtt://broker", MQTT_CA: tls.MQTT_CA },
      /^MQTT_CA: mqtt:\/\/ is not encrypted; write mqtts:\/\//,
    ],
    ["no broker of one's own", { MQTT_CA: tls.MQTT_CA }, /^MQTT_CA: the embedded broker has no TLS; set MQTT_URL/],
  ])("TLS with %s is a fault", (_name, env, says) => {
    expect(faultsOf({ env, files })).toEqual([expect.stringMatching(says)]);
  });
});

describe("what isn't exactly what was written", () => {
  const pem = (file: string, content: string | Buffer): [string, Given] => [
    file,
    { files: { "tls/x": content as string, "tls/cert": CERTIFICATE }, env: { MQTT_HOST: "broker", [file]: "tls/x" } },
  ];
  const key = (content: string): Given => ({
    files: { "tls/cert": CERTIFICATE, "tls/key": content },
    env: { MQTT_HOST: "broker", MQTT_CERT: "tls/cert", MQTT_KEY: "tls/key" },
  });
  const der = Buffer.from(CERTIFICATE.replaceAll(/-----.*-----|\n/g, ""), "base64");

  test.each<[string, Given, RegExp]>([
    ["a key of another certificate", key(OTHER_KEY), /^MQTT_KEY: tls\/key: it is not the key of tls\/cert$/],
    ["an encrypted key", key(ENCRYPTED_KEY), /^MQTT_KEY: tls\/key: the key is encrypted, .*openssl pkey/],
    ["a certificate for a key", key(CERTIFICATE), /^MQTT_KEY: tls\/key: expected a private key as PEM text/],
    ["an empty key", key(""), /^MQTT_KEY: tls\/key: expected a private key as PEM text/],
    [...pem("MQTT_CA", der), /^MQTT_CA: tls\/x: expected a certificate as PEM text; it is DER: "openssl x509/],
    [...pem("MQTT_CA", ""), /^MQTT_CA: tls\/x: expected a certificate as PEM text; it is empty$/],
    [...pem("MQTT_CA", Buffer.from(`\ufeff${CERTIFICATE}`, "utf16le")), /^MQTT_CA: tls\/x: expected a certificate/],
    [...pem("MQTT_CA", KEY), /^MQTT_CA: tls\/x: expected a certificate/],
    [...pem("MQTT_CA", CERTIFICATE.replace(/^M/m, "N")), /^MQTT_CA: tls\/x: its certificate number 1 can't be read$/],
    ["a carriage return", { env: { MQTT_PASSWORD: "s3cret\r" } }, /^MQTT_PASSWORD: there is a control character in it/],
    ["a carriage return", { env: { MQTT_HOST: "broker\r" } }, /^MQTT_HOST: there is a control character in it/],
    ["a carriage return", { env: { MQTT_PREFIX: "haunt\r" } }, /^MQTT_PREFIX: there is a control character in it/],
    ["a line end in a URL", { env: { MQTT_URL: "mqtt://u:s3cret\n@h" } }, /^MQTT_URL: there is a control character/],
    ["the same, escaped", { env: { MQTT_URL: "mqtt://u:s3cret%0D@h" } }, /^MQTT_URL: its password: there is a control/],
    [
      "a # in a password",
      { env: { MQTT_URL: "mqtt://u:12#s3cret@h" } },
      /^MQTT_URL: after host .* "#": .* "%23" for it$/,
    ],
    [
      "a ? in a password",
      { env: { MQTT_URL: "mqtt://u:12?s3cret@h" } },
      /^MQTT_URL: after host .* "\?": .*"%3F" for it$/,
    ],
    [
      "a / in a password",
      { env: { MQTT_URL: "mqtt://u:12/s3cret@h" } },
      /^MQTT_URL: after host .* "\/": .*"%2F" for it$/,
    ],
    ["a query", { env: { MQTT_URL: "mqtt:/u?password=s3cret" } }, /^MQTT_URL: expected a URL/],
    ["a bad URL", { env: { MQTT_URL: "mqtt://u:pa#s3cret@h" } }, /^MQTT_URL: expected a URL .*got "mqtt:\/\/…@h"$/],
    [
      "Latin-1",
      { files: { "worker-host.yaml": Buffer.from("name: gr\xfcn\n", "latin1") as never } },
      /^worker-host\.yaml:1:9: it is not UTF-8/,
    ],
    [
      "a key twice",
      { files: { "worker-host.json": '{"name": "a",\n "name": "b"}' } },
      /^worker-host\.json:2:2: keys must be unique/,
    ],
    [
      "a long number",
      { env: { WORKER_CLAIM_MS: "12345678901234567890" } },
      /^WORKER_CLAIM_MS: expected a whole number/,
    ],
  ])("%s is refused by name, and no secret is shown", (_name, given, says) => {
    const faults = faultsOf(given);
    expect(faults[0]).toMatch(says);
    expect(faults.join("\n")).not.toContain("s3cret");
  });

  test("what is asked for in a broker's URL is beside it, and so is a zone", () => {
    expect(resolve({ env: { MQTT_URL: "ws://broker/mqtt?token=t0psecret" } }).external?.query).toBe("?token=t0psecret");
    expect(resolve({ env: { MQTT_HOST: "fe80::1%eth0" } }).external).toMatchObject({ host: "fe80::1%eth0" });
  });
});

test("nor is a worker's config that isn't UTF-8, or has a key twice, taken for what it isn't", async () => {
  const files = {
    "config.yaml": Buffer.from("name: gr\xfcn\n", "latin1") as never,
    "config.json": '{"a": {"b": 1, "b": 2}}',
  };
  const folder = makeFolder(files);
  const read = (name: string) => readConfigFile(join(folder, name), { env: {}, show: (path) => basename(path) });
  expect(await read("config.yaml")).toMatchObject({
    config: {},
    fault: expect.stringMatching(/^config\.yaml:1:9: it is not UTF-8/),
  });
  expect(await read("config.json")).toMatchObject({
    config: {},
    fault: expect.stringMatching(/^config\.json:1:16: keys must be/),
  });
});

describe("selection", () => {
  test("names, with commas in a text or as a list in the file", () => {
    const { selectProps, selectBuiltins } = resolve({
      env: { WORKER_PROPS_ALLOW: " fogger, coffin_jumper ,,", WORKER_BUILTINS_DISABLE: "heartbeat" },
      yaml: "props_disable: [grave_shaker, ' b ']\ndisable_all_builtins: yes\n",
    });
    expect(selectProps).toEqual({
      disableAll: false,
      allow: ["fogger", "coffin_jumper"],
      disable: ["grave_shaker", "b"],
    });
    expect(selectBuiltins).toEqual({ disableAll: true, allow: [], disable: ["heartbeat"] });
  });

  test.each(["1", "true", "yes", "on", "TRUE", " Yes "])("a switch is on with %j", (value) => {
    expect(resolve({ env: { WORKER_DISABLE_ALL_PROPS: value } }).selectProps.disableAll).toBe(true);
  });

  test.each(["0", "false", "no", "OFF"])("a switch is off with %j", (value) => {
    expect(resolve({ env: { WORKER_DISABLE_ALL_PROPS: value } }).selectProps.disableAll).toBe(false);
  });
});

describe("faults", () => {
  test.each<[Given, RegExp]>([
    [
      { env: { MQTT_URL: "192.168.1.10:1883" } },
      /^MQTT_URL: expected a URL such as "mqtt:.*, got "192\.168\.1\.10:1883"$/,
    ],
    [
      { env: { MQTT_URL: "http://broker" } },
      /^MQTT_URL: expected a URL .*\(mqtt, mqtts, ws or wss\), got "http:\/\/broker"$/,
    ],
    [{ env: { MQTT_URL: "mqtt://" } }, /^MQTT_URL: expected a URL/],
    [
      { env: { MQTT_URL: "mqtt://haunt:100%@broker" } },
      /^MQTT_URL: the password in it .*write "%25" .*or set MQTT_PASSWORD$/,
    ],
    [
      { env: { MQTT_HOST: "mqtt://broker" } },
      /^MQTT_HOST: expected a host name .*a URL goes into MQTT_URL, got "mqtt:\/\/broker"$/,
    ],
    [{ env: { MQTT_HOST: "my broker" } }, /^MQTT_HOST: expected a host name/],
    [{ env: { MQTT_HOST: "broker", MQTT_PORT: "0" } }, /^MQTT_PORT: expected a port from 1 to 65535, got "0"$/],
    [{ env: { MQTT_HOST: "broker", MQTT_PORT: "mqtt" } }, /^MQTT_PORT: expected a port .*got "mqtt"$/],
    [
      { env: { MQTT_PORT: "1884" } },
      /^MQTT_PORT: a port without MQTT_HOST; for the embedded broker it is --broker-port$/,
    ],
    [{ flags: { broker_port: "65536" } }, /^--broker-port: expected a port from 0 to 65535, got "65536"$/],
    [{ yaml: "broker_port: 18.5" }, /^worker-host\.yaml: broker_port: expected a port from 0 to 65535, got 18\.5$/],
    [{ env: { WORKER_LAN: "maybe" } }, /^WORKER_LAN: expected 1 or 0, got "maybe"$/],
    [{ yaml: "lan: ['on']" }, /^worker-host\.yaml: lan: expected 1 or 0, got \["on"\]$/],
    [{ yaml: "lan: {toString: 1}" }, /^worker-host\.yaml: lan: expected 1 or 0, got \{"toString":1\}$/],
    [{ yaml: "log_level: {toString: 1}" }, /^worker-host\.yaml: log_level: expected one of .*got \{"toString":1\}$/],
    [{ env: { MQTT_URL: "http://u:secret\n@broker" } }, /^MQTT_URL: there is a control character in it/],
    [{ flags: { log_level: "loud" } }, /^--log-level: expected one of trace, debug, info, .*got "loud"$/],
    [
      { yaml: "props_allow: 5" },
      /^worker-host\.yaml: props_allow: expected names, such as "fogger,coffin_jumper", got 5$/,
    ],
    [
      { env: { WORKER_PROPS_ALLOW: " , " } },
      /^WORKER_PROPS_ALLOW: it names nobody; .*WORKER_DISABLE_ALL_PROPS=1 to run none$/,
    ],
    [{ yaml: "builtins_allow: []" }, /^worker-host\.yaml: builtins_allow: it names nobody/],
    [
      { env: { MQTT_PREFIX: "halloween/#" } },
      /^MQTT_PREFIX: "halloween\/#" can't start a topic: .*write one such as "halloween"$/,
    ],
    [{ flags: { name: "the attic" } }, /^--name: "the attic" can't be a host's name: write one .* such as "attic"/],
    [{ env: { WORKER_NAME: "broadcast" } }, /^WORKER_NAME: "broadcast" can't be a host's name/],
    [{ env: { WORKER_CLAIM_MS: "1s" } }, /^WORKER_CLAIM_MS: expected a whole number, 10 or more, got "1s"$/],
    [{ yaml: "mqtt_prefix: [a]" }, /^worker-host\.yaml: mqtt_prefix: expected a text, got \["a"\]$/],
    [
      { yaml: "mqtt_password: 123" },
      /^worker-host\.yaml: mqtt_password: expected a text; put it in quotes, got a number$/,
    ],
    [{ yaml: "mqtt_hots: broker" }, /^worker-host\.yaml: "mqtt_hots" is no setting; did you mean "mqtt_host"\?$/],
    [{ yaml: "MQTT_HOST: broker" }, /^worker-host\.yaml: "MQTT_HOST" is no setting; did you mean "mqtt_host"\?$/],
    [{ yaml: "WORKER_PROPS_DIR: x" }, /^worker-host\.yaml: "WORKER_PROPS_DIR" is no setting; did you mean "props"\?$/],
    [{ yaml: "broker-port: 1" }, /^worker-host\.yaml: "broker-port" is no setting; did you mean "broker_port"\?$/],
    [{ yaml: "zzzzzz: 1" }, /^worker-host\.yaml: "zzzzzz" is no setting; there are: props, builtins, /],
    [{ yaml: "mqtt_host: broker\nlan: lan: 1\n" }, /^worker-host\.yaml:2:\d+: /],
    [{ yaml: "- a\n- b\n" }, /^worker-host\.yaml:1:1: expected keys and values, got a list$/],
    [{ yaml: `mqtt_password: "\${SECRET}"` }, /^worker-host\.yaml: \$\{SECRET\} is not set in the environment/],
    [{ files: { "worker-host.json": '{\n  "lan": true,\n}' } }, /^worker-host\.json:2:14: .*trailing commas/],
    [
      { files: { "worker-host.json": "{}" }, yaml: "" },
      /^worker-host\.yaml and worker-host\.json are both there: keep one$/,
    ],
    [{ files: { "worker-host.yaml/x": "" } }, /^worker-host\.yaml: can't be read \(EISDIR/],
  ])("%j", (given, says) => {
    expect(faultsOf(given)).toEqual([expect.stringMatching(says)]);
  });

  test("never show a password", () => {
    for (const url of ["broker:1883", "http://haunt:s3cret@broker", "mqtt//haunt:s3cret@broker", "haunt:s3cret@b/"]) {
      const faults = faultsOf({ env: { MQTT_URL: url, MQTT_PASSWORD: "s3cret" }, yaml: "mqtt_password: [s3cret]" });
      expect(faults).toHaveLength(1);
      expect(faults.join("\n")).not.toContain("s3cret");
    }
    expect(faultsOf({ yaml: "mqtt_password: [s3cret]" }).join("\n")).not.toContain("s3cret");
  });

  test("all are told at once, each with its place", () => {
    const faults = faultsOf({
      flags: { broker_port: "x" },
      env: { MQTT_HOST: "a b", MQTT_PREFIX: "#", WORKER_PROPS_ALLOW: ",", MQTT_CA: "nowhere.pem" },
      yaml: "log_level: loud\nlann: true\n",
    });
    for (const place of ["--broker-port: ", "MQTT_HOST: ", "MQTT_PREFIX: ", "WORKER_PROPS_ALLOW: "]) {
      expect(faults.filter((fault) => fault.startsWith(place))).toHaveLength(1);
    }
    expect(faults.filter((fault) => fault.startsWith("worker-host.yaml"))).toHaveLength(2);
    expect(new Set(faults).size).toBe(faults.length);
  });

  test("settings in the file take values from the environment", () => {
    const settings = resolve({
      yaml: `mqtt_host: \${BROKER:-broker}\nmqtt_password: \${SECRET}\n`,
      env: { SECRET: "boo" },
    });
    expect(settings.external).toMatchObject({ url: "mqtt://broker:1883", password: "boo" });
  });
});

const WORKER = workerSource("do_ping(text) { this.telemetry('pong', text ?? 'ok'); }");

describe("over the command line", () => {
  test.each(["run", "list", "send"])(
    "bad settings end %s with 2 and all faults, before anything else",
    async (command) => {
      const cwd = makeFolder({ "worker-host.yaml": "mqtt_prefx: haunt\n" });
      const { code, stdout, stderr } = await runCli([command, ...(command === "send" ? ["fogger", "start"] : [])], {
        cwd,
        env: { MQTT_URL: "nonsense", MQTT_PREFIX: "a+b" },
      });
      expect(code).toBe(2);
      expect(stdout).toBe("");
      expect(stderr.trim().split("\n")).toEqual([
        'worker-host.yaml: "mqtt_prefx" is no setting; did you mean "mqtt_prefix"?',
        'MQTT_URL: expected a URL such as "mqtt://192.168.1.10:1883" (mqtt, mqtts, ws or wss), got "nonsense"',
        'MQTT_PREFIX: "a+b" can\'t start a topic: "+", "#" and "$" can\'t be in it; write one such as "halloween"',
      ]);
    },
  );

  test("MQTT_PREFIX starts every topic", async () => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url, ["#"]);
    await startHost({ broker, props: { "fogger/backend/worker.ts": WORKER }, env: { MQTT_PREFIX: "haunt/2025" } });
    await client.expect("haunt/2025/fogger/status/availability", "online");
    await client.publish("haunt/2025/fogger/cmd", "ping hello");
    await client.expect("haunt/2025/fogger/telemetry/pong", "hello");
    await client.expect("haunt/2025/worker_host/status/availability", "online");
    const answer = await runCli(["send", "fogger", "ping", "again", "--mqtt-prefix", "haunt/2025"], {
      env: { MQTT_URL: broker.url },
    });
    expect(answer).toMatchObject({ code: 0, stderr: "" });
    await client.expect("haunt/2025/fogger/telemetry/pong", "again");
    expect(client.seen.all.filter(({ topic }) => !topic.startsWith("haunt/2025/"))).toEqual([]);
  });

  const running = async (env: Record<string, string>, more: StartHostOptions = {}) => {
    const props = Object.fromEntries(["a", "b", "c"].map((id) => [`${id}/backend/worker.ts`, WORKER]));
    const builtins = Object.fromEntries(["x", "y", "z"].map((id) => [`${id}.ts`, WORKER]));
    const host = await startHost({ props, builtins, env, ...more });
    await host.stop();
    const ids = host.log.all.filter(({ msg }) => msg === "running").map(({ worker }) => worker);
    return {
      ids: ids.sort().join(""),
      warnings: host.log.all.filter(({ level, msg }) => level === 40 && msg.startsWith("WORKER_")),
    };
  };

  test.each<[string, Record<string, string>]>([
    ["abcxyz", {}],
    ["abc", { WORKER_DISABLE_ALL_BUILTINS: "1", WORKER_BUILTINS_ALLOW: "x", WORKER_BUILTINS_DISABLE: "y" }],
    ["abcxy", { WORKER_BUILTINS_ALLOW: "x,y", WORKER_BUILTINS_DISABLE: "y" }],
    ["xyz", { WORKER_DISABLE_ALL_PROPS: "1", WORKER_PROPS_ALLOW: "a", WORKER_PROPS_DISABLE: "b" }],
    ["abz", { WORKER_PROPS_ALLOW: "a, b", WORKER_PROPS_DISABLE: "b", WORKER_BUILTINS_DISABLE: "x,y" }],
  ])("what runs is %s with %j", async (ids, env) => {
    expect(await running(env)).toEqual({ ids, warnings: [] });
  });

  test("a name that nobody has is told, with those that there are", async () => {
    const { ids, warnings } = await running({ WORKER_PROPS_DISABLE: "a,fogger" });
    expect(ids).toBe("bcxyz");
    expect(warnings.map(({ msg }) => msg)).toEqual(['WORKER_PROPS_DISABLE: there is no "fogger"; there are: a, b, c']);
  });

  test.each([
    ["silent", 0, Number.POSITIVE_INFINITY],
    ["warn", 40, 40],
    ["debug", 20, 20],
  ])("LOG_LEVEL=%s", async (level, atLeast, lowest) => {
    const broker = await startBroker();
    const client = await TestClient.connect(broker.url);
    const host = await startHost({
      broker,
      props: {
        "fogger/backend/worker.ts": workerSource(
          "async start() { for (const level of ['trace', 'debug', 'info', 'warn', 'error']) this.log[level](level); }",
        ),
      },
      env: { LOG_LEVEL: level },
      dontWait: true,
    });
    await client.expect("halloween/fogger/status/runstate", /"running"/);
    expect(await host.stop()).toEqual({ code: 0, signal: null });
    const levels = host.log.all.map((line) => line.level);
    expect(Math.min(...levels)).toBe(lowest);
    expect(levels.filter((each) => each < atLeast)).toEqual([]);
    expect(host.stderr).toBe("");
  });
});
