import { setImmediate } from "node:timers/promises";
import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { Scope } from "../../base/scope.ts";
import { entryOf } from "../../commands/command-spec.ts";
import { Commands } from "../../commands/commands.ts";
import { SeenIds } from "../../commands/seen-ids.ts";
import { ADMIN_VERBS } from "../../contract/access.ts";
import { ALL_STOP, isEmergencyStop, parseCommand, quote, STOP } from "../../contract/command.ts";
import { describeError, WorkerHostError } from "../../contract/errors.ts";
import type { Topics } from "../../contract/topics.ts";
import type { Message } from "../../mqtt/wire.ts";
import type { HostConnection } from "../bus/host-connection.ts";
import type { ConfigureOptions } from "../config/configure.ts";
import { MOST_COMMANDS_WAITING } from "../limits.ts";
import type { AllStop, Who } from "../safety/all-stop.ts";
import type { OperatorWatch, ShowNight } from "../safety/show-night.ts";
import type { AddCommand } from "./host-commands.ts";

export interface CommandDeskOptions extends ConfigureOptions {
  topics: Topics;
  log: Logger;
  clock: Clock;
  hostConnection: HostConnection;
  allStop: AllStop;
  operator: OperatorWatch;
  night: ShowNight;
}

const URGENT: ReadonlySet<string> = new Set([ALL_STOP, STOP]);
const ALL_CLEAR = "all_clear";
const OPERATOR_ALIVE = "operator_alive";
const AT_ONCE: ReadonlySet<string> = new Set([...URGENT, ALL_CLEAR, OPERATOR_ALIVE]);

/**
 * Takes what the host is told. All-stop it knows from the first moment on, and takes at once; the rest is loaded when it
 * is needed, and runs in its turn, one command in each turn of the event loop.
 */
export class CommandDesk {
  readonly commands: Commands;
  #loading: Promise<void> | undefined;
  #waiting: Message[] = [];
  #working = false;
  #isLoaded = false;

  constructor(private readonly options: CommandDeskOptions) {
    const { topics, log, clock, hostConnection } = options;
    const report = (error: unknown, where: string) => {
      const text = `${where}: ${describeError(error)}`;
      // What we say ourselves needs no stack.
      if (error instanceof WorkerHostError) log.error(text);
      else log.error({ err: error }, text);
      hostConnection.say(topics.hostName, "error", text);
    };
    this.commands = new Commands({
      from: topics.hostName,
      topics,
      warn: (text) => hostConnection.warn(text),
      publish: (topic, payload, how) => hostConnection.publish(topic, payload, how),
      scope: new Scope({ id: topics.hostName, log, report }, clock),
      clock,
      urgent: URGENT,
      seen: new SeenIds(),
    });
    this.#addAllStop(options);
  }

  /** Loads all of them: their schemas take a tenth of a second. */
  load(): Promise<void> {
    this.#loading ??= this.#load();
    return this.#loading;
  }

  async #load(): Promise<void> {
    const { hostConnection } = this.options;
    const { addHostCommands } = await import("./host-commands.ts");
    const describe = () => hostConnection.describe();
    addHostCommands(this.#add, { ...this.options, describe, describeNow: () => hostConnection.describeNow() });
    hostConnection.describe();
    this.#isLoaded = true;
  }

  receive(message: Message): void {
    const { command } = parseCommand(message.payload);
    if (command && (AT_ONCE.has(command.action) || isEmergencyStop(command))) {
      // A prop that was locked out before doesn't move when all-stop is cleared.
      if (command.action === ALL_CLEAR) this.#takeWaiting();
      this.commands.receive(message);
    } else if (this.#waiting.length < MOST_COMMANDS_WAITING) {
      this.#waiting.push(message);
      if (!this.#working) void this.#work();
    } else {
      const { topics, hostConnection } = this.options;
      hostConnection.warn(
        `command on ${topics.command(topics.hostName)} refused: busy: ${MOST_COMMANDS_WAITING} of them wait`,
      );
    }
  }

  async #work(): Promise<void> {
    this.#working = true;
    await this.load();
    for (let message = this.#waiting.shift(); message; message = this.#waiting.shift()) {
      this.commands.receive(message);
      await setImmediate();
    }
    this.#working = false;
  }

  #takeWaiting(): void {
    if (!this.#isLoaded) return;
    for (const message of this.#waiting.splice(0)) this.commands.receive(message);
  }

  #addAllStop({ allStop, operator }: CommandDeskOptions): void {
    const stop = (args: unknown) => allStop.engage(whoOf(args));
    this.#add(ALL_STOP, { description: "Stop every prop, and let nothing move until all_clear" }, stop);
    this.#add(STOP, { description: "The same as all_stop" }, stop);
    this.#add(ALL_CLEAR, { description: "End all-stop; starts nothing by itself" }, (args) => {
      operator.alive();
      return allStop.clear(whoOf(args));
    });
    this.#add(OPERATOR_ALIVE, { description: "Say that the operator is there" }, () => operator.alive());
  }

  readonly #add: AddCommand = (action, spec, handler) => {
    this.commands.add({ ...entryOf(action, spec, handler), ...(ADMIN_VERBS.has(action) ? { admin: true } : {}) });
  };
}

/** Who says so; no argument is wrong enough to refuse it. */
export function whoOf(args: unknown): Who {
  if (typeof args === "string" && args !== "") return { by: "a command", reason: args };
  const { by, reason } = (typeof args === "object" && args !== null ? args : {}) as { by?: unknown; reason?: unknown };
  return {
    by: typeof by === "string" ? by.slice(0, 200) : "a command",
    ...(reason === undefined ? {} : { reason: typeof reason === "string" ? reason.slice(0, 200) : quote(reason) }),
  };
}
