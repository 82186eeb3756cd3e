import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { writeDurably } from "../base/durable-file.ts";
import { packageFile } from "../base/paths.ts";
import { type AccessRule, faultOfUser, ROLES, type Role } from "../contract/access.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { assertTopicFilter, faultOfPrefix } from "../contract/topics.ts";
import type { AccessState } from "../host/access/access-folder.ts";
import type { Edges, Flags } from "./options.ts";

const PASSWORD_CHARS = 24;
const SALT_BYTES = 12;
const HOST = "worker_host";
const RELOAD = 'a mosquitto that runs takes it in with "docker compose kill -s HUP broker" (or "pkill -HUP mosquitto")';

/** The commands that say who may do what on the broker. */
export function addAccess(program: Command, edges: Edges): void {
  const { say } = edges;
  const home = () => dirname(edges.settingsFrom({}).settingsFile);
  const access = program
    .command("access")
    .description("who may do what on the broker: passwords and access rules for mosquitto")
    .addHelpText("after", "\nExample:\n  worker-host access init\n  worker-host access add fogger_hw --role board");

  const folderOf = async (flags: Flags) => {
    const { AccessFolder } = await import("../host/access/access-folder.ts");
    const discovery = edges.settingsFrom({}).homeAssistant.prefix;
    const config = await readFile(packageFile("mosquitto.conf"), "utf8");
    return new AccessFolder(resolve(home(), String(flags.dir)), config, discovery);
  };
  const subcommand = (line: string, what: string, example: string) =>
    access
      .command(line)
      .description(what)
      .option("--dir <folder>", "the folder that they are kept in, beside worker-host.yaml", "access")
      .addHelpText("after", `\nExample:\n  worker-host access ${example}`);

  subcommand("init", "make the files, the host's own user, and .env for docker compose", "init")
    .option("--prefix <prefix>", "what all topics start with; mqtt_prefix if not given")
    .action(async (flags: Flags) => {
      const folder = await folderOf(flags);
      if (folder.exists) {
        throw new WorkerHostError(
          "invalid_settings",
          `${folder.path} has users already: "npx worker-host access list"`,
        );
      }
      const prefix = String(flags.prefix ?? edges.settingsFrom({}).prefix);
      const fault = faultOfPrefix(prefix);
      if (fault) throw new WorkerHostError("invalid_settings", `--prefix: "${prefix}" can't be it: ${fault}`);
      const state: AccessState = { prefix, users: new Map(), passwords: new Map() };
      const password = await letIn(state, HOST, "host", []);
      await folder.write(state);
      const env = join(home(), ".env");
      const dir = String(flags.dir);
      // What has no "/" in front is the name of a volume for compose.
      const mounted = `${isAbsolute(dir) ? "" : "./"}${join(dir, "mosquitto")}`;
      const values = {
        BROKER_ADDRESS: "0.0.0.0",
        BROKER_CONF: `${mounted}/mosquitto.conf`,
        BROKER_ACCESS: mounted,
        MQTT_PREFIX: prefix,
        MQTT_USERNAME: HOST,
        MQTT_PASSWORD: password,
      };
      await mergeEnv(env, new Map(Object.entries(values)));
      say(`made ${folder.path}, and the user ${HOST} for the host; its password is in ${env}`);
      say('next: "npx worker-host access add <user> --role board" for each board, then "docker compose up -d"');
    });

  subcommand("add", "let somebody in; prints the password, once", "add fogger_hw --role board")
    .argument("<user>", "the user's name: of a board or a worker its id")
    .addOption(new Option("--role <role>", "what it is there for").choices(ROLES).default("board"))
    .option("--also <rule...>", 'topics besides: "read zigbee2mqtt/#", also write or readwrite', parseRule, [])
    .action(async (name: string, flags: Record<string, unknown> & Flags) => {
      const folder = await folderOf(flags);
      const state = await folder.read();
      const role = flags.role as Role;
      const fault = faultOfUser(name, role);
      if (fault) throw new WorkerHostError("invalid_id", fault);
      if (state.users.has(name)) {
        throw new WorkerHostError(
          "invalid_id",
          `there is a user "${name}": "npx worker-host access remove ${name}" first`,
        );
      }
      const password = await letIn(state, name, role, flags.also as unknown as AccessRule[]);
      await folder.write(state);
      say(password);
      edges.note(`${name} (${role}) is let in with this password, which is shown only now; ${RELOAD}`);
    });

  subcommand("remove", "let somebody in no more", "remove fogger_hw")
    .argument("<user>", "the user's name")
    .action(async (name: string, flags: Flags) => {
      const folder = await folderOf(flags);
      const state = await folder.read();
      if (!state.users.delete(name)) throw unknownUser(name, state);
      await folder.write(state);
      say(
        `${name} is let in no more once mosquitto knows: ${RELOAD}; a connection that is there stays until it breaks`,
      );
    });

  subcommand("list", "who is let in, and as what", "list").action(async (flags: Flags) => {
    const { users } = await (await folderOf(flags)).read();
    const width = Math.max(...[...users.keys()].map((name) => name.length), 0);
    for (const [name, { role, also = [] }] of users) {
      const rules = also.map(({ access, filter }) => `${access} ${filter}`).join(", ");
      say(`${name.padEnd(width)}  ${role}${rules ? `, and ${rules}` : ""}`);
    }
  });

  subcommand("tls", "make a certificate for the broker, or renew it", "tls haunt.example.org")
    .argument("[names...]", "more names and addresses by which it is reached")
    .action(async (names: string[], flags: Flags) => {
      const folder = await folderOf(flags);
      await folder.read();
      const { makeCertificates } = await import("../host/access/certificates.ts");
      const own = hostname();
      const all = [
        ...new Set([...names, own, `${own}.local`, "localhost", "broker", "127.0.0.1", ...edges.addresses()]),
      ];
      const last = await makeCertificates({
        folder: folder.path,
        broker: folder.broker,
        names: all,
        now: edges.clock.now(),
        serialNumber: () => randomBytes(16).toString("hex"),
      });
      await folder.writeConfig();
      say(`the broker's certificate, until ${last.toISOString().slice(0, 10)}, is for ${all.join(", ")}`);
      say(
        `clients trust it with ${join(folder.path, "ca.crt")} (MQTT_CA); it is served at 8883 from the next start on`,
      );
      say(`renewed: ${RELOAD}, and nobody is disconnected`);
    });
}

