import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { Command, CommanderError } from "commander";
import { systemClock } from "./base/clock.ts";
import { withoutWaiting } from "./base/output.ts";
import { packageFile } from "./base/paths.ts";
import { addAccess } from "./cli/access.ts";
import { addConsole } from "./cli/console.ts";
import { addDoctor } from "./cli/doctor.ts";
import { ALL_STOP_COMMANDS, allStop, HOST_VERBS, tellHost } from "./cli/host-verbs.ts";
import { addLogs } from "./cli/logs.ts";
import { addNew } from "./cli/new.ts";
import {
  type Edges,
  type Flags,
  forConnecting,
  forOneHost,
  settingsIn,
  unknownCommand,
  withSettings,
} from "./cli/options.ts";
import { addReplay } from "./cli/replay.ts";
import { type Outcome, send } from "./cli/send.ts";
import { renameBoard } from "./cli/simulation.ts";
import { addTidy } from "./cli/tidy.ts";
import { addWatch } from "./cli/watch.ts";
import { describeError, WorkerHostError } from "./contract/errors.ts";
import { defined, printableLines } from "./contract/payload.ts";
import { resolveSettings, type Settings } from "./host/settings/settings.ts";

const { version } = JSON.parse(readFileSync(packageFile("package.json"), "utf8")) as {
  version: string;
};

function settingsFrom(flags: Flags): Settings {
  return resolveSettings({
    flags: settingsIn(flags),
    env: process.env,
    cwd: process.cwd(),
    shippedBuiltins: packageFile("builtin-workers"),
  });
}

function addresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((infos) =>
    (infos ?? []).filter(({ family, internal }) => family === "IPv4" && !internal).map(({ address }) => address),
  );
}

function fail(error: unknown): never {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2);
  console.error(printableLines(textOf(error)));
  process.exit(error instanceof WorkerHostError && error.code === "invalid_settings" ? 2 : 1);
}

/** Of what the system refuses the words are enough; anything else that is none of our errors is a fault of ours. */
function textOf(error: unknown): string {
  if (error instanceof WorkerHostError) return error.message;
  const { syscall, message, stack } = error as Partial<NodeJS.ErrnoException>;
  return (syscall === undefined ? stack : message) ?? describeError(error);
}

/** Says what came of a command line, and ends with its exit code. */
function finish({ code, text }: Outcome): never {
  (code === 0 ? console.log : console.error)(printableLines(text));
  process.exit(code);
}

/** What was to read the rest, such as `head`, has gone. */
function endQuietly(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
}

for (const output of [process.stdout, process.stderr]) output.on("error", endQuietly);

const program = new Command("worker-host")
  .description("Runs the backend worker of every Halloween prop and bridges it to an MQTT broker")
  .version(version)
  .addHelpText("after", "\nExample:\n  worker-host --mqtt-host 192.168.1.10")
  .exitOverride()
  .showHelpAfterError("(--help says what there is)");

const edges: Edges = {
  version,
  cwd: process.cwd(),
  env: process.env,
  clock: systemClock,
  random: Math.random,
  newId: randomUUID,
  input: process.stdin,
  forPeople: process.stdout.isTTY,
  addresses,
  settingsFrom,
  say: (text) => console.log(printableLines(text)),
  sayShown: (text) => console.log(text),
  note: (text) => console.error(printableLines(text)),
  onClosedOutput: (handler) => void process.stdout.off("error", endQuietly).on("error", handler),
  takeOutput: () => {
    for (const output of [process.stdout, process.stderr]) output.off("error", endQuietly);
    withoutWaiting(process.stderr);
    return withoutWaiting(process.stdout);
  },
  onWarning: (handler) => {
    // Node's own waits for the terminal.
    process.removeAllListeners("warning");
    process.on("warning", handler);
  },
  columns: () => process.stdout.columns,
  onSignal: (handler) => {
    process.on("SIGINT", handler);
    process.on("SIGTERM", handler);
    process.on("SIGHUP", (signal) => {
      // Whoever starts it with nohup wants it to go on: Node lets no program know that the signal was to be ignored.
      if ([process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY)) handler(signal);
    });
  },
  onUncaught: (handler) => {
    process.on("uncaughtException", handler);
    process.on("unhandledRejection", handler);
  },
  exit: (code) => process.exit(code),
  fail,
};

withSettings(program.command("run", { isDefault: true }), () => true)
  .description("run the workers until stopped (the default)")
  .addHelpText("after", "\nExample:\n  worker-host run --props ~/haunt/props --mqtt-host 192.168.1.10")
  .allowExcessArguments(true)
  .action(async (flags: Flags, { args: [word] }: Command) => {
    // What isn't a command comes here as an argument, since this one is the default.
    const known = program.commands.map((command) => command.name());
    if (word !== undefined) throw unknownCommand(word, known);
    const { serve } = await import("./cli/serve.ts");
    await serve(settingsFrom(flags), edges);
  });

