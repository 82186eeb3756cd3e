import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Command, CommanderError } from "commander";
import { allStop, describeAllStop } from "./cli/all-stop.ts";
import { banner, lanHints } from "./cli/banner.ts";
import { renameBoard } from "./cli/board.ts";
import { check } from "./cli/check.ts";
import { list } from "./cli/list.ts";
import { createNew } from "./cli/new.ts";
import { type Flags, forConnecting, settingsIn, withSettings } from "./cli/options.ts";
import { type Outcome, send } from "./cli/send.ts";
import { Simulation } from "./cli/simulation.ts";
import { tellHost } from "./cli/tell-host.ts";
import { ALL_STOP_COMMANDS, TELLINGS } from "./cli/tellings.ts";
import { unknownCommand } from "./cli/unknown-command.ts";
import { describeError, WorkerHostError } from "./contract/errors.ts";
import { pathFrom } from "./host/discover.ts";
import { Host } from "./host/host.ts";
import { resolveSettings, type Settings } from "./host/settings.ts";
import { systemClock } from "./worker/clock.ts";
import { createLogger } from "./worker/log.ts";

const FORCE_AFTER_MS = 5_000;
/** npm hands a Ctrl-C on to its child, which the terminal has told already. */
const ECHO_MS = 300;

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

function settingsFrom(flags: Flags): Settings {
  return resolveSettings({
    flags: settingsIn(flags),
    env: process.env,
    cwd: process.cwd(),
    shippedBuiltins: fileURLToPath(new URL("../builtin-workers", import.meta.url)),
  });
}

/** Gives the host, once its workers are settled; none where it was told to stop before that. */
async function run(settings: Settings): Promise<Host | undefined> {
  const forPeople = process.stdout.isTTY;
  const logOptions = { level: settings.logLevel, pretty: forPeople };
  const log = await createLogger(logOptions);
  const host = new Host({
    settings,
    version,
    cwd: process.cwd(),
    env: process.env,
    log,
    logOptions,
    clock: systemClock,
    random: Math.random,
    newId: randomUUID,
    onOusted: (error) => void host.kill().finally(() => fail(error)),
  });
  const stopping = stopOnSignals(host, (text) => log.info(text));
  try {
    await host.start();
  } catch (error) {
    await host.kill();
    throw error;
  }
  await host.settle();
  if (stopping()) return undefined;
  const count = (state: string) => host.workers.filter((worker) => worker.state === state).length;
  log.info({ running: count("running"), failed: count("failed"), skipped: count("skipped") }, "ready");
  const hints = settings.embedded.lan ? lanHints(host, settings, addresses(), forPeople) : [];
  if (forPeople) console.log(banner(host, settings, version, hints).join("\n"));
  else for (const hint of hints) log.info(hint);
  if (host.allStop?.engaged) log.warn(describeAllStop(host.allStop));
  return host;
}

/** Runs the sketches beside the host; a line that is typed is a key of one of them, or a command. */
async function simulate(names: string[], settings: Settings): Promise<void> {
  const simulation = new Simulation({ ...settings, env: process.env, names, say: console.log });
  await simulation.prepare();
  const host = await run(settings);
  if (!host?.broker) return;
  const { broker } = host;
  simulation.start(broker, settings.prefix, settings.tlsFiles.ca);
  const keys = simulation.help().map((line) => `  ${line}`);
  console.log(
    ["", "  Type one of these, or a command such as coffin_jumper arm, and press Enter:", ...keys, ""].join("\n"),
  );
  const sending = { wait: false, newId: randomUUID, clock: systemClock, random: Math.random };
  for await (const line of createInterface({ input: process.stdin })) {
    const [id = "", action, ...args] = line.trim().split(/\s+/);
    if (id === "" || simulation.press(id)) continue;
    if (action === undefined) console.log(`"${id}" is no key and no command; a command is such as: coffin_jumper arm`);
    else console.log((await send({ ...settings, external: broker }, { ...sending, id, action, args })).text);
  }
}

