import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";
import type { Command } from "commander";
import { writeDurably } from "../base/durable-file.ts";
import { packageFile, pathFrom } from "../base/paths.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { decodeText, defined, jsonIn } from "../contract/payload.ts";
import { faultOfPropId, propOfBoard } from "../contract/topics.ts";
import { isValues, type Values } from "../host/config/config-file.ts";
import { isLeftOut } from "../host/plan/discover.ts";
import { SETTINGS, type SettingDefinition, type Settings } from "../host/settings/settings.ts";
import { nearestSettings } from "../host/settings/settings-sources.ts";
import { compiler, INSTALL_TYPES, installedTypes, isInstalledFor } from "./check.ts";
import { type Edges, type Flags, withSettings } from "./options.ts";

/** The prop to begin with, in `templates/`. */
const LANTERN = "lantern";
const PREFIX = "halloween";
/** What belongs to one machine, or is installed. */
const LEFT_BEHIND = /(^|\/)(node_modules|\.pio|secrets\.h)(\/|$)/;
/** A file that is to be written. */
type Written = [path: string, content: string | Uint8Array];

/** The commands that write a haunt of one's own, and install what it needs. */
export function addNew(program: Command, edges: Edges): void {
  const { say, settingsFrom, cwd } = edges;
  const show = pathFrom(cwd);

  withSettings(program.command("init"), ({ key }) => key === "mqtt_host" || key === "mqtt_prefix")
    .description("make this folder a haunt of one's own; never overwrites a file")
    .option("--prop <id>", `the id of its first prop, an example (default: ${LANTERN})`)
    .option("--yes", "ask nothing: what is not given has its default")
    .option("--no-install", "write the files only, and run no npm install")
    .addHelpText("after", "\nExample:\n  worker-host init --yes --prop lantern --mqtt-host 192.168.1.10")
    .action((flags: Flags) => init(flags, edges));

  withSettings(program.command("new"), ({ key }) => key === "props" || key === "mqtt_prefix")
    .description("write a prop to begin with")
    .argument("[kind]", "what to make: prop")
    .argument("[id]", "its id, the name of its folder")
    .option("--from <prop>", "a prop that comes with worker-host; a lamp if not given")
    .option("--list", "the props that come with worker-host")
    .addHelpText("after", "\nExample:\n  worker-host new prop lantern\n  worker-host new prop fogger --from fogger")
    .action((kind: string | undefined, id: string | undefined, flags: Flags) => {
      if (flags.list) return say(shippedProps().map(describeShipped).join("\n"));
      const from = flags.from as string | undefined;
      return say(createNew(settingsFrom(flags), { kind, id, show, cwd, ...defined({ from }) }).join("\n"));
    });

  withSettings(program.command("install"), ({ key }) => key === "props")
    .description("install the packages of props that have a package.json, as far as they are not installed")
    .addHelpText("after", "\nExample:\n  worker-host install")
    .action(async (flags: Flags) => {
      const { props } = settingsFrom(flags);
      const { folders, faults } = uninstalled(props);
      if (folders.length + faults.length === 0)
        say(`nothing to install: no prop in ${show(props)} has a package.json without packages`);
      for (const folder of folders) {
        say(`npm install in ${show(folder)}`);
        await npmInstall(folder, show).catch((error: Error) => faults.push(error.message));
      }
      if (faults.length > 0) throw new WorkerHostError("not_built", faults.join("\n"));
    });
}

interface NewOptions {
  /** What is to be made: `prop`. */
  kind: string | undefined;
  id: string | undefined;
  /** A prop that comes along; the lamp if not given. */
  from?: string;
  cwd: string;
  /** How a path is shown to people. */
  show: (path: string) => string;
}

/**
 * Writes a prop to begin with; gives what to tell its author.
 *
 * @throws WorkerHostError `invalid_settings` where the id can't be one, or something is there already
 */
