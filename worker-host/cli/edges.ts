import type { Clock } from "../base/clock.ts";
import type { OutputTarget } from "../base/output.ts";
import type { Settings } from "../host/settings/settings.ts";
import type { Flags } from "./options.ts";

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
