import { execFile } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Logger } from "pino";
import { createLogger, type LogOptions, Secrets } from "../base/log.ts";
import type { Output } from "../base/output.ts";
import type { WorkerSummary } from "../contract/description.ts";
import { isLoopback, PAIR_COMMAND } from "../contract/devices.ts";
import { describeError } from "../contract/errors.ts";
import { printableLines } from "../contract/payload.ts";
import { CONSOLE, Topics } from "../contract/topics.ts";
import { LOGS_FOLDER, LogFiles } from "../host/data/log-files.ts";
import { Host } from "../host/host.ts";
import { FORCE_AFTER_MS } from "../host/limits.ts";
import type { Settings } from "../host/settings/settings.ts";
import type { BrokerOptions } from "../mqtt/wire.ts";
import { describeAllStop } from "./host-verbs.ts";
import type { Edges } from "./options.ts";
import { send } from "./send.ts";
import { Simulation } from "./simulation.ts";

/** npm hands a Ctrl-C on to its child, which the terminal has told already. */
const ECHO_MS = 300;

/** What a running host says, and where. */
interface Logging {
  log: Logger;
  logOptions: LogOptions;
  logFiles: LogFiles;
  output: Output;
  /** Prints a line that is none of the log. */
  say: (text: string) => void;
  /** Fulfils when all that was said is written, or can't be. */
  close: () => Promise<void>;
}

async function openLogging(settings: Settings, edges: Edges): Promise<Logging> {
  const { clock, forPeople, takeOutput, onWarning } = edges;
  const logFiles = new LogFiles({
    ...{ ...settings.logKept, clock, hostName: settings.name, folder: join(settings.data, LOGS_FOLDER) },
  });
  const logOptions = { level: settings.logLevel, pretty: forPeople, kept: logFiles.kept };
  const secrets = new Secrets();
  secrets.add(settings.external?.password ?? settings.embedded.password);
  const clean = (line: string) => secrets.clean(line);
  const keep = (line: string) => logFiles.take(line);
  const { log, output } = await createLogger(logOptions, { target: takeOutput(), clock, clean, keep });
  logFiles.report((text) => log.error(text));
  onWarning((warning) => log.warn({ err: warning }, `Node warns: ${warning.message}`));
  const close = async () => {
    await logFiles.close();
    await output.flush();
  };
  return { log, logOptions, logFiles, output, say: (text) => output.write(`${printableLines(text)}\n`), close };
}

/** Gives where the broker is, once the workers are settled; nothing where it was told to stop before that. */
export async function serve(settings: Settings, edges: Edges, opened?: Logging): Promise<BrokerOptions | undefined> {
  const { version, cwd, env, clock, random, newId, forPeople, addresses, fail } = edges;
  const logging = opened ?? (await openLogging(settings, edges));
  const { log, logOptions, logFiles, output, say, close } = logging;
  const onOusted = (error: unknown) => void host.kill().finally(() => close().finally(() => fail(error)));
  const host: Host = new Host({
    settings,
    version,
    cwd,
    env,
    log,
    logOptions,
    logFiles,
    output,
    clock,
    random,
    newId,
    onOusted,
  });
  feedWatchdog(edges, (text) => log.error(text));
  // What is wrong in one callback must not end all props; the error says where to look.
  edges.onUncaught((error) => host.report(error));
  const stopping = stopOnSignals({ host, close, edges, say: (text) => log.info(text) });
  try {
    await host.start();
  } catch (error) {
    await host.kill();
    await close();
    throw error;
  }
  await host.settle();
  const { broker, workers } = host;
  if (stopping() || !broker) return undefined;
  const count = (state: string) => workers.filter((worker) => worker.state === state).length;
  log.info({ running: count("running"), failed: count("failed"), skipped: count("skipped") }, "ready");
  const page = await host.page();
  const started = { settings, broker, workers, page };
  const hints = settings.embedded.lan ? lanHints(started, addresses(), forPeople) : [];
  if (forPeople) say(banner(started, version, hints).join("\n"));
  else for (const hint of [...hints, ...pageLine(started)]) log.info(hint);
  if (host.allStop?.engaged) log.warn(describeAllStop(host.allStop, settings.name));
  return broker;
}

