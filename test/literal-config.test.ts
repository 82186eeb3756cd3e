// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how a config names a variable
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { stringify } from "yaml";
import type { HostDescription, WorkerDescription } from "../worker-host/contract/description.ts";
import { resolveSettings } from "../worker-host/host/settings/settings.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { type Files, makeFolder, workerSource, writeFiles } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

const SECRET = "hunter2-of-the-haunt";
const ENV = { HAUNT_SECRET: SECRET };
const ZOD = 'import { duration, z } from "worker-host";';

/** A host with these props, whose environment has the secret, and whoever listens to all that is said. */
async function run(files: Files, cwd = makeFolder()) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const props = join(cwd, "props");
  writeFiles(props, files);
  const host = await startHost({ broker, cwd, args: ["--props", props], env: ENV });
  let count = 0;
  const tell = async (action: string, args?: unknown, id = "worker_host") => {
    const topic = `halloween/cli/reply/${++count}`;
    await client.command(id, { action, args, reply_to: topic });
    return JSON.parse(await client.expect(topic)) as { status: string; result?: unknown; error?: string };
  };
  /** Nothing of the secret was said so far, neither on the broker nor in the log. */
  const kept = async () => {
    await client.barrier();
    expect(client.seen.all.filter(({ text }) => text.includes(SECRET))).toEqual([]);
    expect(host.stdout + host.stderr).not.toContain(SECRET);
  };
  return { client, host, props, tell, kept, cwd };
}

describe("what comes over the wire is literal", () => {
  const WORKER = workerSource(
    `static config = z.object({ word: z.string().default(""), words: z.array(z.string()).default([]), ms: duration().default(1) });
    onConfig() {}
    do_matches(text) { return this.config.word === text; }
    do_words() { return this.config.words.map((word) => word.length); }`,
    ZOD,
  );

  test.each([
    ["config.yaml", "# the lab\nms: 5\n"],
    ["config.json", '{"ms": 5}\n'],
  ])("a variable in a configure stays text, in %s and for the worker", async (name, before) => {
    const { client, props, tell, kept } = await run({
      "lab/backend/worker.ts": WORKER,
      [`lab/backend/${name}`]: before,
    });
    const file = () => readFileSync(join(props, "lab/backend", name), "utf8");
    const refused = await tell("configure", { id: "lab", config: { ms: "${HAUNT_SECRET}" } });
    expect(refused).toMatchObject({ status: "error", error: expect.stringContaining('got "${HAUNT_SECRET}"') });
    expect(file()).toBe(before);

    for (const word of ["${HAUNT_SECRET}", "$${HAUNT_SECRET}", "a ${NONE:-b} $$${HAUNT_SECRET:-x", "${"]) {
      expect(await tell("configure", { id: "lab", config: { word } })).toMatchObject({ status: "ok" });
      expect(await tell("matches", word, "lab")).toMatchObject({ status: "ok", result: true });
      const says = JSON.stringify(word).replaceAll(/[$.*+?{}()|[\]\\]/g, "\\$&");
      await client.expect("halloween/lab/description", new RegExp(`"values":\\{"word":${says}`));
      // The same once more is no change.
      const written = file();
      expect(await tell("configure", { id: "lab", config: { word } })).toMatchObject({ status: "ok" });
      expect(file()).toBe(written);
    }
    expect(await tell("configure", { id: "lab", config: { word: null, words: ["${HAUNT_SECRET}"] } })).toMatchObject({
      status: "ok",
    });
    expect(file()).toContain("$${HAUNT_SECRET}");
    expect(await tell("words", undefined, "lab")).toMatchObject({ result: ["${HAUNT_SECRET}".length] });
    await kept();
  });
});

