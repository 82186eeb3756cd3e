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

interface Case {
  /** What is beside its worker.ts. */
  files: Files;
  body?: string;
}

/** Runs a worker for each case, by its id, and a good one, all in one host. */
async function run(cases: Record<string, Case>) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props: Files = { "good/backend/worker.ts": workerSource("do_ping() { this.telemetry('pong', 1); }") };
  for (const [id, { files, body = SCHEMA }] of Object.entries(cases)) {
    const worker = workerSource(body, 'import { command, duration, z } from "worker-host";');
    for (const [name, text] of Object.entries({ "worker.ts": worker, ...files })) props[`${id}/backend/${name}`] = text;
  }
  return { client, host: await startHost({ broker, props }) };
}

test("a config is checked and gets its defaults before start(); what is no fault is a warning", async () => {
  const { client } = await run({
    valid: { files: { "config.yaml": "duration_ms: 2min\nlevel: 7\ntargets:\n  - id: fogger\n    ms: 5\n" } },
    // One that can't be parsed counts as {}: it runs where the schema lets that through.
    no_yaml: {
      files: { "config.yaml": "a: [" },
      body: "static config = z.object({ level: z.number().default(3) });\noverride async start() { this.telemetry('config', this.config); }",
    },
    unknown_keys: {
      files: { "config.yaml": "level: 1\nduraton_ms: 5\ntargets:\n  - id: a\n    ms: 1\n    mss: 2\n" },
    },
  });
  const configOf = async (id: string) => JSON.parse(await client.expect(`halloween/${id}/telemetry/config`));
  expect(await configOf("valid")).toEqual({
    duration_ms: 120_000,
    level: 7,
    token: "none",
    targets: [{ id: "fogger", ms: 5 }],
  });

  expect(await configOf("no_yaml")).toEqual({ level: 3 });
  await client.expect("halloween/no_yaml/status/warn", /config\.yaml:1:\d+: .*taken for \{\}/);

  // With the nearest known name, at any depth.
  expect(await configOf("unknown_keys")).toMatchObject({ level: 1 });
  for (const says of [
    /config\.yaml:2 duraton_ms: nobody reads this key; did you mean "duration_ms"\?$/,
    /config\.yaml:6 mss: nobody reads this key; did you mean "ms"\?$/,
  ])
    await client.expect("halloween/unknown_keys/status/warn", says);
});

const FAULTS: Record<string, Case & { says: RegExp[] }> = {
  yaml: {
    files: {
      "config.yaml":
        "# the fog\nduration_ms: 5 parsecs\nlevel: high\ntoken: 47110815\ntargets:\n  - id: a\n    ms: soon\n",
    },
    says: [
      /config\.yaml:2 duration_ms: expected ms, or a text such as "5s" or "2min", got "5 parsecs"$/,
      /config\.yaml:3 level: expected number, got "high"$/,
      /config\.yaml:4 token: expected string, got something else$/,
      /config\.yaml:7 targets\[0\]\.ms: expected number, got "soon"$/,
    ],
  },
  json: {
    files: { "config.json": '{\n  "level": 700,\n  "targets": [\n    {"id": "a"}\n  ]\n}' },
    says: [
      /config\.json:2 level: .*<=100.*, got 700$/,
      /config\.json:4 targets\[0\]\.ms: expected number, got nothing$/,
    ],
  },
  empty: { files: { "config.yaml": "" }, says: [/config\.yaml level: expected number, got nothing$/] },
  // The one to write is named.
  no_file: { files: {}, says: [/no_file\/backend\/config\.yaml level: expected number, got nothing$/] },
  no_schema: {
    files: {},
    body: "static config = { level: 1 };",
    says: [/no_schema\/backend\/worker\.ts: "static config" is no schema: write z\.object/],
  },
};

test("every fault of a config is told at once, with file, line and key, and only that worker fails", async () => {
  const { client, host } = await run(FAULTS);
  for (const [id, { says }] of Object.entries(FAULTS)) {
    const runstate = JSON.parse(await client.expect(`halloween/${id}/status/runstate`, /"failed"/)) as {
      detail: string;
    };
    const lines = runstate.detail.split("\n");
    expect(lines, id).toHaveLength(says.length);
    for (const [index, pattern] of says.entries()) expect(lines[index], id).toMatch(pattern);
    await client.expect(`halloween/${id}/status/error`, runstate.detail);
    await host.logged(`failed: ${runstate.detail}`);
  }
  expect(host.stdout).not.toContain("47110815");
  await client.command("good", "ping");
  await client.expect("halloween/good/telemetry/pong");
});

test("duration() reads a command's text, too", async () => {
  const body = "@command({ args: duration().default(1000) }) do_wait(ms: number) { this.telemetry('ms', ms); }";
  const { client } = await run({ lab: { files: {}, body } });
  for (const [payload, ms] of [
    ["wait", "1000"],
    ["wait 500", "500"],
    ["wait 5s", "5000"],
    ["wait 2 min", "120000"],
    ["wait 1.5h", "5400000"],
  ] as const) {
    await client.command("lab", payload);
    expect(await client.expect("halloween/lab/telemetry/ms"), payload).toBe(ms);
  }
  await client.command("lab", "wait for it");
  await client.expect(
    "halloween/lab/status/warn",
    /^wait refused: expected ms, or a text such as "5s" or "2min", got "for it"$/,
  );
  await client.command("lab", `wait ${"9".repeat(400)}h`);
  await client.expect("halloween/lab/status/warn", /^wait refused: expected ms, or a text such as .*, got "9+…$/);
});