/** Runs the sketches beside the host; a line that is typed is a key of one of them, or a command. */
export async function simulate(names: string[], settings: Settings, edges: Edges): Promise<void> {
  const { env, clock, random, newId, input } = edges;
  const logging = await openLogging(settings, edges);
  const { say } = logging;
  const simulation = new Simulation({ ...settings, env, names, say });
  await simulation.prepare();
  const broker = await serve(settings, edges, logging);
  if (!broker) return;
  simulation.start(broker, settings.prefix, settings.tlsFiles.ca);
  const keys = simulation.help().map((line) => `  ${line}`);
  say(["", "  Type one of these, or a command such as coffin_jumper arm, and press Enter:", ...keys, ""].join("\n"));
  for await (const line of createInterface({ input })) {
    const [id = "", action, ...args] = line.trim().split(/\s+/);
    if (id === "" || simulation.press(id)) continue;
    if (action === undefined) say(`"${id}" is no key and no command; a command is such as: coffin_jumper arm`);
    else
      say(
        (await send({ ...settings, external: broker }, { wait: false, newId, clock, random, id, action, args })).text,
      );
  }
}

interface Stopping {
  host: Host;
  close: () => Promise<void>;
  edges: Edges;
  say: (text: string) => void;
}

/** Gives a function that says whether a signal has come. */
function stopOnSignals({ host, close, edges, say }: Stopping): () => boolean {
  const { clock, exit, fail, onSignal } = edges;
  let stoppingSince: number | undefined;
  const force = (why: string) => {
    say(`${why}: ending the workers by force`);
    void host.kill().finally(() => close().finally(() => exit(1)));
  };
  onSignal((signal) => {
    if (stoppingSince !== undefined) {
      if (clock.monotonic() - stoppingSince > ECHO_MS) force(`a second ${signal}`);
      return;
    }
    stoppingSince = clock.monotonic();
    say(`${signal}: stopping; once more to force it`);
    clock.after(FORCE_AFTER_MS, () => force(`not stopped in ${FORCE_AFTER_MS / 1000} s`));
    host
      .stop()
      .finally(close)
      .then(() => exit(0), fail);
  });
  return () => stoppingSince !== undefined;
}

/**
 * Tells systemd again and again that this event loop goes round, where the unit asks for that by `WatchdogSec`
 * (sd_watchdog_enabled(3)); by its own program, since Node opens no such socket.
 */
export function feedWatchdog({ env, clock }: Pick<Edges, "env" | "clock">, warn: (text: string) => void): void {
  const everyMs = Number(env.WATCHDOG_USEC) / 1000 / 3;
  if (!env.NOTIFY_SOCKET || !(everyMs > 0)) return;
  let told = false;
  const tell = (error: unknown) => {
    if (error && !told) warn(`systemd's watchdog can't be fed, and will end this host: ${describeError(error)}`);
    told = Boolean(error);
  };
  const feed = () => {
    try {
      execFile("systemd-notify", ["WATCHDOG=1"], { env }, tell);
    } catch (error) {
      // The system has no memory left for a process.
      tell(error);
    }
    clock.after(everyMs, feed);
  };
  feed();
}

/** What a host has come to at the end of its start. */
export interface Started {
  settings: Settings;
  /** How clients on this machine reach the broker. */
  broker: BrokerOptions;
  workers: readonly WorkerSummary[];
  /** The address of the page, where there is one. */
  page: string | undefined;
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
    ...pageLine(started).flatMap((line) => [`  ${line}`, ""]),
  ];
}

function pageLine({ page, settings }: Started): string[] {
  if (page === undefined) return [];
  const { hostname, port } = new URL(page);
  if (isLoopback(hostname)) return [`Page: ${page}`];
  const isEverywhere = /^(0\.0\.0\.0|::)$/.test(String(settings.builtinConfig.get(CONSOLE)?.values.host));
  const here = isEverywhere ? `on this machine http://127.0.0.1:${port}; ` : "";
  return [`Page: ${page}`, `${here}a phone is paired with "${PAIR_COMMAND}"`];
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

/** The secrets of somebody's own broker are theirs to fill in; the embedded one's is for this machine. */
const PASSWORD = '"$MQTT_PASSWORD"';

function sendFlags({ broker, settings }: Started): string[] {
  const { external, embedded, prefix, tlsFiles } = settings;
  const port = new URL(broker.url).port;
  const own = embedded.username !== undefined && embedded.password !== undefined;
  return [
    ...(external
      ? [`--mqtt-url ${external.query ? '"$MQTT_URL"' : quoted(external.url)}`]
      : port === "1883"
        ? []
        : [`--broker-port ${port}`]),
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
function lanHints(started: Started, addresses: string[], forPeople: boolean): string[] {
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