/** Gives the password. */
async function letIn(state: AccessState, name: string, role: Role, also: AccessRule[]): Promise<string> {
  const { passwordLine } = await import("../host/access/access-folder.ts");
  const password = newPassword();
  state.users.set(name, { role, ...(also.length > 0 ? { also } : {}) });
  state.passwords.set(name, passwordLine(name, password, randomBytes(SALT_BYTES)));
  return password;
}

/** 140 bits and more, in letters and digits, which need no quotes in a shell and are no option. */
function newPassword(): string {
  return randomBytes(3 * PASSWORD_CHARS)
    .toString("base64")
    .replaceAll(/[^A-Za-z0-9]/g, "")
    .slice(0, PASSWORD_CHARS);
}

function parseRule(text: string, before: AccessRule[]): AccessRule[] {
  const [, access, filter] = /^(read|write|readwrite)\s+(\S+)$/.exec(text.trim()) ?? [];
  if (access === undefined || filter === undefined) {
    throw new InvalidArgumentError(`expected such as "read zigbee2mqtt/#", got "${text}"`);
  }
  assertTopicFilter(filter);
  return [...before, { access: access as AccessRule["access"], filter }];
}

function unknownUser(name: string, { users }: AccessState): WorkerHostError {
  return new WorkerHostError("invalid_id", `no user "${name}"; there are: ${[...users.keys()].join(", ")}`);
}

/** How a line of `.env` that sets something begins. */
const NAME_IN_ENV = /^\s*(?:export\s+)?(\w+)\s*=/;

/** Sets these in a file that docker compose reads, and leaves the rest of it as it is. */
async function mergeEnv(file: string, values: ReadonlyMap<string, string>): Promise<void> {
  const before = existsSync(file) ? (await readFile(file, "utf8")).replace(/\n$/, "") : "";
  const missing = new Map(values);
  const lines = before.split("\n").map((line) => {
    const name = NAME_IN_ENV.exec(line)?.[1] ?? "";
    const value = values.get(name);
    missing.delete(name);
    return value === undefined ? line : `${name}=${value}`;
  });
  const added = [...missing].map(([name, value]) => `${name}=${value}`);
  const all = [...(before === "" ? [] : lines), ...added];
  await writeDurably(file, `${all.join("\n")}\n`, (handle) => handle.chmod(0o600));
}
