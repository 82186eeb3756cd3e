/** How long a host may say nothing before its workers tell of it, in ms. */
const SILENT_MS = 10_000;

/**
 * Watches the host of this process, from its workers' side: a host that stands still restarts nothing, and hears no
 * all-stop. Time counts only as far as this process itself went on, so that a machine which was suspended tells nothing.
 */
export class HostWatch {
  #silentMs = 0;

  /** @param say tells people of it, for each worker */
  constructor(private readonly say: (text: string) => void) {}

  /** So much time has passed in this process, in ms. */
  pass(ms: number): void {
    const before = this.#silentMs;
    this.#silentMs += ms;
    if (before < SILENT_MS && this.#silentMs >= SILENT_MS)
      this.say(`the host has said nothing for ${SILENT_MS / 1000} s: it hears no all-stop, and restarts nothing`);
  }

  /** The host has said something. */
  heard(): void {
    if (this.#silentMs >= SILENT_MS) this.say("the host is there again");
    this.#silentMs = 0;
  }
}
