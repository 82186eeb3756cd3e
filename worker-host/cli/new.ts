import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { WorkerHostError } from "../contract/errors.ts";
import { faultOfPropId, Topics } from "../contract/topics.ts";
import { isLeftOut } from "../host/plan/discover.ts";
import type { Settings } from "../host/settings/settings.ts";
import { compiler, INSTALL_TYPES, installedTypes, isInstalledFor } from "./check.ts";

export interface NewOptions {
  /** What is to be made: `prop`. */
  kind: string;
  id: string;
  /** How a path is shown to people. */
  show: (path: string) => string;
}

/**
 * Writes a prop to begin with; gives what to tell its author.
 *
 * @throws WorkerHostError `invalid_settings` where the id can't be one, or something is there already
 */
export function createNew(settings: Settings, { kind, id, show }: NewOptions): string[] {
  if (kind !== "prop") throw refusal(`there is no "${kind}" to make; there is: worker-host new prop <id>`);
  const fault = isLeftOut(id)
    ? `no host looks into a folder "${id}": take a name without "_" in front`
    : faultOfPropId(id, settings.name);
  if (fault) throw refusal(fault);
  const folder = join(settings.props, id);
  if (existsSync(folder)) throw refusal(`${show(folder)} is there already: take another id, or remove it first`);
  const files: [string, string][] = [
    [join(folder, "backend", "worker.ts"), WORKER],
    [join(folder, "backend", "config.yaml"), CONFIG],
    [join(folder, "README.md"), readme(id, new Topics(settings.prefix, settings.name))],
  ];
  const base = dirname(settings.props);
  const config = join(base, "tsconfig.json");
  const typed = isInstalledFor(settings.props);
  if (!typed && !existsSync(config)) files.push([config, tsconfig(settings.props)]);
  for (const [path, text] of files) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { flag: "wx" });
  }
  return [
    ...files.map(([path]) => `wrote ${show(path)}`),
    ...(typed || files.some(([path]) => path === config)
      ? []
      : [
          `for your editor, add to compilerOptions in ${show(config)}: "paths": ${JSON.stringify(installedTypes().paths)}`,
        ]),
    ...(compiler() === undefined ? [`for types in your editor and in check: ${INSTALL_TYPES}`] : []),
    "",
    `check it:   npx worker-host check ${id}`,
    "run it:     npx worker-host, or nothing where a host runs already",
    `try it:     npx worker-host send ${id} glow 2s`,
  ];
}

function refusal(text: string): WorkerHostError {
  return new WorkerHostError("invalid_settings", text);
}

/** What stands beside the folder of the props, for an editor to find their types. */
export function tsconfig(props: string): string {
  return `${JSON.stringify({ compilerOptions: installedTypes(), include: [basename(props)] }, null, 2)}\n`;
}

const WORKER = `import { BaseWorker, command, duration, type Telemetry, z } from "worker-host";

/** A lamp to begin with: it glows when it is told to, and goes out by itself. */
export class Worker extends BaseWorker<z.infer<typeof Worker.config>> {
  static config = z.object({
    glow_ms: duration().default(1000),
  });
  static description = "A lamp";
  static telemetry: Telemetry = { glows: { type: "number", description: "How often it has glowed" } };

  override async start() {
    await super.start();
    this.state = "dark";
  }

  @command({ description: "Glow for a while", args: duration().optional(), mode: "restart" })
  async do_glow(ms = this.config.glow_ms) {
    await this.hold(
      ms,
      () => {
        this.state = "glowing";
      },
      () => this.do_stop(),
    );
    const glows = (this.store.get<number>("glows") ?? 0) + 1;
    await this.store.set("glows", glows);
    this.telemetry("glows", glows);
  }

  /** Where the worker's process was ended while the lamp was on, nothing else puts it out. */
  @command({ description: "Go out at once" })
  do_stop() {
    this.state = "dark";
  }

  @command({ description: "Say that it is there", safe: true })
  do_ping(text?: string) {
    this.telemetry("pong", text ?? "ok");
  }
}
`;

const CONFIG = `# What glow_ms means: a number of ms, or a text such as "5s".
glow_ms: 1000
`;

function readme(id: string, topics: Topics): string {
  return `# ${id}

A lamp to begin with: it glows when it is told to, and goes out by itself.

| command | what it does |
| --- | --- |
| \`mosquitto_pub -t ${topics.command(id)} -m 'glow'\` | it glows for \`glow_ms\` of its config |
| \`mosquitto_pub -t ${topics.command(id)} -m 'glow 2s'\` | it glows for 2 s |
| \`mosquitto_pub -t ${topics.command(id)} -m 'stop'\` | it goes out |
| \`mosquitto_pub -t ${topics.command(id)} -m 'ping'\` | it says \`${topics.telemetry(id, "pong")} ok\` |

See all that it says with \`mosquitto_sub -v -t '${topics.subtree(id)}'\`. Its settings are in \`backend/config.yaml\`.
`;
}
