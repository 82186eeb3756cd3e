import type { Clock } from "../../base/clock.ts";
import { decodeText } from "../../contract/payload.ts";
import { BROKER_UPTIME } from "../../contract/topics.ts";
import type { Wire } from "../../mqtt/wire.ts";
import { listen } from "../http/listening.ts";

const YOUNG_S = 60;
const UPTIME_MS = 2_000;
/** How much older than it says the broker may be: mosquitto tells its whole seconds every 11 s (`sys_interval 10`). */
const STALE_MS = 12_000;

/** How long the broker has been running, as it says itself: whether what it retains may be from before a power cut. */
export class BrokerAge {
  /** The broker that we were last connected to was started then, or before; ms since 1970. */
  #startedBy: number | undefined;

  constructor(private readonly options: { wire: Pick<Wire, "subscribe">; clock: Clock }) {}

  /**
   * To be called at each connect. Tells once, within 2 s, whether the broker is young: started since we were last
   * connected, started less than a minute ago, or not saying. The function that it gives calls that off.
   */
  ask(tell: (young: boolean) => void): () => void {
    const { wire, clock } = this.options;
    let over = false;
    const end = () => {
      over = true;
      cancel();
      unsubscribe();
    };
    const answer = (uptimeS: number | undefined) => {
      if (over) return;
      end();
      tell(this.#isYoung(uptimeS));
    };
    const cancel = clock.after(UPTIME_MS, () => answer(undefined));
    const unsubscribe = listen(wire, BROKER_UPTIME, ({ payload }) => answer(secondsIn(payload)));
    return end;
  }

  #isYoung(uptimeS: number | undefined): boolean {
    const before = this.#startedBy;
    const startedBy = this.options.clock.now() - (uptimeS ?? 0) * 1000;
    this.#startedBy = startedBy;
    if (uptimeS === undefined || uptimeS < YOUNG_S) return true;
    return before !== undefined && startedBy - STALE_MS > before;
  }
}

/** The seconds in a payload such as `123 seconds`. */
function secondsIn(payload: Uint8Array): number | undefined {
  const [, seconds] = /^(\d{1,10}) seconds$/.exec(decodeText(payload) ?? "") ?? [];
  return seconds === undefined ? undefined : Number(seconds);
}
