// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how a config names a variable
import { expect, test } from "vitest";
import { parseConfigText } from "../worker-host/host/config/config-file.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { type Files, workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";

const SHOWS_CONFIG = workerSource("async start() { this.telemetry('config', JSON.stringify(this.config)); }");

interface Seen {
  config: unknown;
  /** From `status/warn`; what is in the worker's folder, without the folder. */
  warnings: string[];
}

/** By the id of a worker, the files beside it. */
type Cases = Record<string, Files>;

/** Runs a worker for each case, all in one host, and gives what they got and what was told. */
async function run(
  cases: Cases,
  { env = {}, builtins = false }: { env?: Record<string, string>; builtins?: boolean } = {},
): Promise<Record<string, Seen>> {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const files = Object.fromEntries(
    Object.entries(cases).flatMap(([id, beside]) => {
      const folder = builtins ? "" : `${id}/backend/`;
      const worker = builtins ? `${id}.ts` : "worker.ts";
      return Object.entries({ [worker]: SHOWS_CONFIG, ...beside }).map(([name, text]) => [`${folder}${name}`, text]);
    }),
  );
  const host = await startHost({ broker, [builtins ? "builtins" : "props"]: files, env });
  const seen: Record<string, Seen> = {};
  for (const id of Object.keys(cases)) {
    const config: unknown = JSON.parse(await client.expect(`halloween/${id}/telemetry/config`));
    await client.expect(`halloween/${id}/status/runstate`, /"running"/);
    seen[id] = { config, warnings: [] };
  }
  await host.stop();
  await client.expect("halloween/worker_host/status/availability", "offline");
  for (const [id, { warnings }] of Object.entries(seen)) {
    const shown = (text: string) => text.replaceAll(/\S*worker-host-test-\w+\/(\w+\/backend\/)?/g, "");
    warnings.push(...client.texts(`halloween/${id}/status/warn`).map(shown));
    const logged = host.log.all.filter(({ level, worker }) => level === 40 && worker === id);
    expect(logged.map(({ msg }) => shown(msg))).toEqual(warnings);
  }
  return seen;
}

const FULL = { interval: 5, deep: { list: [1, "two", null], on: true } };

test("JSON and YAML become this.config; without a file it is {}", async () => {
  const seen = await run({
    json: { "config.json": JSON.stringify(FULL) },
    yaml: { "config.yaml": "interval: 5\ndeep:\n  list: [1, two, null]\n  on: true\n" },
    yml: { "config.yml": "# a comment\ninterval: 5\ndeep: {list: [1, two, ~], on: true}\n" },
    byte_order_mark: { "config.json": `\ufeff${JSON.stringify(FULL)}` },
    empty_yaml: { "config.yaml": "# nothing yet\n" },
    empty_json: { "config.json": "\n" },
    none: {},
    example_only: { "config.example.json": '{"interval": 1}' },
  });
  const full = { config: FULL, warnings: [] };
  const empty = { config: {}, warnings: [] };
  expect(seen).toEqual({
    json: full,
    yaml: full,
    yml: full,
    byte_order_mark: full,
    empty_yaml: empty,
    empty_json: empty,
    none: empty,
    example_only: empty,
  });
});

test("of two, the first of .json, .yaml and .yml counts, and a warning says so", async () => {
  const seen = await run({
    json_first: { "config.yml": "a: yml", "config.json": '{"a": "json"}' },
    yaml_first: { "config.yml": "a: yml", "config.yaml": "a: yaml" },
    all: { "config.yml": "a: yml", "config.yaml": "a: yaml", "config.json": '{"a": "json"}' },
  });
  const unread = (file: string, read: string) => `${file} is not read, since ${read} is there too: keep one of them`;
  expect(seen).toEqual({
    json_first: { config: { a: "json" }, warnings: [unread("config.yml", "config.json")] },
    yaml_first: { config: { a: "yaml" }, warnings: [unread("config.yml", "config.yaml")] },
    all: {
      config: { a: "json" },
      warnings: [unread("config.yaml", "config.json"), unread("config.yml", "config.json")],
    },
  });
});

