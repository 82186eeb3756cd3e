import { BOARDS, COFFIN, HOST, SOAK } from "./cast.ts";
import type { Haunt } from "./haunt.ts";
import type { Happening, Sent } from "./model/happenings.ts";
import type { CommandStep } from "./schedule.ts";
import { commandTopic, Link, type Properties, replyTopic } from "./wire.ts";

export interface OperatorOptions {
  url: string;
  haunt: Haunt;
  now: () => number;
  tell: (happening: Happening) => void;
  /** Whether all-stop is shown as engaged. */
  allStopShown: () => boolean;
}

/** What the operator wants of all-stop; with `button` it is the panic button that is to bring it about. */
type Wanted = "clear" | "engaged" | "button";

/** Who clicks: sends commands, engages and clears all-stop, presses the panic button. */
export class Operator {
  readonly #link: Link;
  #wanted: Wanted = "clear";
  #lastId = 0;
  /** How often a host was started; the ids that one knew are gone with it. */
  #hostLives = 0;

  constructor(private readonly options: OperatorOptions) {
    this.#link = new Link({ url: options.url, filters: [] });
  }

  start(): void {
    this.#link.start();
  }

  stop(): void {
    this.#link.stop();
  }

  get up(): boolean {
    return this.#link.up;
  }

  /** A host was started. */
  hostStarted(): void {
    this.#hostLives++;
  }

  do(deed: "all_stop" | "all_clear" | "reset_fault" | "arm"): boolean {
    if (deed === "reset_fault") return this.tellWorker(COFFIN, "reset");
    if (deed === "arm") return this.tellWorker("coffin_jumper", "arm");
    this.#wanted = deed === "all_stop" ? "engaged" : "clear";
    this.#tellAllStop(deed === "all_stop");
    return true;
  }

  press(): boolean {
    const { haunt, now, tell } = this.options;
    this.#wanted = "button";
    tell({ at: now(), type: "all_stop_told", engaged: true });
    haunt.press(true);
    return true;
  }

  release(): boolean {
    this.options.haunt.press(false);
    return true;
  }

  /** Looks whether all-stop is as wanted, and says so again where it isn't: what was said may have been lost. */
  tend(): void {
    const shown = this.options.allStopShown();
    if (this.#wanted === "clear" && shown) this.#tellAllStop(false);
    if (this.#wanted === "engaged" && !shown) this.#tellAllStop(true);
  }

  #tellAllStop(engaged: boolean): void {
    const { now, tell } = this.options;
    if (!this.up) return;
    tell({ at: now(), type: "all_stop_told", engaged });
    this.tellWorker(HOST, engaged ? "all_stop" : "all_clear");
  }

  /** Sends a command whose fate nobody follows; gives whether it could be sent. */
  tellWorker(who: string, action: string): boolean {
    if (!this.up) return false;
    const id = `o${++this.#lastId}`;
    // What becomes of it shows in what the haunt does then.
    void this.#link.publish(commandTopic(who), { action, id });
    return true;
  }

  /** Sends what anybody answers, whatever they are: a sign of life. */
  probe(who: string): void {
    const { now, tell } = this.options;
    if (!this.up) return;
    const id = `p${++this.#lastId}`;
    const action = who === HOST ? "list" : BOARDS.some((board) => board.id === who) ? "ping" : "stop";
    const command = { id, target: who, journaled: false, safe: true, workMs: 0, resent: false };
    tell({ at: now(), type: "sent", command });
    void this.#publish(command, { action, id, reply_to: replyTopic(id) });
  }

  /** Sends a command of the schedule, and tells the model what became of it; gives whether it could be sent. */
  send(step: CommandStep): boolean {
    const { now, tell } = this.options;
    if (!this.up) return false;
    const at = now();
    const command = sentOf(step, at);
    const message = messageOf(step, command);
    tell({ at, type: "sent", command });
    void this.#publish(command, ...message);
    if (step.flavour === "resent") {
      const lives = this.#hostLives;
      // A host remembers what has run for as long as it lives (docs/protocol.md, "At most once, and only fresh").
      setTimeout(() => {
        if (lives !== this.#hostLives || !this.up) return;
        tell({ at: now(), type: "sent", command });
        void this.#publish(command, ...message);
      }, step.afterMs);
    }
    return true;
  }

  async #publish({ id, target }: Sent, payload: object, properties?: Properties): Promise<void> {
    const { now, tell } = this.options;
    const outcome = await this.#link.publish(commandTopic(target), payload, properties);
    if (outcome === "unsure" || outcome === "not sent") tell({ at: now(), type: "unsure", id });
    else tell({ at: now(), type: "acked", id, heard: outcome === "heard" });
  }
}

/** What goes over the wire: the payload, and what MQTT 5 says beside it. */
function messageOf({ flavour, workMs }: CommandStep, command: Sent): [object, Properties] {
  const { id, journaled, expiresAt, expiryMs } = command;
  const topic = replyTopic(id);
  const told = !journaled
    ? { action: "ping" }
    : flavour === "safe"
      ? { action: "look" }
      : { action: "work", args: workMs };
  if (expiryMs !== undefined) {
    return [
      { ...told, id },
      { messageExpiryInterval: expiryMs / 1000, responseTopic: topic },
    ];
  }
  return [{ ...told, id, reply_to: topic, ...(expiresAt === undefined ? {} : { expires_at: expiresAt }) }, {}];
}

function sentOf({ id, target, flavour, workMs, afterMs }: CommandStep, at: number): Sent {
  const journaled = SOAK.some((worker) => worker.id === target);
  return {
    ...{ id, target, journaled, workMs: flavour === "safe" ? 0 : workMs, resent: flavour === "resent" },
    // A board's ping is.
    safe: flavour === "safe" || !journaled,
    ...(flavour === "expires" || flavour === "expired" ? { expiresAt: at + afterMs } : {}),
    ...(flavour === "message_expiry" ? { expiryMs: afterMs } : {}),
  };
}