function createNew(settings: Settings, { kind, id, from, cwd, show }: NewOptions): string[] {
  if (kind !== "prop" || id === undefined) {
    const found = kind === undefined || kind === "prop" ? "an id is missing" : `there is no "${kind}" to make`;
    throw refusal(`${found}; there is: npx worker-host new prop <id>`);
  }
  refuseId(id, settings.name);
  const isNew = nearestSettings(cwd) === undefined && !existsSync(settings.props);
  if (from !== undefined && !shippedProps().includes(from))
    throw refusal(`--from: no prop "${from}" comes with worker-host; there are: ${shippedProps().join(", ")}`);
  const outer = propsAround(cwd);
  if (outer !== undefined && settings.props.startsWith(`${outer}/`)) {
    throw refusal(`this is inside ${outer}, and props don't nest: go to ${dirname(outer)}`);
  }
  const folder = join(settings.props, id);
  if (existsSync(folder)) throw refusal(`${show(folder)} is there already: take another id, or remove it first`);
  const source = packageFile(from === undefined ? `templates/${LANTERN}` : `props/${from}`);
  const files = copied(source, folder, id, settings.prefix);
  const config = join(dirname(settings.props), "tsconfig.json");
  const typed = isInstalledFor(settings.props);
  if (!typed && !existsSync(config)) files.push([config, tsconfig(settings.props)]);
  write(files);
  return [
    ...files.map(([path]) => `wrote ${show(path)}`),
    ...(typed || files.some(([path]) => path === config)
      ? []
      : [
          `for your editor, add to compilerOptions in ${show(config)}: "paths": ${JSON.stringify(installedTypes().paths)}`,
        ]),
    ...(isNew ? ["there was no haunt here; for all that belongs to one: npx worker-host init"] : []),
    ...(compiler() === undefined ? [`for types in your editor and in check: ${INSTALL_TYPES}`] : []),
    "",
    ...(existsSync(join(folder, "backend")) ? [`check it:   npx worker-host check ${id}`] : []),
    "run it:     npx worker-host, or nothing where a host runs already",
    from === undefined
      ? `try it:     npx worker-host send ${id} glow 2s`
      : `read it:    ${show(join(folder, "README.md"))} says what it does`,
  ];
}

function refusal(text: string): WorkerHostError {
  return new WorkerHostError("invalid_settings", text);
}

function refuseId(id: string, hostName: string): void {
  const prop = propOfBoard(id);
  const fault = isLeftOut(id)
    ? `no host looks into a folder "${id}": take a name without "_" in front`
    : prop !== undefined
      ? `"${id}" is the id of the board of "${prop}": take one without "_hw" at its end`
      : faultOfPropId(id, hostName);
  if (fault) throw refusal(fault);
  if (existsSync(packageFile(`builtin-workers/${id}.ts`)))
    throw refusal(`"${id}" is a builtin worker that comes with worker-host: take another id`);
}

/** The ids of the props that come along. */
function shippedProps(): string[] {
  return readdirSync(packageFile("props")).filter((id) => existsSync(packageFile(`props/${id}/README.md`)));
}

/** A line for people: the id, and the first sentence of its README. */
function describeShipped(id: string): string {
  const [, , text = ""] = readFileSync(packageFile(`props/${id}/README.md`), "utf8").split("\n");
  const sentence = /^.*?(?=[.:](\s|$))/.exec(text)?.[0] ?? text;
  return `${id.padEnd(16)}${sentence.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")}`;
}

/** The folder of props that a folder is in, or is, where one can tell by its name and what is in it. */
function propsAround(folder: string): string | undefined {
  const above = dirname(folder);
  if (above === folder) return undefined;
  const isProp = (name: string) => ["backend", "firmware"].some((part) => existsSync(join(folder, name, part)));
  return basename(folder) === "props" && readdirSync(folder).some(isProp) ? folder : propsAround(above);
}

/** The files of a shipped folder, as they are to be elsewhere: with another id, and links that lead back here. */
function copied(from: string, to: string, id: string, prefix: string): Written[] {
  const name = basename(from);
  // Where it is an id, and no word, nor what a sketch is called.
  const idPattern = new RegExp(`(?<!kind = ")(?<=["'\`/]|^# )${name}(?=(_hw)?["'\`/]|$)|\\b${name}(?=_hw\\b)`, "gm");
  return readdirSync(from, { recursive: true, encoding: "utf8" })
    .filter((path) => !LEFT_BEHIND.test(path) && statSync(join(from, path)).isFile())
    .sort()
    .map((path) => {
      const bytes = readFileSync(join(from, path));
      const linked = (link: string) => {
        const target = resolve(dirname(join(from, path)), link);
        return existsSync(target) ? relative(dirname(join(to, path)), target) : link;
      };
      const text = decodeText(bytes)
        ?.replaceAll(idPattern, id)
        .replaceAll(/(?:\.\.\/)+(?:lib|docs)\b/g, linked);
      const topics = text !== undefined && path.endsWith(".md") ? text.replaceAll(`${PREFIX}/`, `${prefix}/`) : text;
      return [join(to, path), topics ?? bytes];
    });
}

