import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { runCli, startHost } from "./host.ts";
import { get } from "./rpc.ts";

const LAB = `
import { BaseWorker } from "worker-host";
export class Worker extends BaseWorker {
  do_ping() { return "pong"; }
}`;

/** By this address this machine reaches itself as another one would: the peer is no loopback address. */
function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((infos) => infos ?? []);
  const found = all.find(({ family, internal }) => family === "IPv4" && !internal);
  if (!found) throw new Error("these tests need a machine with an address in a network");
  return found.address;
}

/** A host that is open to the network, with its page at the address by which this machine has to be paired. */
export async function openToLan(args: string[] = []) {
  const host = await startHost({
    props: { "lab/backend/worker.ts": LAB },
    builtins: "shipped",
    page: true,
    args: ["--lan", ...args],
  });
  const page = await host.page();
  const { port } = new URL(page);
  const folder = join(host.cwd, "data/console");
  const cli = (...words: string[]) => runCli(["console", ...words], { cwd: host.cwd });
  const makeLink = async (...words: string[]) => {
    const { stdout, stderr, code } = await cli("pair", "--console-port", port, ...words);
    expect({ stderr, code }).toEqual({ stderr: expect.stringContaining("good for 2 minutes, once"), code: 0 });
    return new URL(stdout.split("\n")[0] ?? "");
  };
  const useCode = (code: string, headers: Record<string, string> = {}) =>
    get(`${url}/api/pair`, headers, "POST", JSON.stringify({ code }));
  const url = `http://${ownAddress()}:${port}`;
  /** Pairs a device, and gives the headers that it sends then. */
  const pair = async (name: string, role = "operator") => {
    const link = await makeLink("--name", name, "--role", role);
    const { code, headers } = await useCode(link.hash.slice(1), { origin: url });
    expect(code).toBe(200);
    return { cookie: String(headers["set-cookie"]).split(";")[0] ?? "", origin: url };
  };
  return { host, url, local: `http://127.0.0.1:${port}`, page, folder, cli, makeLink, useCode, pair };
}
