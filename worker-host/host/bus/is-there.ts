import { type Clock, within } from "../../base/clock.ts";
import { COMMAND_EXPIRY_S, formatCommand } from "../../contract/command.ts";
import { decodeText } from "../../contract/payload.ts";
import type { Topics } from "../../contract/topics.ts";
import type { Message, Wire } from "../../mqtt/wire.ts";

export interface IsThereOptions {
  wire: Wire;
  topics: Topics;
  clock: Clock;
  newId: () => string;
  /** Who asks, and gets the reply. */
  asker: string;
}

/** A board whose radio sleeps to save power takes 300 ms and more. */
const PING_MS = 2_000;

/**
 * Whether anybody is there under an id that is shown online: it is sent a `ping`, and a reply counts, or any live word
 * of its own. `undefined` where it could not be asked.
 */
export async function isThere(id: string, options: IsThereOptions): Promise<boolean | undefined> {
  const { wire, topics, clock, newId, asker } = options;
  const commandId = newId();
  const replyTo = topics.reply(asker, commandId);
  let settle: (there: boolean) => void = () => {};
  const heard = new Promise<boolean>((resolve) => {
    settle = resolve;
  });
  const ends = await Promise.all([
    wire.subscribe(replyTo, ({ retain }) => {
      if (!retain) settle(true);
    }),
    wire.subscribe(topics.subtree(id), (message) => {
      const there = whatItTells(message, id, topics);
      if (there !== undefined) settle(there);
    }),
  ]);
  const ping = formatCommand("ping", undefined, commandId, replyTo);
  const sent = await wire.publish(topics.command(id), ping, { qos: 1, expiryS: COMMAND_EXPIRY_S });
  const answer = sent === "dropped" ? undefined : ((await within(clock, PING_MS, heard))?.value ?? false);
  for (const end of ends) end();
  return answer;
}

/** What a message under an id tells of whether it is there; `undefined` where nothing. */
function whatItTells({ topic, payload, retain }: Message, id: string, topics: Topics): boolean | undefined {
  if (topic === topics.availability(id)) {
    if (decodeText(payload) !== "online") return false;
    return retain ? undefined : true;
  }
  // A topic is cleared by others, too.
  return !retain && payload.length > 0 && topics.isOwnWord(topic) ? true : undefined;
}
