import { patiently } from "./wait.ts";

interface Waiting {
  matches: (text: string) => boolean;
  arrive: (text: string) => void;
}

/** The messages of one topic. Each is handed out once, in order. */
export class Mailbox {
  readonly #unread: string[] = [];
  /** Served one by one: each message goes to the first. */
  readonly #waiting: Waiting[] = [];
  #count = 0;

  /** How many messages were handed out, or passed over. */
  get handedOut(): number {
    return this.#count - this.#unread.length;
  }

  add(text: string): void {
    this.#count++;
    const first = this.#waiting[0];
    if (first === undefined) this.#unread.push(text);
    else if (first.matches(text)) {
      this.#waiting.shift();
      first.arrive(text);
    }
  }

  /** The first message not handed out yet that `matches`; those before it count as handed out. Waits for it. */
  async take(matches: (text: string) => boolean, what: () => string, ms?: number): Promise<string> {
    // An earlier wait has taken all that came.
    for (let text = this.#unread.shift(); text !== undefined; text = this.#unread.shift()) {
      if (matches(text)) return text;
    }
    let arrive = (_text: string) => {};
    const arrived = new Promise<string>((resolve) => {
      arrive = resolve;
    });
    const waiting = { matches, arrive };
    this.#waiting.push(waiting);
    return patiently(arrived, what, ms).finally(() => {
      const index = this.#waiting.indexOf(waiting);
      if (index !== -1) this.#waiting.splice(index, 1);
    });
  }
}
