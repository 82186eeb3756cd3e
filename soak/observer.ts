import type { Happening } from "./model/happenings.ts";
import { ALL_STOP, AVAILABILITY, COMPLAINT, type Heard, Link, REPLY, WATCHED } from "./wire.ts";

export interface ObserverOptions {
  url: string;
  now: () => number;
  tell: (happening: Happening) => void;
  /** Told what is for the record alone. */
  note: (text: string) => void;
}

/** Sees all that is said on the broker, on a connection of its own, and tells the model what it means. */
export class Observer {
  readonly #link: Link;

  constructor(private readonly options: ObserverOptions) {
    const { url, now, tell } = options;
    this.#link = new Link({
      url,
      filters: WATCHED,
      onUp: () => tell({ at: now(), type: "connected" }),
      onDown: () => tell({ at: now(), type: "disconnected" }),
      onMessage: (message) => this.#hear(message),
    });
  }

  start(): void {
    this.#link.start();
  }

  stop(): void {
    this.#link.stop();
  }

  #hear({ topic, text, retain }: Heard): void {
    const { now, tell, note } = this.options;
    const at = now();
    const [, who] = AVAILABILITY.exec(topic) ?? [];
    const [, id] = REPLY.exec(topic) ?? [];
    if (who !== undefined) tell({ at, type: "shown", who, online: text === "online", live: !retain });
    else if (topic === ALL_STOP) tell({ at, type: "all_stop_shown", engaged: text === "engaged", live: !retain });
    else if (COMPLAINT.test(topic)) note(`${topic} ${text}`);
    else if (id !== undefined) {
      const {
        status,
        refused = false,
        error = "",
      } = JSON.parse(text) as {
        status: "ok" | "error";
        refused?: boolean;
        error?: string;
      };
      tell({ at, type: "reply", id, status, refused, error });
    }
  }
}
