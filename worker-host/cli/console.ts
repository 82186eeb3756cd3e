import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { unlessMissing, writeDurably } from "../base/durable-file.ts";
import {
  DEVICE_ROLES,
  DEVICES_FILE,
  type Device,
  type DeviceRole,
  isLinkGood,
  isLoopback,
  PAIR_COMMAND,
  readDevices,
  readTokens,
  TOKENS_FILE,
  writtenDevices,
} from "../contract/devices.ts";
import { messageOf, WorkerHostError } from "../contract/errors.ts";
import { MOST_DEVICES, PAIRING_MS } from "../contract/limits.ts";
import { defined } from "../contract/payload.ts";
import { CONSOLE, faultOfId } from "../contract/topics.ts";
import type { Settings } from "../host/settings/settings.ts";
import { type Edges, type Flags, withSettings } from "./options.ts";

const CODE_BYTES = 16;

/** The commands that say which phones may use the page. They ask no host: it sees what they have written. */
export function addConsole(program: Command, edges: Edges): void {
  const { say, clock } = edges;
  const group = program
    .command("console")
    .description("which phones and other devices may use the page")
    .addHelpText("after", "\nExample:\n  worker-host console pair --name door\n  worker-host console devices");
  const subcommand = (line: string, what: string, example: string, keys = ["data"]) =>
    withSettings(group.command(line), ({ key }) => keys.includes(key))
      .description(what)
      .addHelpText("after", `\nExample:\n  worker-host console ${example}`);

  subcommand("pair", "print a link that pairs one device with the page", "pair --role viewer --name door", [
    "data",
    "console_port",
    "console_host",
  ])
    .addOption(new Option("--role <role>", "what it may do").choices(DEVICE_ROLES).default("operator"))
    .option("--name <name>", "what it is called; phone_1 and so on if not given")
    .action(async ({ name: given, role: wanted, ...flags }: Flags) => {
      const settings = edges.settingsFrom(flags);
      const now = clock.now();
      const folder = new DeviceFolder(settings.data);
      const { devices, tokens, text } = await folder.read();
      for (const [name, device] of devices)
        if (!tokens.has(device.code) && !isLinkGood(device, now)) devices.delete(name);
      const name = typeof given === "string" ? given : freeName(devices);
      const fault = faultOfId(name);
      if (fault) throw new WorkerHostError("invalid_id", `--name: ${fault}`);
      if (devices.has(name)) {
        const first = `"npx worker-host console revoke ${name}" first, or take another name`;
        throw new WorkerHostError("invalid_id", `there is a device "${name}": ${first}`);
      }
      if (devices.size >= MOST_DEVICES)
        throw new WorkerHostError("invalid_settings", `there are ${MOST_DEVICES} devices: revoke one first`);
      const code = randomBytes(CODE_BYTES).toString("base64url");
      const links = linksOf(settings, code, edges.addresses());
      const role = wanted as DeviceRole;
      const hash = createHash("sha256").update(code).digest("hex");
      devices.set(name, { name, role, code: hash, since: now });
      await folder.write(devices.values(), text);
      for (const link of links) say(link);
      if (edges.forPeople) {
        const { qrCode } = await import("./qr-code.ts");
        edges.sayShown(qrCode(links[0] ?? ""));
      }
      edges.note(
        `open it on the device that is to be "${name}" (${role}): good for ${PAIRING_MS / 60_000} minutes, once`,
      );
      if (isLoopback(String(settings.builtinConfig.get(CONSOLE)?.values.host)))
        edges.note("the page has to be open to the network: start worker-host with --lan");
    });

  subcommand("devices", "list the devices that are paired", "devices --json")
    .option("--json", "as JSON")
    .action(async (flags: Flags) => {
      const { devices, tokens } = await new DeviceFolder(edges.settingsFrom(flags).data).read();
      const shown = [...devices.values()].map(({ name, role, code, since }) => ({
        name,
        role,
        since: new Date(since).toISOString(),
        paired: tokens.has(code),
      }));
      if (flags.json) {
        say(JSON.stringify(shown));
        return;
      }
      const width = Math.max(...shown.map(({ name }) => name.length), 0);
      for (const { name, role, since, paired } of shown) {
        const state = paired ? "" : ", not paired: its link was not used";
        say(`${name.padEnd(width)}  ${role.padEnd(8)}  since ${since.slice(0, 16).replace("T", " ")} UTC${state}`);
      }
      if (shown.length === 0) edges.note(`no device: "${PAIR_COMMAND}"`);
    });

  subcommand("revoke", "take a device away; what it has open is closed at once", "revoke door")
    .argument("<name>", "the device's name")
    .action(async (name: string, flags: Flags) => {
      const folder = new DeviceFolder(edges.settingsFrom(flags).data);
      const { devices, text } = await folder.read();
      if (!devices.delete(name)) {
        const known = [...devices.keys()].join(", ") || "none";
        throw new WorkerHostError("invalid_id", `no device "${name}"; there are: ${known}`);
      }
      await folder.write(devices.values(), text);
      say(`${name} is not paired any more`);
    });
}