/** Each with what its warning says. */
const UNREADABLE: Record<string, [Files, RegExp]> = {
  trailing_comma: [
    { "config.json": '{\n  "interval": 5,\n}\n' },
    /^config\.json:2:16: .*trailing comma.*; taken for \{\}$/,
  ],
  no_value: [
    { "config.json": '{\n  "interval": ,\n  "other": 1\n}\n' },
    /^config\.json:2:15: Unexpected "," .*; taken for \{\}$/,
  ],
  comment: [
    { "config.json": '{\n  // seconds\n  "interval": 5\n}\n' },
    /^config\.json:2:3: .*comments; taken for \{\}$/,
  ],
  two_byte_letters: [{ "config.json": '{"größe": ,}' }, /^config\.json:1:11: /],
  breaks_off: [{ "config.json": '{\n  "interval": 5' }, /^config\.json:2:16: /],
  tab: [{ "config.yaml": "deep:\n\tinterval: 5\n" }, /^config\.yaml:2:1: .*tab.*; taken for \{\}$/i],
  twice: [{ "config.yaml": "interval: 5\nother: 1\ninterval: 6\n" }, /^config\.yaml:3:1: .*unique.*; taken for \{\}$/],
  list: [{ "config.yml": "- 1\n- 2\n" }, /^config\.yml:1:1: expected keys and values, got a list; taken for \{\}$/],
  text: [{ "config.json": '"fast"' }, /^config\.json:1:1: .*got a string; taken for \{\}$/],
  folder: [{ "config.json/x": "" }, /^config\.json: can't be read \(it is no file\); taken for \{\}$/],
};

test("one that can't be read is a warning with its place, and the worker runs with {}", async () => {
  const seen = await run(Object.fromEntries(Object.entries(UNREADABLE).map(([id, [files]]) => [id, files])));
  for (const [id, [, says]] of Object.entries(UNREADABLE)) {
    expect(seen[id], id).toEqual({ config: {}, warnings: [expect.stringMatching(says)] });
  }
});

test("values come from the environment; an unset one is a warning that names it, and isn't there", async () => {
  const json = {
    broker: "${BROKER_NAME}",
    url: "http://${BROKER_NAME}:${WLED_PORT:-80}/json",
    list: ["${BROKER_NAME}", 5, true, null],
    empty: "${EMPTY}",
    fallback: "${EMPTY:-none}",
    unsetFallback: "${NOT_SET:-a b}",
    noFallback: "${NOT_SET:-}",
    dollars: "$5 $BROKER_NAME $${BROKER_NAME} ${not a name}",
    "${BROKER_NAME}": "a key stays",
  };
  const seen = await run(
    {
      set: { "config.json": JSON.stringify(json) },
      unset: { "config.yaml": "password: ${WLED_PASSWORD}\nurl: http://${WLED_HOST}/json\ninterval: 5\n" },
    },
    { env: { BROKER_NAME: "cellar", EMPTY: "" } },
  );
  expect(seen.set).toEqual({
    config: {
      broker: "cellar",
      url: "http://cellar:80/json",
      list: ["cellar", 5, true, null],
      empty: "",
      fallback: "none",
      unsetFallback: "a b",
      noFallback: "",
      dollars: "$5 $BROKER_NAME ${BROKER_NAME} ${not a name}",
      "${BROKER_NAME}": "a key stays",
    },
    warnings: [],
  });
  const warning = (name: string) =>
    `config.yaml: \${${name}} is not set in the environment: set it, or write \${${name}:-default}`;
  expect(seen.unset).toEqual({
    config: { url: "http:///json", interval: 5 },
    warnings: [warning("WLED_PASSWORD"), warning("WLED_HOST")],
  });
});

test("a builtin's is <name>.config.*", async () => {
  const seen = await run(
    {
      beat: { "beat.config.yaml": "interval: 5", "config.json": '{"interval": 1}' },
      other: { "other.config.json": '{"interval": 2}' },
      none: {},
      faulty: { "faulty.config.json": "{]" },
    },
    { builtins: true },
  );
  expect(seen).toEqual({
    beat: { config: { interval: 5 }, warnings: [] },
    other: { config: { interval: 2 }, warnings: [] },
    none: { config: {}, warnings: [] },
    faulty: { config: {}, warnings: [expect.stringMatching(/^faulty\.config\.json:1:2: /)] },
  });
});

test("a config is never more than data: no prototype, no alias bomb", () => {
  const { config } = parseConfigText("config.json", '{"__proto__": {"evil": true}, "a": {"__proto__": 1}}', {});
  expect((config as { evil?: unknown }).evil).toBeUndefined();
  expect(Object.getPrototypeOf(config)).toBe(Object.prototype);

  const bomb = ["a: &a [x,x,x,x,x,x,x,x,x]"];
  for (let level = 0; level < 12; level++) {
    const [from, to] = [String.fromCharCode(97 + level), String.fromCharCode(98 + level)];
    bomb.push(`${to}: &${to} [*${from},*${from},*${from},*${from},*${from},*${from},*${from},*${from},*${from}]`);
  }
  const { config: none, fault } = parseConfigText("config.yaml", bomb.join("\n"), {});
  expect(none).toEqual({});
  expect(fault).toMatch(/^config\.yaml:1:1: .*alias/);
});
