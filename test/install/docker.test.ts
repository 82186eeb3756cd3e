import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { delimiter, dirname, join, relative } from "node:path";
import glob from "fast-glob";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { SETTINGS } from "../../worker-host/host/settings/settings.ts";
import { startBroker } from "../harness/broker.ts";
import { TestClient } from "../harness/client.ts";
import { compose, type Service } from "../harness/compose.ts";
import { makeFolder } from "../harness/folder.ts";
import { cleanEnvironment, ROOT, startHost } from "../harness/host.ts";

const BUILD_MS = 300_000;

interface Instruction {
  name: string;
  /** `chown=node:node` and the like, without the dashes. */
  flags: Map<string, string>;
  rest: string;
}

interface Stage {
  name: string;
  from: string;
  instructions: Instruction[];
}

/** What an image holds, as a folder: `/app` is `<root>/app`. */
interface Layout {
  root: string;
  workdir: string;
  env: Record<string, string>;
}

const README = readFileSync(join(ROOT, "README.md"), "utf8");
const STAGES = parseDockerfile(readFileSync(join(ROOT, "Dockerfile"), "utf8"));
const LAST = STAGES.at(-1) as Stage;

function parseDockerfile(text: string): Stage[] {
  const stages: Stage[] = [];
  const lines = text
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .join("\n")
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .filter((line) => line.trim() !== "");
  for (const line of lines) {
    const [, name = "", flags = "", rest = ""] = /^([A-Z]+)\s+((?:--\S+\s+)*)(.*)$/.exec(line) ?? [];
    if (name === "FROM") {
      const [from = "", , as] = rest.split(" ");
      stages.push({ from, name: as ?? String(stages.length), instructions: [] });
      continue;
    }
    const pairs = [...flags.matchAll(/--([a-z-]+)=(\S+)/g)].map(([, key, value]) => [key, value] as [string, string]);
    stages.at(-1)?.instructions.push({ name, flags: new Map(pairs), rest });
  }
  return stages;
}

function instructions(stage: Stage, name: string): Instruction[] {
  return stage.instructions.filter((instruction) => instruction.name === name);
}

/** The command of a `CMD ["node", …]`. */
function commandOf(text: string): [string, ...string[]] {
  return JSON.parse(text.slice(text.indexOf("[")));
}

/** Whether .dockerignore keeps this path of the context from the builder. */
function isIgnored(path: string): boolean {
  const parents = path.split("/").map((_, index, levels) => levels.slice(0, index + 1).join("/"));
  let ignored = false;
  for (const line of readFileSync(join(ROOT, ".dockerignore"), "utf8").split("\n")) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const pattern = line.replace(/^!/, "").replace(/\/$/, "");
    const source = pattern
      .replaceAll(/[.+^$()|[\]{}]/g, "\\$&")
      .replaceAll(
        /\*\*\/|\*\*|\*|\?/g,
        (found) => ({ "**/": "(.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]" })[found] ?? "",
      );
    if (parents.some((parent) => new RegExp(`^${source}$`).test(parent))) ignored = !line.startsWith("!");
  }
  return ignored;
}

/** The files that a source of a COPY from the context names, by their path in it. */
async function contextFiles(source: string): Promise<string[]> {
  const found = await glob(source, { cwd: ROOT, dot: true, onlyFiles: false });
  const inside = found.map((path) => (statSync(join(ROOT, path)).isDirectory() ? `${path}/**` : path));
  const files = await glob(inside, { cwd: ROOT, dot: true });
  return files.filter((file) => !isIgnored(file));
}

/** Builds a stage as the Dockerfile says, in a folder of its own. */
async function build(stage: Stage, built: Map<string, Layout>): Promise<Layout> {
  const base = built.get(stage.from);
  const layout: Layout = { root: makeFolder(), workdir: base?.workdir ?? "/", env: { ...base?.env } };
  if (base) copy(base.root, layout.root);
  for (const { name, flags, rest } of stage.instructions) {
    const here = join(layout.root, layout.workdir);
    if (name === "WORKDIR") {
      layout.workdir = rest;
      mkdirSync(join(layout.root, rest), { recursive: true });
    } else if (name === "ENV") {
      const [key = "", value = ""] = rest.split("=");
      layout.env[key] = value;
    } else if (name === "RUN") {
      await run(rest, here, layout.env);
    } else if (name === "COPY") {
      const from = flags.get("from");
      if (from === undefined) await copyFromContext(rest, here);
      else copyFromStage(rest, here, built.get(from));
    }
  }
  return layout;
}

async function copyFromContext(rest: string, here: string): Promise<void> {
  const [sources, target] = sourcesAndTarget(rest);
  const into = rest.endsWith("/");
  for (const source of sources) {
    for (const file of await contextFiles(source)) {
      const path = into ? file.split("/").at(-1) : relative(source, file);
      copy(join(ROOT, file), join(here, target, path ?? ""));
    }
  }
}

