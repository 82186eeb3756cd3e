import { execFile } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Logger } from "pino";
import { createLogger, type LogOptions } from "../base/log.ts";
import type { Output } from "../base/output.ts";
import { Secrets } from "../base/secrets.ts";
import { describeError } from "../contract/errors.ts";
import { LOGS_FOLDER, LogFiles } from "../host/data/log-files.ts";
import { Host } from "../host/host.ts";
import type { Settings } from "../host/settings/settings.ts";
import type { BrokerOptions } from "../mqtt/wire.ts";
import { describeAllStop } from "./all-stop.ts";
import { banner, lanHints } from "./banner.ts";
import type { Edges } from "./edges.ts";
import { send } from "./send.ts";
import { Simulation } from "./simulation.ts";

/** More than a worker may take to stop, which is 30 s at most. */
const FORCE_AFTER_MS = 40_000;
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
  return { log, logOptions, logFiles, output, say: (text) => output.write(`${text}\n`), close };
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
  const started = { settings, broker, workers };
  const hints = settings.embedded.lan ? lanHints(started, addresses(), forPeople) : [];
  if (forPeople) say(banner(started, version, hints).join("\n"));
  else for (const hint of hints) log.info(hint);
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
      if (clock.now() - stoppingSince > ECHO_MS) force(`a second ${signal}`);
      return;
    }
    stoppingSince = clock.now();
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
function feedWatchdog({ env, clock }: Pick<Edges, "env" | "clock">, warn: (text: string) => void): void {
  const everyMs = Number(env.WATCHDOG_USEC) / 1000 / 3;
  if (!env.NOTIFY_SOCKET || !(everyMs > 0)) return;
  let told = false;
  const feed = () => {
    execFile("systemd-notify", ["WATCHDOG=1"], { env }, (error) => {
      if (error && !told) warn(`systemd's watchdog can't be fed, and will end this host: ${describeError(error)}`);
      told = error !== null;
    });
    clock.after(everyMs, feed);
  };
  feed();
}
