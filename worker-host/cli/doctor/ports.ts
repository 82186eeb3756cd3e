import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createServer } from "node:net";

/** Whether a port could be opened now, and why not. */
export function tryPort(port: number, host: string | undefined): Promise<NodeJS.ErrnoException | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", (error) => resolve(error));
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => server.close(() => resolve(undefined)));
  });
}

/** The process that listens at a port; `undefined` where the system doesn't say, as only Linux does, and of one's own. */
export function holderOf(port: number): { pid: number; name: string } | undefined {
  const inodes = new Set(["/proc/net/tcp", "/proc/net/tcp6"].flatMap((table) => listening(table, port)));
  if (inodes.size === 0) return undefined;
  for (const pid of namesIn("/proc").filter((name) => /^\d+$/.test(name))) {
    const holds = namesIn(`/proc/${pid}/fd`).some((fd) => {
      const [, inode = ""] = /^socket:\[(\d+)\]$/.exec(gone(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? "") ?? [];
      return inodes.has(inode);
    });
    if (holds) return { pid: Number(pid), name: gone(() => readFileSync(`/proc/${pid}/comm`, "utf8").trim()) ?? "" };
  }
  return undefined;
}

/** `0: 0100007F:075B 00000000:0000 0A …`: the number of the socket is the tenth, and 0A means that it listens. */
function listening(table: string, port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const rows = (gone(() => readFileSync(table, "utf8")) ?? "").split("\n").map((line) => line.trim().split(/\s+/));
  return rows.flatMap(([, local = "", , state, ...rest]) =>
    state === "0A" && local.endsWith(`:${hex}`) ? [rest[5] ?? ""] : [],
  );
}

function namesIn(folder: string): string[] {
  return gone(() => readdirSync(folder)) ?? [];
}

/** What a look gives; `undefined` where it ended meanwhile, or is somebody else's. */
function gone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (["ENOENT", "EACCES", "EPERM", "ESRCH", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) {
      return undefined;
    }
    throw error;
  }
}