describe("what a variable became is not shown", () => {
  const FAULTS: Record<string, [config: string, schema: string, says: RegExp]> = {
    number: ["level: ${HAUNT_SECRET}", "z.object({ level: z.number() })", /level: expected number, got "\$\{HAUNT_SEC/],
    deep: [
      "list: [{ in: 'http://${HAUNT_SECRET}:${PORT:-80}/' }]",
      "z.object({ list: z.array(z.object({ in: z.number() })) })",
      /list\[0\]\.in: expected number, got "http:\/\/\$\{HAUNT_SECRET\}:\$\{PORT:-80\}\/"/,
    ],
    unset: ["level: ${NOT_SET}", "z.object({ level: z.number() })", /level: expected number, got "\$\{NOT_SET\}"/],
    // What zod says, the author may say otherwise.
    own_words: [
      "word: ${HAUNT_SECRET}",
      "z.object({ word: z.string().refine(() => false, { error: ({ input }) => `no ${input}` }) })",
      /word: no \[hidden\], got "\$\{HAUNT_SECRET\}"/,
    ],
    // V8 quotes the beginning of what is no JSON.
    throws: [
      "word: ${HAUNT_SECRET}",
      "z.object({ word: z.string().transform((text) => JSON.parse(text)) })",
      /its schema can't check this: SyntaxError/,
    ],
    reserved: [
      "worker: { area: ['${HAUNT_SECRET}'] }",
      "z.object({})",
      /worker\.area: expected string, got \["\$\{HAUNT/,
    ],
  };

  test("a fault in a config quotes the file", async () => {
    const files = Object.entries(FAULTS).flatMap(([id, [config, schema]]) => [
      [`${id}/backend/worker.ts`, workerSource(`static config = ${schema};`, ZOD)],
      [`${id}/backend/config.yaml`, `${config}\n`],
    ]);
    const { client, props, cwd, kept } = await run(Object.fromEntries(files));
    for (const [id, [, , says]] of Object.entries(FAULTS)) {
      const runstate = await client.expect(`halloween/${id}/status/runstate`, /"failed"/);
      expect((JSON.parse(runstate) as { detail: string }).detail, id).toMatch(says);
    }
    await kept();
    for (const command of ["check", "doctor", "list"]) {
      const { stdout, stderr } = await runCli([command, "--props", props, "--broker-port", "1"], { cwd, env: ENV });
      expect(stdout + stderr, command).not.toContain(SECRET.slice(0, 6));
    }
  });

  test("a description has it as the file does, and the worker what it became", async () => {
    const { client, tell, kept } = await run({
      "lab/backend/worker.ts": workerSource(
        `static config = z.object({ url: z.string(), list: z.array(z.string()), port: z.string() });
        do_length() { return this.config.url.length; }`,
        ZOD,
      ),
      "lab/backend/config.yaml":
        "url: http://${HAUNT_SECRET}/\nlist: [a, '${HAUNT_SECRET}', '$${HAUNT_SECRET}']\nport: ${PORT:-80}\nworker: { name: 'The ${HAUNT_SECRET}', area: Hall }\n",
    });
    const lab = JSON.parse(await client.expect("halloween/lab/description")) as WorkerDescription;
    expect(lab.config?.values).toEqual({
      url: "http://${HAUNT_SECRET}/",
      list: ["a", "${HAUNT_SECRET}", "${HAUNT_SECRET}"],
      port: "${PORT:-80}",
    });
    expect(lab).toMatchObject({ name: "The ${HAUNT_SECRET}", area: "Hall" });
    expect((await tell("list")).result).toMatchObject([{ id: "lab", name: "The ${HAUNT_SECRET}" }]);
    expect(await tell("length", undefined, "lab")).toMatchObject({ result: `http://${SECRET}/`.length });
    await kept();
  });

  test("neither in the errors of a worker nor in its log, nor where it throws at a new config", async () => {
    const { client, host, props, tell, kept } = await run({
      "lab/backend/worker.ts": workerSource(
        `static config = z.object({ token: z.string(), level: z.number().default(1) });
        do_fail() { throw new Error("no answer from " + this.config.token); }
        async do_run() { await this.exec("/nowhere/" + this.config.token); }
        do_log() { this.log.info("using " + this.config.token); console.log("token", this.config.token); }
        onConfig({ token, level }) { if (level > 1) throw new Error("not with " + token); }`,
        ZOD,
      ),
      "lab/backend/config.yaml": "token: ${HAUNT_SECRET}\n",
    });
    expect(await tell("fail", undefined, "lab")).toMatchObject({ error: "Error: no answer from [hidden]" });
    await client.expect("halloween/lab/status/error", "fail: Error: no answer from [hidden]");
    expect((await tell("run", undefined, "lab")).error).toMatch(/there is no program "\/nowhere\/\[hidden\]"/);
    await tell("log", undefined, "lab");
    await host.logged("token [hidden]");
    const refused = await tell("configure", { id: "lab", config: { level: 2 } });
    expect(refused.error).toMatch(/written, but not taken: .*not with \[hidden\]/);
    writeFiles(props, { "lab/backend/config.yaml": "token: ${HAUNT_SECRET}\nlevel: 3\n" });
    await client.expect("halloween/lab/status/error", /not with \[hidden\]; the old config stays/);
    await kept();
  });

  test("nor in what is said of worker-host.yaml", async () => {
    const cwd = makeFolder({ "worker-host.yaml": 'packages: { fog: "${HAUNT_SECRET}" }\n', "package.json": "{}" });
    const { client, kept } = await run({ "good/backend/worker.ts": workerSource() }, cwd);
    const host = JSON.parse(
      await client.expect("halloween/worker_host/description", /"fog".*"failed"/),
    ) as HostDescription;
    expect(host.workers).toMatchObject([{ id: "fog", detail: expect.stringContaining('got "${HAUNT_SECRET}"') }, {}]);
    await kept();
  });

  test("nor in a fault of a setting", () => {
    const [env, value] = [{ BAD: `+${SECRET}/#` }, "${BAD}"];
    const all =
      "props builtins data mqtt_url mqtt_prefix name standby claim_ms broker_port lan max_processes log_level";
    for (const [key, given] of [
      ...["mqtt_port", ...all.split(" "), "home_assistant_prefix", "health_port"].map((key) => [key, value] as const),
      ["props_allow", [[value]]],
      ["data", [value]],
      ["mqtt_host", value],
    ] as const) {
      const cwd = makeFolder({ "worker-host.yaml": stringify({ [key]: given }) });
      const said = faultsOf(cwd, env);
      expect(said, key).not.toContain(SECRET);
      if (typeof given !== "string" || !["props", "builtins", "data"].includes(key)) expect(said, key).toContain(value);
    }
    const broker = makeFolder({
      "worker-host.yaml": 'mqtt_url: "mqtt://u:${BAD}@${BAD}"\nmqtt_ca: "${BAD}/ca.pem"\n',
    });
    const said = faultsOf(broker, { BAD: SECRET });
    expect(said).toMatch(/can't read \$\{BAD\}\/ca\.pem: ENOENT/);
    expect(said).not.toContain(SECRET);
  });
});

/** What is wrong with the settings of a folder. */
function faultsOf(cwd: string, env: Record<string, string>): string {
  try {
    resolveSettings({ flags: new Map(), env, cwd, shippedBuiltins: "/shipped" });
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}
