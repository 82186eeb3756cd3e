import type { WorkerSummary } from "../contract/description.ts";
import { Topics } from "../contract/topics.ts";
import type { Settings } from "../host/settings/settings.ts";
import type { BrokerOptions } from "../mqtt/wire.ts";

/** What a host has come to at the end of its start. */
export interface Started {
  settings: Settings;
  /** How clients on this machine reach the broker. */
  broker: BrokerOptions;
  workers: readonly WorkerSummary[];
}

const NO_WORKERS = "none: write one, props/my_prop/backend/worker.ts";

/** The lines that a newcomer needs at the end of a start: where the broker is, what runs, what to type. */
export function banner(started: Started, version: string, lan: string[]): string[] {
  const { settings, broker, workers } = started;
  const running = workers.filter(({ state }) => state === "running").map(({ id }) => id);
  const failed = workers.filter(({ state }) => state === "failed");
  const kind = settings.external ? "" : " (embedded)";
  const [first, ...others] = commandLines(started, targetOf(started));
  return [
    "",
    `  worker-host ${version}`,
    `  broker    ${broker.url}${kind}`,
    `  running   ${running.join(", ") || NO_WORKERS}`,
    ...failed.map(({ id, detail }) => `  failed    ${id}: ${detail ?? ""}`),
    `  try       ${first}`,
    ...others.map((line) => `            ${line}`),
    ...lan.map((line) => `  ${line}`),
    "",
  ];
}

/** A worker to try a command on. */
function targetOf({ workers }: Started): string {
  const running = workers.filter(({ state }) => state === "running").map(({ id }) => id);
  return running.includes("heartbeat") ? "heartbeat" : (running[0] ?? "my_prop");
}

/** Lines to paste into another terminal, which knows nothing of this one's environment. */
function commandLines(started: Started, target: string): string[] {
  const send = ["npx worker-host send", ...sendFlags(started), `${target} ping hello`].join(" ");
  return [...mosquittoLine(started, target), send];
}

/** mosquitto_pub speaks MQTT over TCP only. */
function mosquittoLine({ broker, settings }: Started, target: string): string[] {
  const { protocol, hostname, port } = new URL(broker.url);
  if (protocol.startsWith("ws")) return [];
  const { ca, cert, key } = settings.tlsFiles;
  const usualPort = protocol === "mqtts:" ? "" : "1883";
  return [
    [
      "mosquitto_pub",
      ...(hostname === "127.0.0.1" ? [] : [`-h ${hostname.replaceAll(/[[\]]/g, "")}`]),
      ...(port === "" || port === usualPort ? [] : [`-p ${port}`]),
      ...(broker.username === undefined ? [] : [`-u ${quoted(broker.username)}`]),
      ...(broker.password === undefined ? [] : [`-P ${settings.external ? PASSWORD : quoted(broker.password)}`]),
      ...(protocol === "mqtts:" && !ca ? ["--tls-use-os-certs"] : []),
      ...(ca ? [`--cafile ${quoted(ca)}`] : []),
      ...(cert ? [`--cert ${quoted(cert)}`] : []),
      ...(key ? [`--key ${quoted(key)}`] : []),
      `-t ${quoted(new Topics(settings.prefix, settings.name).command(target))}`,
      "-m 'ping hello'",
    ].join(" "),
  ];
}

/** The password of somebody's own broker is theirs to fill in; the embedded one's is for this machine. */
const PASSWORD = '"$MQTT_PASSWORD"';

function sendFlags({ broker, settings }: Started): string[] {
  const { external, embedded, prefix, tlsFiles } = settings;
  const port = new URL(broker.url).port;
  const own = embedded.username !== undefined && embedded.password !== undefined;
  return [
    ...(external ? [`--mqtt-url ${quoted(external.url)}`] : port === "1883" ? [] : [`--broker-port ${port}`]),
    ...(external?.username === undefined ? [] : [`--mqtt-username ${quoted(external.username)}`]),
    ...(external?.password === undefined ? [] : [`--mqtt-password ${PASSWORD}`]),
    ...Object.entries(tlsFiles).map(([name, file]) => `--mqtt-${name} ${quoted(file)}`),
    ...(embedded.lan && own
      ? [`--mqtt-username ${quoted(embedded.username)}`, `--mqtt-password ${quoted(embedded.password)}`]
      : []),
    ...(embedded.lan && !own ? [`--data ${quoted(settings.data)}`] : []),
    ...(prefix === "halloween" ? [] : [`--mqtt-prefix ${quoted(prefix)}`]),
  ];
}

/** A word for a shell. */
function quoted(word = ""): string {
  return /^[A-Za-z0-9_.:/@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/**
 * What a person needs to reach the embedded broker from another machine, or from a board.
 *
 * @param forPeople they stand at a terminal: a log shows no password
 */
export function lanHints(started: Started, addresses: string[], forPeople: boolean): string[] {
  const { settings, broker } = started;
  const { url, username, password } = broker;
  const given = settings.embedded.password !== undefined;
  const shown = forPeople ? quoted(password) : given ? PASSWORD : `'<see ${settings.data}>'`;
  const { port } = new URL(url);
  const [address = "this machine's address"] = addresses;
  const topic = quoted(new Topics(settings.prefix, settings.name).command(targetOf(started)));
  return [
    `on the LAN: ${addresses.map((each) => `mqtt://${each}:${port}`).join(", ") || "no address found"}`,
    `from another machine: mosquitto_pub -h ${address} -p ${port} -u ${quoted(username)} -P ${shown} -t ${topic} -m 'ping hello'`,
    `for a board: host ${address}, port ${port}, user ${username}, password ${forPeople ? password : shown}`,
  ];
}