function copyFromStage(rest: string, here: string, stage: Layout | undefined): void {
  const [[source = ""], target] = sourcesAndTarget(rest);
  copy(join(stage?.root ?? "", source), join(here, target));
}

function sourcesAndTarget(rest: string): [string[], string] {
  const paths = rest.split(/\s+/);
  return [paths.slice(0, -1), paths.at(-1) ?? ""];
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, { recursive: true, verbatimSymlinks: true });
}

/** This process's environment as a container's would be: nothing of the `npm test` around it, and this very node. */
function containerEnvironment(env: Record<string, string>): Record<string, string | undefined> {
  const clean = Object.entries(cleanEnvironment()).filter(
    ([name]) => !/^(npm_(?!config_)|npm_config_local_prefix|NODE_ENV|INIT_CWD)/.test(name),
  );
  const path = [dirname(process.execPath), process.env.PATH].join(delimiter);
  return { ...Object.fromEntries(clean), PATH: path, npm_config_prefer_offline: "true", ...env };
}

async function run(command: string, cwd: string, env: Record<string, string>): Promise<void> {
  const { code, output } = await outcome(["sh", "-c", command], cwd, env);
  expect(code, `${command}\n${output}`).toBe(0);
}

async function outcome([file, ...args]: [string, ...string[]], cwd: string, env: Record<string, string>) {
  const child = spawn(file, args, { cwd, env: containerEnvironment(env), stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data) => {
      output += String(data);
    });
  }
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, output };
}

/** Every file under a folder and when it was last written. */
function snapshot(folder: string, except: string[]): Map<string, number> {
  return new Map(
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((path) => !except.some((name) => path === name || path.startsWith(`${name}/`)))
      .map((path) => join(folder, path))
      .filter((path) => existsSync(path))
      .map((path) => [path, statSync(path).mtimeMs]),
  );
}

const COMPOSE = compose();

/** A service's mounts, by their place in the container. */
function mounts(service: Service): Map<string, { source: string; readOnly: boolean }> {
  return new Map(
    service.volumes.map((text) => {
      const [source = "", target = "", mode] = text.split(":");
      return [target, { source, readOnly: mode === "ro" }];
    }),
  );
}

test("every source that the Dockerfile copies is there, and .dockerignore lets it through", async () => {
  const copies = STAGES.flatMap((stage) => instructions(stage, "COPY")).filter(({ flags }) => !flags.has("from"));
  const sources = copies.flatMap(({ rest }) => sourcesAndTarget(rest)[0]);
  expect(sources).toEqual(expect.arrayContaining(["package.json", "package-lock.json", "builtin-workers"]));
  for (const source of sources) expect(await contextFiles(source), source).not.toEqual([]);
  for (const kept of ["worker-host/cli.ts", "worker-host/bin.cjs", "builtin-workers/heartbeat.ts"])
    expect(isIgnored(kept), kept).toBe(false);
  for (const out of [
    ".git/config",
    "node_modules/mqtt/package.json",
    "data/x",
    "dist/cli.cjs",
    "props/fogger/README.md",
    ".env",
  ])
    expect(isIgnored(out), out).toBe(true);
});

test("the image is small, its user is not root, and compose asks for its health as it does itself", () => {
  expect(LAST.from).toBe("node:24-slim");
  expect(STAGES.length).toBeGreaterThan(1);
  expect(instructions(LAST, "USER").map(({ rest }) => rest)).toEqual(["node"]);
  const [healthcheck] = instructions(LAST, "HEALTHCHECK");
  const command = commandOf(healthcheck?.rest ?? "");
  expect(command).toEqual(["node", "worker-host/bin.cjs", "list", "--running"]);
  expect(COMPOSE.services.worker_host.healthcheck.test).toEqual(["CMD", ...command]);
});

