import { Topics } from "../contract/topics.ts";
import type { Host } from "../host/host.ts";
import type { Settings } from "../host/settings.ts";

const NO_WORKERS = "none: write one, props/my_prop/backend/worker.ts";

/** The lines that a newcomer needs at the end of a start: where the broker is, what runs, what to type. */
export function banner(host: Host, settings: Settings, version: string, lan: string[]): string[] {
  const running = host.workers.filter(({ state }) => state === "running").map(({ id }) => id);
  const failed = host.workers.filter(({ state }) => state === "failed");
  const target = running.includes("heartbeat") ? "heartbeat" : (running[0] ?? "my_prop");
  const kind = settings.external ? "" : " (embedded)";
  return [
    "",
    `  worker-host ${version}`,
    `  broker    ${host.broker?.url ?? ""}${kind}`,
    `  running   ${running.join(", ") || NO_WORKERS}`,
    ...failed.map(({ id, detail }) => `  failed    ${id}: ${detail ?? ""}`),
    `  try       ${publishLine(host, settings, target)}`,
    `            npx worker-host send ${target} ping hello`,
    ...lan.map((line) => `  ${line}`),
    "",
  ];
}

function publishLine(host: Host, settings: Settings, target: string): string {
  const { url, username } = host.broker ?? { url: "mqtt://127.0.0.1:1883" };
  const { hostname, port } = new URL(url);
  const where = [
    ...(hostname === "127.0.0.1" ? [] : [`-h ${hostname}`]),
    ...(port === "" || port === "1883" ? [] : [`-p ${port}`]),
    ...(username === undefined ? [] : [`-u ${username} -P '…'`]),
  ];
  return ["mosquitto_pub", ...where, `-t ${new Topics(settings.prefix).command(target)}`, "-m 'ping hello'"].join(" ");
}

/**
 * What a person needs to reach the embedded broker from another machine, or from a board.
 *
 * @param forPeople they stand at a terminal: a log shows no password
 */
export function lanHints(host: Host, settings: Settings, addresses: string[], forPeople: boolean): string[] {
  const { url, username, password } = host.broker ?? { url: "" };
  const shown = forPeople ? password : `<see ${settings.data}>`;
  const { port } = new URL(url);
  const [address = "this machine's address"] = addresses;
  const topic = new Topics(settings.prefix).command("heartbeat");
  return [
    `on the LAN: ${addresses.map((each) => `mqtt://${each}:${port}`).join(", ") || "no address found"}`,
    `from another machine: mosquitto_pub -h ${address} -p ${port} -u '${username}' -P '${shown}' -t ${topic} -m 'ping hello'`,
    `for a board: host ${address}, port ${port}, user ${username}, password ${shown}`,
  ];
}