/** Gives a function that says whether a signal has come. */
function stopOnSignals(host: Host, say: (text: string) => void): () => boolean {
  let stoppingSince: number | undefined;
  const force = (why: string) => {
    say(`${why}: ending the workers by force`);
    void host.kill().finally(() => process.exit(1));
  };
  const onSignal = (signal: NodeJS.Signals) => {
    if (stoppingSince !== undefined) {
      if (systemClock.now() - stoppingSince > ECHO_MS) force(`a second ${signal}`);
      return;
    }
    stoppingSince = systemClock.now();
    say(`${signal}: stopping; once more to force it`);
    systemClock.after(FORCE_AFTER_MS, () => force(`not stopped in ${FORCE_AFTER_MS / 1000} s`));
    host.stop().then(
      () => process.exit(0),
      (error: unknown) => fail(error),
    );
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return () => stoppingSince !== undefined;
}

function addresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((infos) =>
    (infos ?? []).filter(({ family, internal }) => family === "IPv4" && !internal).map(({ address }) => address),
  );
}

function fail(error: unknown): never {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2);
  console.error(error instanceof WorkerHostError ? error.message : ((error as Error)?.stack ?? describeError(error)));
  process.exit(error instanceof WorkerHostError && error.code === "invalid_settings" ? 2 : 1);
}

/** Says what came of a command line, and ends with its exit code. */
function finish({ code, text }: Outcome): never {
  (code === 0 ? console.log : console.error)(text);
  process.exit(code);
}

const program = new Command("worker-host")
  .description("Runs the backend worker of every Halloween prop and bridges it to an MQTT broker")
  .version(version)
  .addHelpText("after", "\nExample:\n  worker-host --mqtt-host 192.168.1.10")
  .exitOverride()
  .showHelpAfterError("(--help says what there is)");

withSettings(program.command("run", { isDefault: true }), () => true)
  .description("run the workers until stopped (the default)")
  .addHelpText("after", "\nExample:\n  worker-host run --props ~/haunt/props --mqtt-host 192.168.1.10")
  .allowExcessArguments(true)
  .action((flags: Flags, { args: [word] }: Command) => {
    // What isn't a command comes here as an argument, since this one is the default.
    if (word !== undefined)
      throw unknownCommand(
        word,
        program.commands.map((command) => command.name()),
      );
    return run(settingsFrom(flags)).then(() => undefined);
  });

withSettings(program.command("simulate"), () => true)
  .description("run the workers, and the props' sketches on this machine, without any hardware")
  .argument("[ids...]", "only the sketches of these props; all if not given")
  .addHelpText("after", "\nExample:\n  worker-host simulate coffin_jumper fogger")
  .action((ids: string[], flags: Flags) => simulate(ids, settingsFrom(flags)));

withSettings(program.command("list"), () => true)
  .description("list the workers: those of the running host, or else what would load")
  .option("--json", "as JSON")
  .option("--running", "only ask a running host; exit 1 if none answers")
  .addHelpText("after", "\nExample:\n  worker-host list --json")
  .action(async (flags: Flags) => {
    const outcome = await list(settingsFrom(flags), {
      cwd: process.cwd(),
      env: process.env,
      json: flags.json === true,
      running: flags.running === true,
      clock: systemClock,
      random: Math.random,
    });
    for (const note of outcome.notes) console.error(note);
    if (outcome.text) console.log(outcome.text);
    process.exit(outcome.ok ? 0 : 1);
  });

