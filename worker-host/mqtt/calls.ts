import { type Clock, msOf, type Span } from "../base/clock.ts";
import { rightsFor } from "../contract/access.ts";
import { formatCommand, parseReply } from "../contract/command.ts";
import { CALL_TIMEOUT_MS, COMMAND_EXPIRY_S } from "../contract/limits.ts";
import type { Topics } from "../contract/topics.ts";
import type { Message, Wire } from "./wire.ts";

/**
 * Why a call has no result: `timeout` (no answer in time), `refused` (the target did not run it), `failed` (it ran, and
 * threw), `nobody` (nobody is subscribed to the target's commands; known with MQTT 5 only) or `not_sent`.
 */
export type CallErrorCode = "timeout" | "refused" | "failed" | "nobody" | "not_sent";

export class CallError extends Error {
  override readonly name = "CallError";

  constructor(
    readonly code: CallErrorCode,
    message: string,
  ) {
    super(message);
  }
}

export interface CallsOptions {
  /** Whose replies: the worker's id, or `cli`. */
  id: string;
  topics: Topics;
  wire: Wire;
  clock: Clock;
  newId: () => string;
  /** How long the target itself gives that command, in ms, where it says so. */
  timeoutOf?: (target: string, action: string) => Promise<number | undefined>;
}

export interface CallRequest {
  target: string;
  action: string;
  args: unknown;
  /** Where the target takes it; where it takes most commands if not given. */
  topic?: string;
  /** What the target says of that command if not given, else 30 s. */
  timeoutMs?: Span;
  /** When its target is no longer to run it, by the target's clock, in ms since 1970. */
  expiresAt?: number;
}

/** How much longer than its target a call waits, so that the target's own word comes first. */
const GRACE_MS = 500;

/** Commands that wait for their replies. */
export class Calls {
  readonly #waiting = new Map<string, (message: Message) => void>();
  #subscribed: Promise<unknown> | undefined;

  constructor(private readonly options: CallsOptions) {}

  /**
   * Sends a command and waits for its result.
   *
   * @throws CallError
   */
  async call(request: CallRequest): Promise<unknown> {
    const { id, topics, wire, newId } = this.options;
    const { target, action, args, topic = topics.command(target), expiresAt } = request;
    this.#subscribed ??= wire.subscribe(topics.reply(id, "+"), (message) =>
      this.#waiting.get(message.topic)?.(message),
    );
    await this.#subscribed;
    const callId = newId();
    const replyTo = topics.reply(id, callId);
    const answer = this.#answer(replyTo, request);
    const payload = formatCommand(action, args, callId, replyTo, expiresAt);
    const sent = wire.publish(topic, payload, { qos: 1, expiryS: COMMAND_EXPIRY_S });
    // The reply may well come before the acknowledgement of the command.
    return Promise.race([answer, this.#unless(sent, target, action)]).finally(() => this.#waiting.delete(replyTo));
  }

  /** Rejects where nobody got the command; never fulfils. */
  async #unless(sent: ReturnType<Wire["publish"]>, target: string, action: string): Promise<never> {
    const result = await sent;
    if (result === "dropped")
      throw new CallError(
        "not_sent",
        `${target} was not told "${action}": the broker is away, or did not take it${rightsFor(action)}`,
      );
    if (result === "unheard") throw new CallError("nobody", `nobody takes commands for ${target}: is it running?`);
    return new Promise(() => {});
  }

  #answer(topic: string, request: CallRequest): Promise<unknown> {
    const what = `${request.target} ${request.action}`;
    return new Promise((resolve, reject) => {
      const cancel = this.#limit(request, (ms) => reject(new CallError("timeout", `${what}: no reply in ${ms} ms`)));
      this.#waiting.set(topic, ({ payload }) => {
        const reply = parseReply(payload);
        if (!reply) return;
        cancel();
        if (reply.status === "ok") resolve(reply.result);
        else
          reject(new CallError(reply.refused ? "refused" : "failed", `${what}: ${reply.error ?? "no reason given"}`));
      });
    });
  }

  /** Calls `onTimeout` when it has taken too long; what the target says of that may come while it runs. */
  #limit({ target, action, timeoutMs: span }: CallRequest, onTimeout: (ms: number) => void): () => void {
    const timeoutMs = span === undefined ? undefined : msOf("call: timeoutMs is %", span);
    const { clock, timeoutOf } = this.options;
    const since = clock.monotonic();
    const arm = (ms: number) => clock.after(Math.max(0, since + ms - clock.monotonic()), () => onTimeout(ms));
    let cancel = arm(timeoutMs ?? CALL_TIMEOUT_MS);
    let over = false;
    if (timeoutMs === undefined && timeoutOf) {
      void timeoutOf(target, action).then((own) => {
        if (own === undefined || over) return;
        cancel();
        cancel = arm(own + GRACE_MS);
      });
    }
    return () => {
      over = true;
      cancel();
    };
  }
}
