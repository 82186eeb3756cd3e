import { signal } from "@preact/signals";
import type { Link } from "./link.ts";
import type { Store } from "./store.ts";

const AGAIN_MS = 500;

/** All-stop: sent at the touch, and again on each new socket until the console says that it is engaged. */
export class StopSwitch {
  /** Since when it is pressed and not confirmed, by this page's clock. */
  readonly pressedAt = signal<number | undefined>(undefined);

  constructor(
    private readonly link: Link,
    private readonly store: Store,
  ) {}

  press(at: number): void {
    this.pressedAt.value ??= at;
    this.send();
    // Beside the socket, which may be stuck behind others' messages.
    void fetch("/api/all_stop", { method: "POST", keepalive: true }).then((answer) => {
      if (answer.ok) this.#confirmed();
    }, ignore);
  }

  /** To be called for each new socket too. */
  send(): void {
    if (this.pressedAt.value === undefined) return;
    void this.link.call("all_stop").then(
      () => this.#confirmed(),
      () => setTimeout(() => this.#sendAgain(), AGAIN_MS),
    );
  }

  /** Without a link, the next socket sends it. */
  #sendAgain(): void {
    if (this.link.lostSince.value === undefined) this.send();
  }

  #confirmed(): void {
    this.pressedAt.value = undefined;
    this.store.stopConfirmed.value = true;
  }
}

/** The socket's own answer counts. */
const ignore = () => {};