withSettings(program.command("send"), forConnecting)
  .description("send one command to a prop")
  .argument("<id>", "the prop's id")
  .argument("<action>", "what it is to do")
  .argument("[args...]", "its arguments: JSON (750, true, [1, 2]) is sent as such, all else as text")
  .option("--json <value>", "the arguments as one JSON value")
  .option(
    "--wait [seconds]",
    "wait for the reply (30 s if not given) and print it; exit 1 if it is an error, 3 if there is none",
  )
  .addHelpText("after", "\nExample:\n  worker-host send fogger start 3000")
  .action(async (id: string, action: string, args: string[], flags: Flags) => {
    const json = typeof flags.json === "string" ? flags.json : undefined;
    const outcome = await send(settingsFrom(flags), {
      id,
      action,
      args,
      ...(json === undefined ? {} : { json }),
      wait: flags.wait ?? false,
      newId: randomUUID,
      clock: systemClock,
      random: Math.random,
    });
    finish(outcome);
  });

for (const { name, action, what } of ALL_STOP_COMMANDS) {
  withSettings(program.command(name), forConnecting)
    .description(what)
    .argument("[reason...]", "why, for whoever looks")
    .addHelpText("after", `\nExample:\n  worker-host ${name} guest in the coffin`)
    .action(async (words: string[], flags: Flags) => {
      const reason = words.length > 0 ? { reason: words.join(" ") } : {};
      const options = { action, ...reason, newId: randomUUID, clock: systemClock, random: Math.random };
      const outcome = await allStop(settingsFrom(flags), options);
      finish(outcome);
    });
}

for (const { line, what, example, tell } of TELLINGS) {
  withSettings(program.command(line), forConnecting)
    .description(what)
    .addHelpText("after", `\nExample:\n  worker-host ${example}`)
    .action(async (...given: [...(string | string[])[], Flags, Command]) => {
      const { said, ...telling } = tell(given.slice(0, -2).flat() as string[]);
      const outcome = await tellHost(settingsFrom(given.at(-2) as Flags), {
        ...telling,
        newId: randomUUID,
        clock: systemClock,
        random: Math.random,
        describe: () => said,
        otherwise: (error) => error.message,
      });
      finish(outcome);
    });
}

const board = program
  .command("board")
  .description("what a board can be told")
  .addHelpText("after", "\nExample:\n  worker-host board rename fogger fogger_hw");

withSettings(board.command("rename"), forConnecting)
  .description("give a board another id, and wait until it is online under that")
  .argument("<id>", "the board's id")
  .argument("<new-id>", "the one that it is to have")
  .addHelpText("after", "\nExample:\n  worker-host board rename fogger fogger_hw")
  .action(async (id: string, newId: string, flags: Flags) => {
    const newCommandId = randomUUID;
    const dependencies = { newCommandId, clock: systemClock, random: Math.random, say: console.log };
    finish(await renameBoard(settingsFrom(flags), { id, newId, ...dependencies }));
  });

withSettings(program.command("new"), ({ key }) => key === "props" || key === "mqtt_prefix")
  .description("write a prop to begin with")
  .argument("<kind>", "what to make: prop")
  .argument("<id>", "its id, the name of its folder")
  .addHelpText("after", "\nExample:\n  worker-host new prop lantern")
  .action((kind: string, id: string, flags: Flags) => {
    console.log(createNew(settingsFrom(flags), { kind, id, show: pathFrom(process.cwd()) }).join("\n"));
  });

withSettings(program.command("check"), () => true)
  .description("look for mistakes in workers without starting them; exit 1 if there are some")
  .argument("[ids...]", "only these workers; all if not given")
  .addHelpText("after", "\nExample:\n  worker-host check fogger")
  .action(async (ids: string[], flags: Flags) => {
    const settings = settingsFrom(flags);
    const log = await createLogger({ level: "silent", pretty: false });
    const options = { ids, cwd: process.cwd(), env: process.env, log, clock: systemClock };
    const outcome = await check(settings, options);
    for (const note of outcome.notes) console.error(note);
    console.log(outcome.lines.join("\n") || "no worker");
    process.exit(outcome.ok ? 0 : 1);
  });

program.parseAsync().catch(fail);
