import { type Command, Option } from "commander";
import { closestMatch } from "leven";
import type { Clock } from "../base/clock.ts";
import type { OutputTarget } from "../base/output.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { SETTINGS, type SettingDefinition, type Settings } from "../host/settings/settings.ts";

/** What a command line has to do with the world: `cli.ts` alone touches the process, and hands this on. */
export interface Edges {
  version: string;
  cwd: string;
  env: NodeJS.ProcessEnv;
  clock: Clock;
  random: () => number;
  newId: () => string;
  input: NodeJS.ReadableStream;
  /** Whether a person reads what is said. */
  forPeople: boolean;
  /** The IPv4 addresses of this machine, without its own. */
  addresses: () => string[];
  /** @throws WorkerHostError `invalid_settings` */
  settingsFrom: (flags: Flags) => Settings;
  /** Prints a line. */
  say: (text: string) => void;
  /** The same for a text that is printable already, but for our own colours. */
  sayShown: (text: string) => void;
  /** Prints a line that is no part of the result. */
  note: (text: string) => void;
  /** Calls it when nobody takes any more what is printed. */
  onClosedOutput: (handler: () => void) => void;
  /** Standard output for a process that runs on and on; from then on, standard error waits for no terminal either. */
  takeOutput: () => OutputTarget;
  /** Calls it with what Node warns of, in the place of writing that to standard error. */
  onWarning: (handler: (warning: Error) => void) => void;
  /** How many characters a line of the terminal has, if it is one. */
  columns: () => number | undefined;
  onSignal: (handler: (signal: NodeJS.Signals) => void) => void;
  /** Calls it with each error that nothing else has caught. */
  onUncaught: (handler: (error: unknown) => void) => void;
  exit: (code: number) => never;
  /** Says what went wrong, and ends. */
  fail: (error: unknown) => never;
}

/** What commander makes of the options that were given. */
export type Flags = Record<string, string | boolean>;

/** The settings among them, by their keys. */
export function settingsIn(flags: Flags): Map<string, string | boolean> {
  return new Map(
    SETTINGS.flatMap(({ key, flag }) => {
      const value = flags[new Option(flag).attributeName()];
      return value === undefined ? [] : [[key, value]];
    }),
  );
}

/** Gives a command an option for each setting that is wanted. */
export function withSettings(command: Command, wanted: (setting: SettingDefinition) => boolean): Command {
  for (const setting of SETTINGS.filter(wanted) as readonly SettingDefinition[]) {
    const { flag, description, env, fallback } = setting;
    command.addOption(new Option(flag, `${description} (${env}${fallback ? `; default: ${fallback}` : ""})`));
  }
  return command;
}

/** What `read` gives of a command line's words. What it finds wrong with them is invalid there, whatever it is elsewhere. */
export function asUsage<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof WorkerHostError ? new WorkerHostError("invalid_settings", error.message) : error;
  }
}

/** Whether a command that only sends something needs that setting. */
export function forConnecting({ key }: SettingDefinition): boolean {
  return key.startsWith("mqtt_") || key === "broker_port" || key === "data";
}

/** Whether one that has to know a host by its name needs it. */
export function forOneHost(setting: SettingDefinition): boolean {
  return forConnecting(setting) || setting.key === "name";
}

/** A command line that reaches the host of that name, to type. */
export function lineFor(line: string, name: string): string {
  const usual = SETTINGS.some((setting) => setting.key === "name" && setting.fallback === name);
  return `"npx worker-host ${line}${usual ? "" : ` --name ${name}`}"`;
}

/** What is to be said of a word that came where the name of a command is expected, or before the command. */
export function unknownCommand(word: string, names: string[]): WorkerHostError {
  if (names.includes(word)) {
    return new WorkerHostError(
      "invalid_settings",
      `the command comes first, then its options: npx worker-host ${word} --…`,
    );
  }
  const meant = closestMatch(word, names, { maxDistance: 2 });
  return new WorkerHostError(
    "invalid_settings",
    `there is no command "${word}"; ${meant ? `did you mean "npx worker-host ${meant}"?` : `there are: ${names.join(", ")}`}`,
  );
}
