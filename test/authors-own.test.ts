// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how a config names a variable
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { WorkerDescription } from "../worker-host/contract/description.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { type Files, makeFolder, workerSource, writeFiles } from "./harness/folder.ts";
import { ROOT, startHost } from "./harness/host.ts";

const OWN = ".meta({ author: true })";
const WORKER = workerSource(
  `static config = z.object({
    level: z.number().default(1),
    player: z.string()${OWN}.default("aplay"),
    files: z.record(z.string(), z.string())${OWN}.default({}),
    lamp: z.object({ host: z.union([z.string(), z.array(z.string())])${OWN}.optional(), port: z.number().default(80) }).optional(),
    lamps: z.array(z.tuple([z.string()${OWN}, z.number()])).default([]),
    either: z.union([z.string(), z.object({ path: z.string()${OWN} })]).optional(),
  });
  onConfig() { this.telemetry("told", this.config); }`,
  'import { z } from "worker-host";',
);

async function run(files: Files) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = makeFolder(files);
  await startHost({ broker, args: ["--props", props], env: { PLAYER: "aplay" } });
  let count = 0;
  const configure = async (id: string, config: object) => {
    const topic = `halloween/cli/reply/${++count}`;
    await client.command("worker_host", { action: "configure", args: { id, config }, reply_to: topic });
    return JSON.parse(await client.expect(topic)) as { status: string; error?: string };
  };
  return { client, props, configure, read: (path: string) => readFileSync(join(props, path), "utf8") };
}

const BEFORE = `player: \${PLAYER}
files: { howl: howl.wav }
lamp: { host: 10.0.0.1, port: 81 }
lamps: [[10.0.0.1, 1]]
either: { path: /tmp/a }
`;

/** Each with the key that the refusal names. */
const CHANGES: [config: object, key: string][] = [
  [{ player: "/bin/sh" }, "player"],
  // Neither what it became, so that nobody can guess at it, nor that very text.
  [{ player: "aplay" }, "player"],
  [{ player: "${PLAYER}" }, "player"],
  [{ player: null }, "player"],
  [{ level: "loud", player: "/bin/sh" }, "player"],
  [{ files: { howl: "/etc/passwd" } }, "files"],
  [{ files: { more: "x" } }, "files"],
  [{ files: null }, "files"],
  [{ lamp: { host: "10.0.0.2" } }, "lamp.host"],
  [{ lamp: { host: ["10.0.0.1"] } }, "lamp.host"],
  [{ lamp: null }, "lamp.host"],
  [{ lamp: [1] }, "lamp.host"],
  [{ lamps: [["10.0.0.2", 1]] }, "lamps[0][0]"],
  [
    {
      lamps: [
        ["10.0.0.1", 1],
        ["10.0.0.2", 1],
      ],
    },
    "lamps[1][0]",
  ],
  [{ lamps: [] }, "lamps[0][0]"],
  [{ either: { path: "/tmp/b" } }, "either.path"],
  [{ either: "x" }, "either.path"],
  // Under another id, it would be the same program.
  [{ worker: { instances: { twin: { player: "/bin/sh" } } } }, "player"],
  [{ worker: { instances: { twin: {}, other: { lamp: { host: "x" } } } } }, "lamp.host"],
];

test("configure refuses to change what is marked as the author's, in words, and takes all else", {
  timeout: 90_000,
}, async () => {
  const { client, props, configure, read } = await run({
    "lab/backend/worker.ts": WORKER,
    "lab/backend/config.yaml": BEFORE,
    "off/backend/worker.ts": WORKER,
    "off/backend/config.yaml": "worker: { enabled: false }\n",
    "strobe/backend/worker.ts": WORKER,
    "strobe/backend/config.yaml": "level: 2\nworker:\n  instances:\n    left: { player: mpg123 }\n    right: {}\n",
  });
  for (const [config, key] of CHANGES) {
    const { status, error } = await configure("lab", config);
    expect({ status, error }, JSON.stringify(config)).toEqual({
      status: "error",
      error: expect.stringMatching(/lab\/backend\/config\.yaml(:\d+)? \S+: its author alone changes this/),
    });
    expect(error).toContain(` ${key}: `);
    expect(read("lab/backend/config.yaml")).toBe(BEFORE);
  }
  for (const [id, config] of [
    ["left", { player: "/bin/sh" }],
    ["right", { player: "mpg123" }],
    // It isn't run, and would be with the next command.
    ["off", { player: "/bin/sh" }],
    ["off", { player: "/bin/sh", worker: { enabled: true } }],
  ] as const) {
    expect(await configure(id, config), id).toMatchObject({ error: expect.stringContaining("its author alone") });
  }

  expect(await configure("lab", { level: 5, lamp: { port: 82 }, lamps: [["10.0.0.1", 7]] })).toMatchObject({
    status: "ok",
  });
  expect(read("lab/backend/config.yaml")).toContain("player: ${PLAYER}\n");
  await client.expect("halloween/lab/telemetry/told", /"port":82.*\["10\.0\.0\.1",7\]/);
  // The same as it is there is no change.
  expect(await configure("left", { player: "mpg123", level: 3 })).toMatchObject({ status: "ok" });
  expect(await configure("off", { worker: { enabled: true } })).toMatchObject({ status: "ok" });
  await client.expect("halloween/off/status/availability", "online");
  expect(await configure("lab", { worker: { instances: { twin: { level: 4 } } } })).toMatchObject({ status: "ok" });
  await client.expect("halloween/twin/status/availability", "online");

  writeFiles(props, { "off/backend/config.yaml": "player: mpg123\n" });
  await client.expect("halloween/off/telemetry/told", /"player":"mpg123"/);
  const { config } = JSON.parse(await client.expect("halloween/off/description", /mpg123/)) as WorkerDescription;
  expect(config?.schema).toMatchObject({ properties: { player: { author: true } } });
});

test("what a configure would bring in besides is checked as well", async () => {
  const { configure, read } = await run({
    "good/backend/worker.ts": workerSource(),
    "lab/backend/worker.ts": WORKER,
    "lab/backend/config.yaml": "worker: { instances: { left: {}, right: {} } }\n",
    "solo/backend/worker.ts": WORKER,
  });
  for (const [id, config, says] of [
    ["left", { worker: { colour: "red" } }, /colour/],
    ["solo", { worker: { instances: { solo_left: { level: "loud" } } } }, /level: expected number, got "loud"/],
    ["solo", { worker: { instances: { good: {} } } }, /two workers have the id "good"/],
  ] as const) {
    expect((await configure(id, config)).error).toMatch(says);
  }
  expect(read("lab/backend/config.yaml")).toBe("worker: { instances: { left: {}, right: {} } }\n");
});

test("of the shipped props, the author alone sets programs, files and addresses", async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await startHost({ broker, args: ["--props", join(ROOT, "props")] });
  const marked: string[] = [];
  for (const id of ["sound_player", "wled_strip", "coffin_jumper"]) {
    const { config } = JSON.parse(await client.expect(`halloween/${id}/description`)) as WorkerDescription;
    const fields = Object.entries(config?.schema.properties ?? {});
    marked.push(...fields.filter(([, { author }]) => author === true).map(([name]) => `${id} ${name}`));
  }
  expect(marked).toEqual([
    ...["sound_player player", "sound_player player_args", "sound_player sounds"],
    ...["wled_strip topic", "coffin_jumper trigger_topic"],
  ]);
});
