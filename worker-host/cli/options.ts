import { type Command, Option } from "commander";
import { closestMatch } from "leven";
import { WorkerHostError } from "../contract/errors.ts";
import { SETTINGS, type SettingDefinition } from "../host/settings/settings.ts";

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
  return `"worker-host ${line}${usual ? "" : ` --name ${name}`}"`;
}

/** What is to be said of a word that came where the name of a command is expected, or before the command. */
export function unknownCommand(word: string, names: string[]): WorkerHostError {
  if (names.includes(word)) {
    return new WorkerHostError(
      "invalid_settings",
      `the command comes first, then its options: worker-host ${word} --…`,
    );
  }
  const meant = closestMatch(word, names, { maxDistance: 2 });
  return new WorkerHostError(
    "invalid_settings",
    `there is no command "${word}"; ${meant ? `did you mean "worker-host ${meant}"?` : `there are: ${names.join(", ")}`}`,
  );
}
