import { pbkdf2Sync } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { z } from "zod";
import { writeDurably } from "../../base/durable-file.ts";
import { ACCESSES, type AccessRule, type AccessUser, faultOfUser, ROLES, rulesOf } from "../../contract/access.ts";
import { messageOf, WorkerHostError } from "../../contract/errors.ts";
import { assertTopicFilter } from "../../contract/topics.ts";

const user = z.strictObject({
  role: z.enum(ROLES),
  also: z.array(z.strictObject({ access: z.enum(ACCESSES), filter: z.string() })).optional(),
});
const users = z.strictObject({ prefix: z.string(), users: z.record(z.string(), user) });

/** Where mosquitto sees the folder for it in the container. */
const MOUNTED = "/mosquitto/access";

export interface AccessState {
  prefix: string;
  users: Map<string, AccessUser>;
  /** Lines of mosquitto's password file, by user. */
  passwords: Map<string, string>;
}

/**
 * Who may do what on the broker: `users.yaml` says it, and mosquitto's own files, which the container sees, are made
 * from it. The folder itself is for its owner alone.
 */
export class AccessFolder {
  constructor(
    readonly path: string,
    private readonly shippedConfig: string,
    /** The prefix under which Home Assistant looks for devices. */
    private readonly discovery: string,
  ) {}

  /** What mosquitto reads. */
  get broker(): string {
    return join(this.path, "mosquitto");
  }

  get exists(): boolean {
    return existsSync(this.#users);
  }

  get hasCertificates(): boolean {
    return existsSync(join(this.broker, "server.crt"));
  }

  get #users(): string {
    return join(this.path, "users.yaml");
  }

  /** @throws WorkerHostError `invalid_settings` where there is none, or it can't be made sense of */
  async read(): Promise<AccessState> {
    if (!this.exists) {
      throw new WorkerHostError("invalid_settings", `no ${this.#users}: begin with "npx worker-host access init"`);
    }
    const read = users.safeParse(this.#parsed(await readFile(this.#users, "utf8")));
    if (!read.success) throw this.#fault(z.prettifyError(read.error));
    for (const [name, { role, also = [] }] of Object.entries(read.data.users)) {
      const fault = faultOfUser(name, role);
      if (fault) throw this.#fault(`${name}: ${fault}`);
      for (const { filter } of also) assertTopicFilter(filter);
    }
    const lines = (await readFile(join(this.broker, "passwords"), "utf8")).split("\n").filter(Boolean);
    return {
      prefix: read.data.prefix,
      users: new Map(Object.entries(read.data.users)),
      passwords: new Map(lines.map((line) => [line.split(":")[0] ?? "", line])),
    };
  }

  /** Writes all files anew. A user's password is there before the user is let in. */
  async write({ prefix, users, passwords }: AccessState): Promise<void> {
    await mkdir(this.broker, { recursive: true });
    await chmod(this.path, 0o700);
    await chmod(this.broker, 0o755);
    const sorted = new Map([...users].sort(([a], [b]) => (a < b ? -1 : 1)));
    const lines = [...sorted.keys()].flatMap((name) => passwords.get(name) ?? []);
    const head = '# Written by "worker-host access". Passwords are not in here.\n';
    await this.#put("passwords", `${lines.join("\n")}\n`);
    await this.#put("acl", aclFile(sorted, prefix, this.discovery));
    await this.writeConfig();
    await writeDurably(this.#users, head + stringify({ prefix, users: Object.fromEntries(sorted) }));
  }

  async writeConfig(): Promise<void> {
    await this.#put("mosquitto.conf", brokerConfig(this.shippedConfig, MOUNTED, this.hasCertificates));
  }

  /** For whoever mosquitto runs as in its container; nobody else gets into the folder above. */
  async #put(name: string, text: string): Promise<void> {
    await writeDurably(join(this.broker, name), text, (file) => file.chmod(0o644));
  }

  #parsed(text: string): unknown {
    try {
      return parse(text);
    } catch (error) {
      throw this.#fault(messageOf(error));
    }
  }

  #fault(why: string): WorkerHostError {
    return new WorkerHostError("invalid_settings", `${this.#users}: ${why}`);
  }
}

/**
 * As many as mosquitto_passwd takes. The passwords are random, with 140 bits, so that more would gain nothing; and the
 * broker counts them out at each connect: with 100,000 it would take a minute for a thousand clients.
 */
const ITERATIONS = 101;
const HASH_BYTES = 64;

/** One line of mosquitto's password file: `$7$`, PBKDF2 with SHA-512. */
export function passwordLine(name: string, password: string, salt: Uint8Array): string {
  const hash = pbkdf2Sync(password, salt, ITERATIONS, HASH_BYTES, "sha512");
  return `${name}:$7$${ITERATIONS}$${Buffer.from(salt).toString("base64")}$${hash.toString("base64")}`;
}

/**
 * mosquitto's ACL file. Each user has a block of its own: a `pattern` line would hold for all of them.
 */
function aclFile(users: ReadonlyMap<string, AccessUser>, prefix: string, discovery: string): string {
  const hosts = [...users].flatMap(([name, { role }]) => (role === "host" ? [name] : []));
  const blocks = [...users].map(([name, { role, also = [] }]) =>
    [
      `# ${role}`,
      `user ${name}`,
      ...[...rulesOf(role, name, prefix, hosts, discovery), ...also].map(ruleLine),
      "",
    ].join("\n"),
  );
  return ['# Written by "worker-host access", which writes it anew: change it with that.', "", ...blocks].join("\n");
}

function ruleLine({ access, filter }: AccessRule): string {
  return `topic ${access} ${filter}`;
}

/** The shipped mosquitto.conf with passwords and access rules and, where there are certificates, a port with TLS. */
function brokerConfig(shipped: string, folder: string, tls: boolean): string {
  const access = `allow_anonymous false\npassword_file ${folder}/passwords\nacl_file ${folder}/acl`;
  const listener = [
    "listener 8883",
    ...["cafile ca.crt", "certfile server.crt", "keyfile server.key"].map((line) => line.replace(" ", ` ${folder}/`)),
  ];
  const config = shipped.replace(/^allow_anonymous true$/m, access);
  return `# Written by "worker-host access" from mosquitto.conf.\n${config}${tls ? `\n${listener.join("\n")}\n` : ""}`;
}
