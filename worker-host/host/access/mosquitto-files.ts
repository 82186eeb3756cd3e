import { pbkdf2Sync } from "node:crypto";
import { type AccessRule, type AccessUser, rulesOf } from "../../contract/access.ts";

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
export function aclFile(users: ReadonlyMap<string, AccessUser>, prefix: string, discovery: string): string {
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
export function brokerConfig(shipped: string, folder: string, tls: boolean): string {
  const access = `allow_anonymous false\npassword_file ${folder}/passwords\nacl_file ${folder}/acl`;
  const listener = [
    "listener 8883",
    ...["cafile ca.crt", "certfile server.crt", "keyfile server.key"].map((line) => line.replace(" ", ` ${folder}/`)),
  ];
  const config = shipped.replace(/^allow_anonymous true$/m, access);
  return `# Written by "worker-host access" from mosquitto.conf.\n${config}${tls ? `\n${listener.join("\n")}\n` : ""}`;
}