/** The console's folder: what is written here, and which codes the console says were used. */
class DeviceFolder {
  readonly #path: string;

  constructor(data: string) {
    this.#path = join(data, CONSOLE);
  }

  /**
   * Gives the text of the devices' file too.
   *
   * @throws WorkerHostError `invalid_settings` where a file can't be made sense of
   */
  async read(): Promise<{ devices: Map<string, Device>; tokens: ReadonlyMap<string, string>; text?: string }> {
    const [text, used] = await Promise.all([this.#text(DEVICES_FILE), this.#text(TOKENS_FILE)]);
    return {
      devices: new Map(text === undefined ? [] : this.#parsed(DEVICES_FILE, text, readDevices)),
      tokens: used === undefined ? new Map() : this.#parsed(TOKENS_FILE, used, readTokens),
      ...defined({ text }),
    };
  }

  /**
   * Writes the devices.
   *
   * @param before the text of their file, as it was read
   * @throws WorkerHostError where that has changed: a device that was revoked meanwhile must not come back
   */
  async write(devices: Iterable<Device>, before: string | undefined): Promise<void> {
    await mkdir(this.#path, { recursive: true });
    await chmod(this.#path, 0o700);
    const file = join(this.#path, DEVICES_FILE);
    const isSame = async () => (await this.#text(DEVICES_FILE)) === before;
    if (await writeDurably(file, writtenDevices(devices), (handle) => handle.chmod(0o600), isSame)) return;
    throw new WorkerHostError("invalid_settings", `${file} was changed meanwhile: type it again`);
  }

  async #text(name: string): Promise<string | undefined> {
    return unlessMissing(readFile(join(this.#path, name), "utf8"));
  }

  #parsed<T>(name: string, text: string, parse: (text: string) => T): T {
    try {
      return parse(text);
    } catch (error) {
      const words = `${join(this.#path, name)}: ${messageOf(error)}; mend it, or delete it and pair all devices anew`;
      throw new WorkerHostError("invalid_settings", words, { cause: error });
    }
  }
}

function freeName(devices: ReadonlyMap<string, Device>): string {
  let count = 1;
  while (devices.has(`phone_${count}`)) count++;
  return `phone_${count}`;
}

/** The code stands behind `#`: no request has it, nor what keeps or looks at addresses. */
function linksOf(settings: Settings, code: string, addresses: string[]): string[] {
  const { port, host } = settings.builtinConfig.get(CONSOLE)?.values ?? {};
  if (Number(port) === 0)
    throw new WorkerHostError("invalid_settings", "console_port is 0: name the port that the host has printed");
  const isOne = typeof host === "string" && !isLoopback(host) && !/^(0\.0\.0\.0|::)$/.test(host);
  const hosts = isOne ? [host.includes(":") ? `[${host}]` : host] : addresses;
  if (hosts.length === 0) throw new WorkerHostError("invalid_settings", "this machine has no address in a network");
  return hosts.map((each) => `http://${each}:${port}/pair#${code}`);
}