withSettings(program.command("simulate"), () => true)
  .description("run the workers, and the props' sketches on this machine, without any hardware")
  .argument("[ids...]", "only the sketches of these props; all if not given")
  .addHelpText("after", "\nExample:\n  worker-host simulate coffin_jumper fogger")
  .action(async (ids: string[], flags: Flags) => {
    const { simulate } = await import("./cli/serve.ts");
    await simulate(ids, settingsFrom(flags), edges);
  });

addAccess(program, edges);
addConsole(program, edges);

withSettings(program.command("list"), () => true)
  .description("list the workers: those of the running host, or else what would load")
  .option("--json", "as JSON")
  .option("--running", "only ask a running host; exit 1 if none answers")
  .addHelpText("after", "\nExample:\n  worker-host list --json")
  .action(async (flags: Flags) => {
    const { list } = await import("./cli/list.ts");
    const outcome = await list(settingsFrom(flags), {
      ...edges,
      json: flags.json === true,
      running: flags.running === true,
    });
    for (const note of outcome.notes) edges.note(note);
    if (outcome.text) edges.say(outcome.text);
    process.exit(outcome.ok ? 0 : 1);
  });

withSettings(program.command("send"), forConnecting)
  .description("send one command to a prop, and print its reply; exit 1 if that is an error, 3 if there is none")
  .argument("<id>", "the prop's id")
  .argument("<action>", "what it is to do")
  .argument("[args...]", "its arguments: JSON (750, true, [1, 2]) is sent as such, all else as text")
  .option("--json <value>", "the arguments as one JSON value")
  .option(
    "--wait <seconds>",
    "how long to wait for the reply; as long as the prop says that it may take if not given, else 30 s",
  )
  .option("--no-wait", "send it, and don't wait for the reply; nobody waits for one to a broadcast")
  .addHelpText("after", "\nExample:\n  worker-host send fogger start 3000")
  .action(async (id: string, action: string, args: string[], flags: Flags) => {
    const json = typeof flags.json === "string" ? flags.json : undefined;
    const outcome = await send(settingsFrom(flags), {
      ...edges,
      id,
      action,
      args,
      ...defined({ json, wait: flags.wait }),
    });
    finish(outcome);
  });

for (const { name, action, what } of ALL_STOP_COMMANDS) {
  withSettings(program.command(name), forOneHost)
    .description(what)
    .argument("[reason...]", "why, for whoever looks")
    .addHelpText("after", `\nExample:\n  worker-host ${name} guest in the coffin`)
    .action(async (words: string[], flags: Flags) => {
      const reason = words.length > 0 ? { reason: words.join(" ") } : {};
      finish(await allStop(settingsFrom(flags), { ...edges, action, ...reason }));
    });
}

for (const { line, what, example, tell } of HOST_VERBS) {
  withSettings(program.command(line), forOneHost)
    .description(what)
    .addHelpText("after", `\nExample:\n  worker-host ${example}`)
    .action(async (...given: [...(string | string[])[], Flags, Command]) => {
      const settings = settingsFrom(given.at(-2) as Flags);
      const telling = tell(given.slice(0, -2).flat() as string[], settings.name);
      const outcome = await tellHost(settings, {
        ...edges,
        ...telling,
        otherwise: (error) => error.message,
      });
      finish(outcome);
    });
}

const board = program
  .command("board")
  .description("what a board can be told")
  .addHelpText("after", "\nExample:\n  worker-host board rename fogger fogger_hw");

withSettings(board.command("rename"), forOneHost)
  .description("give a board another id, and wait until it is online under that")
  .argument("<id>", "the board's id")
  .argument("<new-id>", "the one that it is to have")
  .addHelpText("after", "\nExample:\n  worker-host board rename fogger fogger_hw")
  .action(async (id: string, newId: string, flags: Flags) => {
    finish(await renameBoard(settingsFrom(flags), { ...edges, id, newId, newCommandId: edges.newId }));
  });

addNew(program, edges);

withSettings(program.command("check"), () => true)
  .description("look for mistakes in workers without starting them; exit 1 if there are some")
  .argument("[ids...]", "only these workers; all if not given")
  .addHelpText("after", "\nExample:\n  worker-host check fogger")
  .action(async (ids: string[], flags: Flags) => {
    const { check } = await import("./cli/check.ts");
    const outcome = await check(settingsFrom(flags), { ...edges, ids });
    for (const note of outcome.notes) edges.note(note);
    edges.say(outcome.lines.join("\n") || "no worker");
    process.exit(outcome.ok ? 0 : 1);
  });

addLogs(program, edges);
addWatch(program, edges);
addTidy(program, edges);
addReplay(program, edges);
addDoctor(program, edges);

program.parseAsync().catch(fail);