/**
 * Writes files that are not there yet.
 *
 * @throws WorkerHostError `invalid_settings` where that can't be done
 */
function write(files: Written[]): void {
  for (const [path, content] of files) {
    try {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content, { flag: "wx" });
    } catch (error) {
      throw cantWrite(path, error as NodeJS.ErrnoException);
    }
  }
}

function cantWrite(path: string, { code, message }: NodeJS.ErrnoException): WorkerHostError {
  return refusal(`${path} can't be written (${code ?? message}): mend that, and do it again; what is written stays`);
}

/** Whether something has that name, be it a link that leads nowhere. */
function isTaken(path: string): boolean {
  const folder = dirname(path);
  const isFolder = statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true;
  return isFolder && readdirSync(folder).includes(basename(path));
}

/**
 * What stands beside the folder of the props, for an editor to find their types.
 *
 * @param installed worker-host is found there by its name
 */
export function tsconfig(props: string, installed = false): string {
  const options = installedTypes();
  const { paths, typeRoots, ...others } = options;
  const include = [basename(props), ...(installed ? ["*.config.ts"] : [])];
  return `${JSON.stringify({ compilerOptions: installed ? others : options, include }, null, 2)}\n`;
}

/** What `init` asks, by the flag that answers it. */
const QUESTIONS: [flag: string, question: string][] = [
  ["prop", `What is the first prop's id, an example? (${LANTERN})`],
  ["mqttHost", "At which address is your MQTT broker? (none: worker-host brings one along)"],
  ["mqttPrefix", `What do all topics start with? (${PREFIX})`],
];

/** Writes what a haunt of one's own consists of, as far as it is not there, and has npm install what it needs. */
async function init(flags: Flags, edges: Edges): Promise<void> {
  const { cwd, say, settingsFrom, version } = edges;
  const show = pathFrom(cwd);
  const { manifest, indent } = readManifest(cwd);
  const around = nearestSettings(cwd) ?? propsAround(cwd);
  if (around !== undefined && around !== cwd)
    throw refusal(`this is inside another haunt, ${around}: take a folder of its own`);
  if (manifest.name === "worker-host") throw refusal("this is worker-host itself: take a folder of your own");
  const isSet = around === cwd;
  if (isSet && (flags.mqttHost ?? flags.mqttPrefix) !== undefined)
    throw refusal("worker-host.yaml is there already: write mqtt_host and mqtt_prefix into it");
  const hasProps = existsSync(settingsFrom(flags).props);
  const open = QUESTIONS.filter(([flag]) => flags[flag] === undefined && !(hasProps && flag === "prop"));
  const answers = flags.yes || isSet ? flags : { ...flags, ...(await ask(open, edges)) };
  const settings = settingsFrom(answers);
  if (hasProps && answers.prop !== undefined)
    throw refusal(`${show(settings.props)} is there already: npx worker-host new prop <id>`);
  const id = String(answers.prop ?? LANTERN);
  refuseId(id, settings.name);

  const whole = wholeManifest(manifest, cwd, version);
  const isWhole = isDeepStrictEqual(whole, manifest);
  if (!isWhole) {
    const path = join(cwd, "package.json");
    const text = `${JSON.stringify(whole, null, indent)}\n`;
    await writeDurably(path, text, (handle) => handle.chmod(0o644)).catch((error: Error) => {
      throw cantWrite(path, error);
    });
  }
  const missing = [
    ...projectFiles(settings, String(whole.name)),
    ...(isSet ? [] : [[settings.settingsFile, settingsText(answers)] satisfies Written]),
    ...(hasProps ? [] : copied(packageFile(`templates/${LANTERN}`), join(settings.props, id), id, settings.prefix)),
  ].filter(([path]) => !isTaken(path));
  write(missing);
  const written = [...(isWhole ? [] : [join(cwd, "package.json")]), ...missing.map(([path]) => path)];
  say(written.map((path) => `wrote ${show(path)}`).join("\n") || "all of it is there already: nothing was written");
  for (const text of remarksOn(manifest, wholeManifest({}, cwd, version))) say(text);
  if (flags.install === false) return say("\nnext:       npm install");
  if (!isWhole || !existsSync(join(cwd, "node_modules"))) await npmInstall(cwd, show);
  const next = ["run it:     npm start", "test it:    npm test", "more props: npx worker-host new --list"];
  say(["", ...next].join("\n"));
}

