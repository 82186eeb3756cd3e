import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { delimiter, dirname, join, relative } from "node:path";
import glob from "fast-glob";
import { expect } from "vitest";
import { startBroker } from "./broker.ts";
import { TestClient } from "./client.ts";
import { compose, type Service } from "./compose.ts";
import { makeFolder } from "./folder.ts";
import { cleanEnvironment, ROOT, startHost } from "./host.ts";

export interface Instruction {
  name: string;
  /** `chown=node:node` and the like, without the dashes. */
  flags: Map<string, string>;
  rest: string;
}

export interface Stage {
  name: string;
  from: string;
  instructions: Instruction[];
}

/** What an image holds, as a folder: `/app` is `<root>/app`. */
export interface Layout {
  root: string;
  workdir: string;
  env: Record<string, string>;
}

export function parseDockerfile(text: string): Stage[] {
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

export function instructions(stage: Stage, name: string): Instruction[] {
  return stage.instructions.filter((instruction) => instruction.name === name);
}

/** The command of a `CMD ["node", …]`. */
export function commandOf(text: string): [string, ...string[]] {
  return JSON.parse(text.slice(text.indexOf("[")));
}

/** Whether .dockerignore keeps this path of the context from the builder. */
export function isIgnored(path: string, context = ROOT): boolean {
  const parents = path.split("/").map((_, index, levels) => levels.slice(0, index + 1).join("/"));
  let ignored = false;
  for (const line of readFileSync(join(context, ".dockerignore"), "utf8").split("\n")) {
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
export async function contextFiles(source: string, context = ROOT): Promise<string[]> {
  const found = await glob(source, { cwd: context, dot: true, onlyFiles: false });
  const inside = found.map((path) => (statSync(join(context, path)).isDirectory() ? `${path}/**` : path));
  const files = await glob(inside, { cwd: context, dot: true });
  return files.filter((file) => !isIgnored(file, context));
}

/** Builds a stage as the Dockerfile says, in a folder of its own. */
async function build(stage: Stage, built: Map<string, Layout>, context: string): Promise<Layout> {
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
      if (from === undefined) await copyFromContext(rest, here, context);
      else copyFromStage(rest, here, built.get(from));
    }
  }
  return layout;
}

async function copyFromContext(rest: string, here: string, context: string): Promise<void> {
  const [sources, target] = sourcesAndTarget(rest);
  const into = rest.endsWith("/");
  for (const source of sources) {
    for (const file of await contextFiles(source, context)) {
      const path = into ? file.split("/").at(-1) : relative(source, file);
      copy(join(context, file), join(here, target, path ?? ""));
    }
  }
}

function copyFromStage(rest: string, here: string, stage: Layout | undefined): void {
  const [[source = ""], target] = sourcesAndTarget(rest);
  copy(join(stage?.root ?? "", source), join(here, target));
}

export function sourcesAndTarget(rest: string): [string[], string] {
  const paths = rest.split(/\s+/);
  return [paths.slice(0, -1), paths.at(-1) ?? ""];
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, { recursive: true, verbatimSymlinks: true });
}

/** This process's environment as a container's would be: nothing of the `npm test` around it, and this very node. */
export function containerEnvironment(env: Record<string, string>): Record<string, string | undefined> {
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

/** A service's mounts, by their place in the container. */
export function mounts(service: Service): Map<string, { source: string; readOnly: boolean }> {
  return new Map(
    service.volumes.map((text) => {
      const [source = "", target = "", mode] = text.split(":");
      return [target, { source, readOnly: mode === "ro" }];
    }),
  );
}

/**
 * Builds the image of a folder with a Dockerfile and a docker-compose.yml, and has it run as compose would: these workers
 * come online, it is healthy until it is stopped, and it writes into its data folder only.
 */
export async function composed(context: string, ids: string[]): Promise<Layout & { cwd: string }> {
  const stages = parseDockerfile(readFileSync(join(context, "Dockerfile"), "utf8"));
  const built = new Map<string, Layout>();
  for (const stage of stages) built.set(stage.name, await build(stage, built, context));
  const last = stages.at(-1) as Stage;
  const image = built.get(last.name) as Layout;
  const cwd = join(image.root, image.workdir);

  const { worker_host: service } = compose({}, context).services;
  for (const [target, { source }] of mounts(service)) {
    if (source.startsWith("./")) copy(join(context, source), join(image.root, target));
  }
  const before = snapshot(image.root, ["app/data"]);

  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const env = { ...image.env, MQTT_HOST: "127.0.0.1", MQTT_PORT: String(broker.port) };
  const [start] = instructions(last, "CMD");
  const host = await startHost({
    broker,
    cwd,
    builtins: "shipped",
    command: commandOf(start?.rest ?? ""),
    env: { ...image.env, PATH: containerEnvironment({}).PATH ?? "" },
  });
  for (const id of ids) await client.expect(`halloween/${id}/status/availability`, "online");
  await client.command("heartbeat", "ping from outside");
  expect(await client.expect("halloween/heartbeat/telemetry/pong")).toBe("from outside");

  const health = commandOf(instructions(last, "HEALTHCHECK")[0]?.rest ?? "");
  expect(service.healthcheck.test).toEqual(["CMD", ...health]);
  const healthy = await outcome(health, cwd, env);
  expect(healthy.code, healthy.output).toBe(0);
  expect(await host.stop("SIGTERM")).toEqual({ code: 0, signal: null });
  expect((await outcome(health, cwd, env)).code).toBe(1);

  // The root file system is read-only in compose.
  expect(service.read_only).toBe(true);
  expect(snapshot(image.root, ["app/data"])).toEqual(before);
  return { ...image, cwd };
}
