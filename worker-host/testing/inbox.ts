import type { Clock } from "../base/clock.ts";

/** A message that a worker published. */
export interface TestMessage {
  topic: string;
  text: string;
}

/** Messages as they came; of each topic, those that a test has not asked for yet. */
export class Inbox {
  readonly all: TestMessage[] = [];
  readonly #unread = new Map<string, string[]>();
  readonly #waiting = new Map<string, ((text: string) => void)[]>();

  constructor(
    private readonly clock: Clock,
    private readonly patienceMs: number,
  ) {}

  add(message: TestMessage): void {
    this.all.push(message);
    const waiting = this.#waiting.get(message.topic)?.shift();
    if (waiting) waiting(message.text);
    else this.#unread.set(message.topic, [...(this.#unread.get(message.topic) ?? []), message.text]);
  }

  /** The first on `topic` that was not asked for yet; waits for it. */
  next(topic: string): Promise<string> {
    const text = this.#unread.get(topic)?.shift();
    if (text !== undefined) return Promise.resolve(text);
    return new Promise((resolve, reject) => {
      const arrive = (arrived: string) => {
        cancel();
        resolve(arrived);
      };
      const cancel = this.clock.after(this.patienceMs, () => {
        const waiting = this.#waiting.get(topic) ?? [];
        waiting.splice(waiting.indexOf(arrive), 1);
        reject(new Error(`nothing came on ${topic} in ${this.patienceMs} ms${this.#seen()}`));
      });
      this.#waiting.set(topic, [...(this.#waiting.get(topic) ?? []), arrive]);
    });
  }

  #seen(): string {
    const last = this.all.slice(-10).map(({ topic, text }) => `\n  ${topic} ${text}`);
    const hint = "; where the worker waits, put time forward with advance(ms)";
    return last.length === 0 ? hint : `${hint}. The last that came:${last.join("")}`;
  }
}