/** What a person answers, by the flags that would have done so; nothing where the input ends. */
async function ask(questions: typeof QUESTIONS, { input, say }: Edges): Promise<Flags> {
  const reader = createInterface({ input });
  const lines = reader[Symbol.asyncIterator]();
  const answers: Flags = {};
  for (const [flag, question] of questions) {
    say(question);
    const { value, done } = await lines.next();
    if (!done && value.trim() !== "") answers[flag] = value.trim();
  }
  reader.close();
  return answers;
}

/** The parts of a package.json that are added to. */
const PARTS = ["scripts", "dependencies", "devDependencies", "allowScripts"];

/**
 * The package.json of a folder, and how its lines are indented; empty where there is none.
 *
 * @throws WorkerHostError `invalid_settings` where it can't be read
 */
function readManifest(folder: string): { manifest: Values; indent: string } {
  const path = join(folder, "package.json");
  // Editors on Windows put a mark in front that is no JSON.
  const text = existsSync(path) ? readFileSync(path, "utf8").replace(/^\uFEFF/, "") : "{}";
  const manifest = jsonIn(text);
  if (!isValues(manifest)) throw refusal(`${path}: expected an object in JSON: mend it first`);
  const odd = PARTS.find((part) => part in manifest && !isValues(manifest[part]));
  if (odd !== undefined)
    throw refusal(`${path}: "${odd}" is ${JSON.stringify(manifest[odd])}: expected an object; mend it first`);
  return { manifest, indent: /^\{\r?\n([ \t]+)/.exec(text)?.[1] ?? "  " };
}

/** What stays in a package.json that was there, and is not what a haunt has. */
function remarksOn(own: Values, fresh: Values): string[] {
  return ["scripts", "dependencies"].flatMap((part) =>
    Object.entries(fresh[part] as Values).flatMap(([name, usual]) => {
      const kept = (own[part] as Values | undefined)?.[name] ?? usual;
      if (kept === usual) return [];
      return [`package.json: ${part}.${name} stays ${JSON.stringify(kept)}; a haunt's is ${JSON.stringify(usual)}`];
    }),
  );
}

/** A package.json with all that a haunt needs; what stood in it goes before. */
function wholeManifest(own: Values, folder: string, version: string): Values {
  const { devDependencies: versions, allowScripts } = readManifest(packageFile(".")).manifest as Record<string, Values>;
  const dev = Object.fromEntries(["@types/node", "typescript", "vitest"].map((name) => [name, versions?.[name]]));
  const name = basename(folder)
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "");
  const part = (key: string) => (own[key] ?? {}) as Values;
  const isDev = "worker-host" in part("devDependencies");
  return {
    name: name === "" || name === "worker-host" ? "my-haunt" : name,
    private: true,
    // What .js files mean is not changed where there may be some.
    ...(Object.keys(own).length === 0 ? { type: "module" } : {}),
    ...own,
    scripts: { start: "worker-host", test: "vitest run", check: "worker-host check", ...part("scripts") },
    dependencies: { ...(isDev ? {} : { "worker-host": installedFrom(folder, version) }), ...part("dependencies") },
    devDependencies: { ...dev, ...part("devDependencies") },
    // Of install scripts, npm asks what may run.
    allowScripts: { ...allowScripts, ...part("allowScripts") },
  };
}

/** What npm has to be told to install this very worker-host into another folder. */
function installedFrom(folder: string, version: string): string {
  const own = packageFile(".");
  if (basename(dirname(own)) !== "node_modules") return `file:${own}`;
  const above = dirname(dirname(own));
  const { dependencies } = readManifest(above).manifest;
  const told = isValues(dependencies) ? dependencies["worker-host"] : undefined;
  if (typeof told !== "string") return `^${version}`;
  return told.startsWith("file:") ? `file:${relative(folder, resolve(above, told.slice("file:".length)))}` : told;
}

