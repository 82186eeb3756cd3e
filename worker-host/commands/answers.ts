import type { Clock } from "../base/clock.ts";
import { describeError } from "../contract/errors.ts";
import { formatReply, type Reply } from "../contract/reply.ts";
import type { PublishOptions } from "../mqtt/wire.ts";
import type { Outcome, Request } from "./request.ts";

export interface AnswersOptions {
  /** Who answers. */
  from: string;
  clock: Pick<Clock, "now" | "monotonic">;
  /** Tells people of a command that was not run. */
  warn: (text: string) => void;
  publish: (topic: string, payload: string, options: PublishOptions) => void;
  /** Takes out of an error what nobody may see. */
  clean?: (text: string) => string;
}

/** What people, and the senders of commands, hear of them. */
export class Answers {
  /** @param report tells people of an error in a command */
  constructor(
    private readonly options: AnswersOptions,
    private readonly report: (error: unknown, action: string) => void,
  ) {}

  answer(request: Request, outcome: Outcome): void {
    switch (outcome.status) {
      case "done":
        this.#reply(request, { status: "ok", result: outcome.result });
        return;
      case "refused":
        this.options.warn(outcome.why);
        this.#reply(request, { status: "error", error: outcome.why, refused: true });
        return;
      case "aborted":
        this.#reply(request, { status: "error", error: `aborted: ${outcome.error.message}` });
        return;
      case "failed":
        this.report(outcome.error, request.command.action);
        this.#reply(request, { status: "error", error: describeError(outcome.error) });
    }
  }

  /** Does nothing where no reply is wanted. */
  #reply({ command, correlationData, receivedAt }: Request, reply: Omit<Reply, "id" | "from" | "ms">): void {
    const { replyTo, id } = command;
    if (replyTo === undefined) return;
    const { from, clock, clean } = this.options;
    const cleaned = reply.error === undefined ? {} : { error: clean?.(reply.error) ?? reply.error };
    const ms = Math.round(clock.monotonic() - receivedAt);
    const whole: Reply = { ...(id === undefined ? {} : { id }), from, ...reply, ...cleaned, ms };
    this.options.publish(replyTo, formatReply(whole), { qos: 1, ...(correlationData ? { correlationData } : {}) });
  }
}
