import type { Counts } from "../base/counts.ts";
import { formatReply, type Reply } from "../contract/reply.ts";
import type { PublishOptions } from "../mqtt/wire.ts";
import type { Request } from "./request.ts";

export interface AnswersOptions {
  /** Who answers. */
  from: string;
  now: () => number;
  /** Tells people of a command that was not run. */
  warn: (text: string) => void;
  publish: (topic: string, payload: string, options: PublishOptions) => void;
  /** Where commands are counted. */
  counts?: Counts;
}

/** What the senders of commands hear of them. */
export class Answers {
  constructor(private readonly options: AnswersOptions) {}

  refuse(request: Request, why: string): void {
    if (this.options.counts) this.options.counts.refused++;
    this.options.warn(why);
    this.reply(request, { status: "error", error: why, refused: true });
  }

  /** Does nothing where no reply is wanted. */
  reply({ command, correlationData, receivedAt }: Request, outcome: Omit<Reply, "id" | "from" | "ms">): void {
    const { replyTo, id } = command;
    if (replyTo === undefined) return;
    const { from, now } = this.options;
    const reply: Reply = { ...(id === undefined ? {} : { id }), from, ...outcome, ms: now() - receivedAt };
    this.options.publish(replyTo, formatReply(reply), { qos: 1, ...(correlationData ? { correlationData } : {}) });
  }
}
