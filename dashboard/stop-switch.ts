import { signal } from "@preact/signals";
import type { Link } from "./link.ts";
import type { Store } from "./store.ts";

const AGAIN_MS = 500;

interface Press {
  /** Its two ways to the console are one press. */
  id: string;
  /** What the console had said of all-stop by then. */
  word: number;
}

/** All-stop: sent at the touch, and again on each new socket until the console says that it is engaged. */
export class StopSwitch {
  /** Since when it is pressed and not confirmed, by this page's clock. */
  readonly pressedAt = signal<number | undefined>(undefined);
  /** The last press, until it is confirmed. */
  #press: Press | undefined;

  constructor(
    private readonly link: Link,
    private readonly store: Store,
  ) {}

  press(at: number): void {
    this.pressedAt.value ??= at;
    // Not `randomUUID`: browsers have that for an address of this machine, or by HTTPS, alone.
    const press = { id: crypto.getRandomValues(new Uint32Array(4)).join("-"), word: this.store.allStopWord };
    this.#press = press;
    this.send();
    // Beside the socket, which may be stuck behind others' messages.
    void fetch(`/api/all_stop?press=${press.id}`, { method: "POST", keepalive: true }).then((answer) => {
      if (answer.ok) this.#confirmed(press);
    }, ignore);
  }

  /** To be called for each new socket too. */
  send(): void {
    const press = this.#press;
    if (!press) return;
    void this.link.call("all_stop", { press: press.id }).then(
      () => this.#confirmed(press),
      () => setTimeout(() => this.#sendAgain(), AGAIN_MS),
    );
  }

  /** Without a link, the next socket sends it. */
  #sendAgain(): void {
    if (this.link.lostSince.value === undefined) this.send();
  }

  #confirmed(press: Press): void {
    if (this.#press !== press) return;
    this.#press = undefined;
    this.pressedAt.value = undefined;
    this.store.stopIsConfirmed(press.word);
  }
}

/** The socket's own answer counts. */
const ignore = () => {};