/** The files that are the same in each haunt, but for its name and its prefix. */
function projectFiles({ props, prefix, settingsFile }: Settings, name: string): Written[] {
  const folder = dirname(settingsFile);
  const templates = packageFile("templates/project");
  const adapted = (path: string) =>
    readFileSync(path, "utf8")
      .replaceAll("my-haunt", name)
      .replaceAll("/opt/haunt/worker-host", `/opt/haunt/${name}`)
      .replaceAll(/(?<!worker-host\/)worker-host\/bin\.cjs/g, "node_modules/worker-host/worker-host/bin.cjs")
      .replaceAll(" docs/operating.md", " node_modules/worker-host/docs/operating.md")
      .replaceAll(`MQTT_PREFIX:-${PREFIX}`, `MQTT_PREFIX:-${prefix}`)
      .replace(/^( *- )worker_host_data:.*\n/m, "$&$1./worker-host.yaml:/app/worker-host.yaml:ro\n");
  return [
    // npm leaves out, or renames, what is called .gitignore in a package.
    ...readdirSync(templates).map(
      (file): Written => [
        join(folder, file.replace(/^(?=gitignore|dockerignore)/, ".")),
        adapted(join(templates, file)),
      ],
    ),
    ...["docker-compose.yml", "mosquitto.conf", "systemd/worker-host.service"].map(
      (file): Written => [join(folder, file), adapted(packageFile(file))],
    ),
    [join(folder, "tsconfig.json"), tsconfig(props, true)],
  ];
}

/** A worker-host.yaml that says what can be set; what was answered holds. */
function settingsText(answers: Flags): string {
  const given = new Map([
    ["mqtt_host", answers.mqttHost],
    ["mqtt_prefix", answers.mqttPrefix],
  ]);
  const lines = (SETTINGS as readonly SettingDefinition[]).map(({ key, flag, env, fallback, description }) => {
    const value = given.get(key);
    const line = value === undefined ? `# ${key}: ${fallback ?? ""}`.trimEnd() : `${key}: ${JSON.stringify(value)}`;
    return `\n# ${description} (${flag}, ${env})\n${line}\n`;
  });
  return `# The settings of this haunt. A line with "#" in front shows what holds without it; take the "#" away to change it.
# A flag goes before an environment variable, and that before this file.
${lines.join("")}
# What goes over the configs of builtin workers, such as { heartbeat: { tick_interval: 60 } }
# builtin_config: {}
`;
}

/** The folders of props whose packages are not installed, and what is wrong with the package.json of others. */
function uninstalled(props: string): { folders: string[]; faults: string[] } {
  const found = { folders: [] as string[], faults: [] as string[] };
  const all = existsSync(props) ? readdirSync(props).filter((id) => !isLeftOut(id)) : [];
  for (const folder of all.flatMap((id) => [join(props, id), join(props, id, "backend")])) {
    try {
      if (lacksPackages(folder)) found.folders.push(folder);
    } catch (error) {
      found.faults.push((error as Error).message);
    }
  }
  return found;
}

/** Whether npm has something to do: it writes its list of what it has installed last, so an interrupted install has none. */
function lacksPackages(folder: string): boolean {
  const { manifest } = readManifest(folder);
  if (
    !["dependencies", "devDependencies", "optionalDependencies"].some(
      (part) => isValues(manifest[part]) && Object.keys(manifest[part]).length > 0,
    )
  )
    return false;
  const installed = statSync(join(folder, "node_modules/.package-lock.json"), { throwIfNoEntry: false });
  return installed === undefined || installed.mtimeMs < statSync(join(folder, "package.json")).mtimeMs;
}

/** @throws WorkerHostError `not_built` where npm fails */
async function npmInstall(folder: string, show: (path: string) => string): Promise<void> {
  const child = spawn("npm", ["install", "--no-audit", "--no-fund"], { cwd: folder, stdio: "inherit" });
  const end = await new Promise<unknown>((done) => child.once("error", done).once("close", done));
  if (end === 0) return;
  const why = end instanceof Error ? end.message : "it has said why";
  throw new WorkerHostError("not_built", `npm install in ${show(folder)} failed (${why}): mend that, and do it again`);
}
