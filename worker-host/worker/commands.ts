import { type Command, parseCommand, quote } from "../contract/command.ts";
import { BaseWorker } from "./base-worker.ts";
import { isAbort, type Scope } from "./scope.ts";
import type { Message } from "./wire.ts";

type Handler = (args: unknown, command: Command) => unknown;

const PREFIX = "do_";
const STOP = "stop";

/** Every `do_*` of a worker, its own and its parents', by the action that calls it. */
export function collectHandlers(worker: BaseWorker): ReadonlyMap<string, Handler> {
  const handlers = new Map<string, Handler>();
  const add = (holder: object) => {
    for (const name of Object.getOwnPropertyNames(holder)) {
      const action = name.slice(PREFIX.length);
      if (!name.startsWith(PREFIX) || action === "" || handlers.has(action)) continue;
      const method: unknown = Reflect.get(holder, name, worker);
      if (typeof method === "function") handlers.set(action, (args, command) => method.call(worker, args, command));
    }
  };
  for (let holder: object = worker; holder !== BaseWorker.prototype; holder = Object.getPrototypeOf(holder))
    add(holder);
  return handlers;
}

export interface CommandsOptions {
  worker: BaseWorker;
  scope: Scope;
  now: () => number;
  /** Tells people of a command that was not run. */
  warn: (text: string) => void;
  /** Takes a retained command off the broker. */
  clearRetained: (topic: string) => void;
}

/**
 * Runs a worker's commands. They start in the order of their arrival and run side by side; an error in one goes to the
 * scope's owner and ends nothing.
 */
export class Commands {
  readonly #handlers: ReadonlyMap<string, Handler>;
  readonly #running = new Set<Scope>();
  /** The topics whose retained command we cleared, and from which one empty message is to come. */
  readonly #clearing = new Set<string>();

  constructor(private readonly options: CommandsOptions) {
    this.#handlers = collectHandlers(options.worker);
  }

  /** Takes a message from the worker's own command topic. */
  receive(message: Message): void {
    const { topic, payload, retain } = message;
    // A retained command was taken off the broker, by us or by somebody else.
    if (payload.length === 0 && (this.#clearing.delete(topic) || retain)) return;
    const { command, refusal } = parseCommand(payload);
    if (retain) {
      this.#clearing.add(topic);
      this.options.clearRetained(topic);
      this.options.warn(`retained command refused: ${quoteBytes(payload)}; publish commands without the retain flag`);
      // Whoever wants something stopped gets it, whatever the flags.
      if (command?.action !== STOP) return;
    }
    if (refusal !== undefined) this.options.warn(refusal);
    else this.#dispatch(command);
  }

  /** Takes a message from the topic of all props, on which only `stop` means something; the host watches over the rest. */
  receiveBroadcast(message: Message): void {
    if (message.retain) return;
    const { command } = parseCommand(message.payload);
    if (command?.action === STOP) this.#dispatch(command);
  }

  /** Aborts the running commands: their `hold`s turn off, their sleeps reject. */
  abortAll(): void {
    for (const scope of [...this.#running]) scope.end();
  }

  /** Runs `do_stop` if there is one. */
  async stop(): Promise<void> {
    await this.#handlers.get(STOP)?.(undefined, { action: STOP, args: undefined });
  }

  #dispatch(command: Command): void {
    const { action, expiresAt } = command;
    const { worker, now, warn } = this.options;
    // A `stop` is never too late: its sender's clock may be wrong.
    if (expiresAt !== undefined && expiresAt < now() && action !== STOP) {
      warn(`${quote(action)} refused: it expired ${Math.round(now() - expiresAt)} ms ago`);
      return;
    }
    // Whatever is running must not switch on again what `stop` switches off.
    if (action === STOP) this.abortAll();
    const handler = this.#handlers.get(action);
    if (handler) void this.#run(action, () => handler(command.args, command));
    else if (worker.onCommand) void this.#run(action, () => worker.onCommand?.(action, command.args, command));
    else if (action !== STOP) warn(`unknown action ${quote(action)}; known: ${this.#known()}`);
  }

  #known(): string {
    return [...new Set([...this.#handlers.keys(), STOP])].sort().join(", ");
  }

  async #run(action: string, call: () => unknown): Promise<void> {
    const scope = this.options.scope.child();
    this.#running.add(scope);
    try {
      await scope.track(call);
    } catch (error) {
      if (!isAbort(error, scope)) scope.owner.report(error, action);
    }
    // What it spawned counts as a part of it.
    if (scope.busy) await scope.idle();
    this.#running.delete(scope);
  }
}

function quoteBytes(payload: Uint8Array): string {
  return quote(new TextDecoder().decode(payload.subarray(0, 60)));
}
