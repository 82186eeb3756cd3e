import { within } from "../base/clock.ts";
import { COMMAND_EXPIRY_S, formatCommand } from "../contract/command.ts";
import { parseDescribed, parseRunstate } from "../contract/description.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { decodeText } from "../contract/payload.ts";
import { parseReply } from "../contract/reply.ts";
import { assertTarget, faultOfId, Topics } from "../contract/topics.ts";
import { isThere } from "../host/bus/is-there.ts";
import type { Settings } from "../host/settings/settings.ts";
import type { Connection } from "../mqtt/connection.ts";
import type { Message } from "../mqtt/wire.ts";
import { type ClientDependencies, connect, RETAINED_MS, retained } from "./client.ts";
import { asUsage } from "./options.ts";
import type { Outcome } from "./send.ts";

export interface RenameOptions extends ClientDependencies {
  id: string;
  newId: string;
  /** A fresh id for a command. */
  newCommandId: () => string;
  /** Tells people how far it is. */
  say: (text: string) => void;
}

/** How long a board has to write down its id and to say so. */
const REPLY_MS = 5_000;
/** How long it has to be there again. */
const RETURN_MS = 30_000;

/** Has a board take another id, and waits until it is there under that. */
export async function renameBoard(settings: Settings, options: RenameOptions): Promise<Outcome> {
  const { id, newId } = options;
  asUsage(() => assertTarget(id));
  const fault = faultOfId(newId, settings.name);
  if (fault !== undefined) throw new WorkerHostError("invalid_settings", fault);
  if (id === newId) throw new WorkerHostError("invalid_settings", `the board has the id "${id}" already: give another`);
  const client = await connect(settings, options);
  if ("problem" in client) return { code: 1, text: `not renamed: ${client.problem}` };
  const { connection } = client;
  const topics = new Topics(settings.prefix, settings.name);
  try {
    return await new Renaming(connection, topics, options).run();
  } finally {
    await connection.stop();
  }
}

/** One board's way from one id to another. */
class Renaming {
  /** What the broker shows of the new id's availability. */
  readonly #shown: Promise<Uint8Array>;
  /** Fulfils when somebody comes online under the new id. */
  readonly #back: Promise<void>;
  #show: (payload: Uint8Array) => void = () => {};
  #isBack = () => {};
  /** A worker runs under the board's id, too. */
  #isShared = false;

  constructor(
    private readonly wire: Connection,
    private readonly topics: Topics,
    private readonly options: RenameOptions,
  ) {
    this.#shown = new Promise((resolve) => {
      this.#show = resolve;
    });
    this.#back = new Promise((resolve) => {
      this.#isBack = resolve;
    });
  }

  async run(): Promise<Outcome> {
    const { wire, topics } = this;
    const { id, newId, clock, say } = this.options;
    await wire.subscribe(topics.availability(newId), (message) => this.#hear(message));
    const obstacle = await this.#obstacle();
    if (obstacle !== undefined) return { code: 1, text: `not renamed: ${obstacle}` };
    const failure = await this.#send();
    if (failure !== undefined) return { code: 1, text: `not renamed: ${failure}` };
    say(`${id} takes the id ${newId}, and starts again`);
    if (await within(clock, RETURN_MS, this.#back)) return { code: 0, text: `${newId} is online` };
    return { code: 1, text: `${newId} did not come online in ${RETURN_MS / 1000} s: look at its power and network` };
  }

  #hear({ payload, retain }: Message): void {
    if (retain) this.#show(payload);
    else if (decodeText(payload) === "online") this.#isBack();
  }

  /** Why nothing is sent. */
  async #obstacle(): Promise<string | undefined> {
    const { wire, topics } = this;
    const { id, newId, clock, newCommandId } = this.options;
    const [description, runstate, shown] = await Promise.all([
      retained(wire, clock, topics.description(id)),
      retained(wire, clock, topics.runstate(id)),
      within(clock, RETAINED_MS, this.#shown),
    ]);
    const worker = runstate && parseRunstate(runstate);
    this.#isShared = worker?.state === "running";
    if (description === undefined) return `nothing on the broker describes itself as "${id}"`;
    if (parseDescribed(description, id).chip === undefined) {
      const what = worker ? `it is a worker of the host "${worker.host}"` : 'its description has no "board"';
      return `"${id}" is no board: ${what}`;
    }
    if (shown === undefined || decodeText(shown.value) !== "online") return undefined;
    const there = await isThere(newId, { wire, topics, clock, newId: newCommandId, asker: "cli" });
    return there === false ? undefined : `"${newId}" is taken: something answers under it`;
  }

  /** Sends the command; gives why it was not done. */
  async #send(): Promise<string | undefined> {
    const { wire, topics } = this;
    const { id, newId, clock, newCommandId } = this.options;
    const commandId = newCommandId();
    const replyTo = topics.reply("cli", commandId);
    let refusal: string | undefined;
    let settle: (refusal: string | undefined) => void = () => {};
    const settled = new Promise<string | undefined>((resolve) => {
      settle = resolve;
    });
    await wire.subscribe(replyTo, ({ payload }) => {
      const reply = parseReply(payload);
      if (!reply) return;
      refusal = reply.status === "ok" ? undefined : (reply.error ?? "no reason given");
      // A worker that has the id too knows no such command, and says so.
      if (refusal === undefined || !this.#isShared) settle(refusal);
    });
    const payload = formatCommand("rename", newId, commandId, replyTo);
    const sent = await wire.publish(topics.command(id), payload, { qos: 1, expiryS: COMMAND_EXPIRY_S });
    if (sent === "dropped") return "the broker did not take the command";
    if (sent === "unheard") return `nobody takes commands for ${id}: is it running?`;
    const back = this.#back.then(() => undefined);
    const answer = await within(clock, REPLY_MS, Promise.race([settled, back]));
    return answer ? answer.value : (refusal ?? `no reply in ${REPLY_MS / 1000} s`);
  }
}