test("what the Dockerfile builds starts, with the environment and mounts of docker-compose.yml", {
  timeout: BUILD_MS,
}, async () => {
  const built = new Map<string, Layout>();
  for (const stage of STAGES) built.set(stage.name, await build(stage, built));
  const image = built.get(LAST.name) as Layout;
  const cwd = join(image.root, image.workdir);
  expect(existsSync(join(cwd, "node_modules/esbuild"))).toBe(true);
  expect(existsSync(join(cwd, "node_modules/vitest"))).toBe(false);

  const { worker_host: service } = COMPOSE.services;
  for (const [target, { source }] of mounts(service)) {
    if (source.startsWith("./")) copy(join(ROOT, source), join(image.root, target));
  }
  const before = snapshot(image.root, ["app/data"]);

  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const env = { ...image.env, MQTT_HOST: "127.0.0.1", MQTT_PORT: String(broker.port) };
  const [start] = instructions(LAST, "CMD");
  const host = await startHost({
    broker,
    cwd,
    builtins: "shipped",
    command: commandOf(start?.rest ?? ""),
    env: { ...image.env, PATH: containerEnvironment({}).PATH ?? "" },
  });
  for (const id of ["heartbeat", "fogger", "coffin_jumper"]) {
    await client.expect(`halloween/${id}/status/availability`, "online");
  }
  await client.command("heartbeat", "ping from outside");
  expect(await client.expect("halloween/heartbeat/telemetry/pong")).toBe("from outside");

  const health = commandOf(instructions(LAST, "HEALTHCHECK")[0]?.rest ?? "");
  const healthy = await outcome(health, cwd, env);
  expect(healthy.code, healthy.output).toBe(0);
  expect(await host.stop("SIGTERM")).toEqual({ code: 0, signal: null });
  expect((await outcome(health, cwd, env)).code).toBe(1);

  // The root file system is read-only in compose.
  expect(service.read_only).toBe(true);
  expect(snapshot(image.root, ["app/data"])).toEqual(before);
});

test("docker-compose.yml: the broker on loopback, and the host that uses it", () => {
  const { broker, worker_host: host } = COMPOSE.services;
  expect(Object.keys(COMPOSE.services)).toEqual(["broker", "worker_host"]);
  expect(broker.image).toBe("eclipse-mosquitto:2");
  expect(broker.ports).toEqual(["127.0.0.1:1883:1883", "127.0.0.1:8883:8883"]);
  expect(host.build).toBe(".");
  // Health and metrics, for this machine.
  expect(host.ports).toEqual([
    `127.0.0.1:${host.environment?.WORKER_HEALTH_PORT}:${host.environment?.WORKER_HEALTH_PORT}`,
  ]);
  expect(host.depends_on).toEqual({ broker: { condition: "service_healthy" } });
  expect(host.tmpfs).toEqual(["/tmp"]);
  for (const service of [broker, host]) {
    expect(service.restart).toBe("unless-stopped");
    expect(service.init).toBe(true);
    expect(service.healthcheck.test[0]).toMatch(/^CMD/);
    expect(service.ulimits.nofile.soft).toBeGreaterThan(1024);
  }
});

test("what is settled beside docker-compose.yml comes to the host, as the README has it", () => {
  const env = { MQTT_PREFIX: "haunt", WORKER_NAME: "attic", LOG_LEVEL: "debug" };
  expect(compose(env).services.worker_host.environment).toMatchObject(env);

  const [, text = ""] = /`docker-compose\.override\.yml`.*?^```yaml\n(.*?)^```$/ms.exec(README) ?? [];
  const { services } = parse(text) as { services: Record<string, Pick<Service, "environment" | "volumes">> };
  expect(Object.keys(services)).toEqual(["worker_host"]);
  const settings = Object.keys(services.worker_host?.environment ?? {}).filter((name) => name.startsWith("WORKER_"));
  expect(settings).toHaveLength(1);
  expect(SETTINGS.map(({ env }) => env as string)).toEqual(expect.arrayContaining(settings));
  const workdir = instructions(LAST, "WORKDIR")[0]?.rest ?? "";
  expect(services.worker_host?.volumes).toEqual([`./worker-host.yaml:${workdir}/worker-host.yaml:ro`]);
});

test("docker-compose.yml: each environment variable is a setting, each mount has its place", () => {
  const { broker, worker_host: host } = COMPOSE.services;
  expect(host.environment?.MQTT_HOST).toBe("broker");
  for (const name of Object.keys(host.environment ?? {}))
    expect(SETTINGS.map(({ env }) => env as string)).toContain(name);

  const workdir = instructions(LAST, "WORKDIR")[0]?.rest ?? "";
  const defaults = new Map<string, string | undefined>(
    SETTINGS.map((setting) => [setting.key, "fallback" in setting ? setting.fallback : undefined]),
  );
  const ofHost = mounts(host);
  expect(ofHost.get(`${workdir}/${defaults.get("props")}`)).toEqual({ source: "./props", readOnly: false });
  const data = ofHost.get(`${workdir}/${defaults.get("data")}`);
  expect(data?.readOnly).toBe(false);

  const ofBroker = mounts(broker);
  expect(ofBroker.get("/mosquitto/config/mosquitto.conf")).toEqual({ source: "./mosquitto.conf", readOnly: true });
  const kept = ofBroker.get("/mosquitto/data");
  expect(readFileSync(join(ROOT, "mosquitto.conf"), "utf8")).toContain("\npersistence_location /mosquitto/data/\n");
  expect(Object.keys(COMPOSE.volumes).sort()).toEqual([kept?.source, data?.source].sort());
});
