import { BROKER_UPTIME, faultOfId, Topics } from "./topics.ts";

/** What a user of the broker is there for. */
export const ROLES = ["board", "worker", "operator", "author", "viewer", "host"] as const;
export type Role = (typeof ROLES)[number];

export const ACCESSES = ["read", "write", "readwrite"] as const;
type Access = (typeof ACCESSES)[number];

/** What a user may do with the topics of a filter. */
export interface AccessRule {
  access: Access;
  filter: string;
}

/** Somebody whom the broker lets in. */
export interface AccessUser {
  role: Role;
  /** Besides what the role may do. */
  also?: AccessRule[] | undefined;
}

/**
 * What a role may do; of a board and a worker, `name` is the id too.
 *
 * @param hosts the names of the hosts that a board tells of all-stop
 * @param discovery the prefix under which Home Assistant looks for devices
 */
export function rulesOf(
  role: Role,
  name: string,
  prefix: string,
  hosts: readonly string[],
  discovery: string,
): AccessRule[] {
  const topics = new Topics(prefix);
  const reads: AccessRule = { access: "read", filter: topics.all };
  const own: AccessRule = { access: "readwrite", filter: topics.subtree(name) };
  const commands: AccessRule = { access: "write", filter: topics.command("+") };
  const admin: AccessRule = { access: "write", filter: new Topics(prefix, "+").adminCommand };
  const replies: AccessRule = { access: "write", filter: topics.reply("+", "#") };
  switch (role) {
    case "board":
      return [
        own,
        replies,
        { access: "read", filter: topics.broadcast },
        { access: "read", filter: new Topics(prefix, "+").allStop },
        ...hosts.map((host) => ({ access: "write", filter: topics.command(host) }) as const),
        // A board obeys the `stop` of the worker beside it.
        ...(name.endsWith("_hw") ? [{ access: "read", filter: topics.command(name.slice(0, -3)) } as const] : []),
      ];
    case "worker":
      return [reads, own, commands, replies];
    case "operator":
      return [reads, commands];
    case "author":
      return [reads, commands, admin];
    case "viewer":
      return [reads];
    case "host":
      return [
        { access: "readwrite", filter: topics.all },
        { access: "read", filter: BROKER_UPTIME },
        { access: "readwrite", filter: `${discovery}/#` },
      ];
  }
}

/** Why `name` can't be a user's with that role, in words; `undefined` where it can. */
export function faultOfUser(name: string, role: Role): string | undefined {
  // A board's and a worker's is its id, a host's its name; the others' have the same letters, so that they fit into mosquitto's files.
  const fault = name === "__proto__" ? `"${name}" can't be a key of a file: take another name` : faultOfId(name);
  return role === "host" && name === new Topics("").hostName ? undefined : fault;
}

/**
 * What a host is told to do that changes files, code or which workers run: it takes these on a topic of their own, so that
 * a broker's access list can keep them for authors.
 */
export const ADMIN_VERBS: ReadonlySet<string> = new Set([
  "configure",
  "reload",
  "rescan",
  "restart_worker",
  "start_worker",
  "stop_worker",
]);

/** Why a broker that is there may not have taken a command, in words that follow "did not take it". */
export function rightsFor(action: string): string {
  return ADMIN_VERBS.has(action) ? `: "${action}" needs a user with the role "author"` : "";
}
