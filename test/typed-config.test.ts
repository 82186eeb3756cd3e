import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { type Files, workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";

const SCHEMA = `static config = z.object({
  duration_ms: duration().default(1500),
  level: z.number().int().max(100),
  token: z.string().meta({ secret: true }).default("none"),
  targets: z.array(z.object({ id: z.string(), ms: z.number() })).default([]),
});
override async start() { this.telemetry("config", this.config); }`;

async function run(config: Files, body = SCHEMA) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const source = workerSource(body, 'import { command, duration, z } from "worker-host";');
  const good = workerSource("do_ping() { this.telemetry('pong', 1); }");
  const files = Object.fromEntries(Object.entries(config).map(([name, text]) => [`lab/backend/${name}`, text]));
  const props = { "lab/backend/worker.ts": source, "good/backend/worker.ts": good, ...files };
  return { client, host: await startHost({ broker, props }) };
}

test("a config is checked and gets its defaults before start()", async () => {
  const { client } = await run({ "config.yaml": "duration_ms: 2min\nlevel: 7\ntargets:\n  - id: fogger\n    ms: 5\n" });
  expect(JSON.parse(await client.expect("halloween/lab/telemetry/config"))).toEqual({
    duration_ms: 120_000,
    level: 7,
    token: "none",
    targets: [{ id: "fogger", ms: 5 }],
  });
});

test.each([
  [
    "config.yaml",
    "# the fog\nduration_ms: 5 parsecs\nlevel: high\ntoken: 4711\ntargets:\n  - id: a\n    ms: soon\n",
    [
      /config\.yaml:2 duration_ms: expected ms, or a text such as "5s" or "2min", got "5 parsecs"$/,
      /config\.yaml:3 level: expected number, got "high"$/,
      /config\.yaml:4 token: expected string, got something else$/,
      /config\.yaml:7 targets\[0\]\.ms: expected number, got "soon"$/,
    ],
  ],
  [
    "config.json",
    '{\n  "level": 700,\n  "targets": [\n    {"id": "a"}\n  ]\n}',
    [/config\.json:2 level: .*<=100.*, got 700$/, /config\.json:4 targets\[0\]\.ms: expected number, got nothing$/],
  ],
  ["config.yaml", "", [/config\.yaml level: expected number, got nothing$/]],
])(
  "every fault of %s is told at once, with file, line and key, and only that worker fails",
  async (name, text, says) => {
    const { client, host } = await run({ [name]: text });
    const runstate = JSON.parse(await client.expect("halloween/lab/status/runstate", /"failed"/)) as { detail: string };
    const lines = runstate.detail.split("\n");
    expect(lines).toHaveLength(says.length);
    for (const [index, pattern] of says.entries()) expect(lines[index]).toMatch(pattern);
    await client.expect("halloween/lab/status/error", runstate.detail);
    await host.logged(`failed: ${runstate.detail}`);
    expect(host.stdout).not.toContain("4711");
    await client.command("good", "ping");
    await client.expect("halloween/good/telemetry/pong");
  },
);

test("without a config file the fault names the one to write", async () => {
  const { client } = await run({});
  await client.expect("halloween/lab/status/error", /lab\/backend\/config\.yaml level: expected number, got nothing$/);
});

test("a config that can't be parsed counts as {}: it runs where the schema lets that through", async () => {
  const { client } = await run(
    { "config.yaml": "a: [" },
    "static config = z.object({ level: z.number().default(3) });\noverride async start() { this.telemetry('config', this.config); }",
  );
  await client.expect("halloween/lab/telemetry/config", '{"level":3}');
  await client.expect("halloween/lab/status/warn", /config\.yaml:1:\d+: .*taken for \{\}/);
});

test("an unknown key is a warning with the nearest known name, at any depth", async () => {
  const { client } = await run({
    "config.yaml": "level: 1\nduraton_ms: 5\ntargets:\n  - id: a\n    ms: 1\n    mss: 2\n",
  });
  await client.expect("halloween/lab/telemetry/config");
  await client.expect(
    "halloween/lab/status/warn",
    /config\.yaml:2 duraton_ms: nobody reads this key; did you mean "duration_ms"\?$/,
  );
  await client.expect("halloween/lab/status/warn", /config\.yaml:6 mss: nobody reads this key; did you mean "ms"\?$/);
});

test("a static config that is no schema, and one of a command, fail in words", async () => {
  const broken = await run({}, "static config = { level: 1 };");
  await broken.client.expect(
    "halloween/lab/status/error",
    /lab\/backend\/worker\.ts: "static config" is no schema: write z\.object/,
  );
});

test("duration() reads a command's text, too", async () => {
  const { client } = await run(
    {},
    "@command({ args: duration().default(1000) }) do_wait(ms: number) { this.telemetry('ms', ms); }",
  );
  for (const [payload, ms] of [
    ["wait", "1000"],
    ["wait 500", "500"],
    ["wait 5s", "5000"],
    ["wait 2 min", "120000"],
    ["wait 1.5h", "5400000"],
  ] as const) {
    const got = client.expectNext("halloween/lab/telemetry/ms");
    await client.command("lab", payload);
    expect(await got, payload).toBe(ms);
  }
  await client.command("lab", "wait for it");
  await client.expect(
    "halloween/lab/status/warn",
    /^wait refused: expected ms, or a text such as "5s" or "2min", got "for it"$/,
  );
  await client.command("lab", `wait ${"9".repeat(400)}h`);
  await client.expect("halloween/lab/status/warn", /^wait refused: expected ms, or a text such as .*, got "9+…$/);
});
