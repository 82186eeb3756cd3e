import type { Clock } from "../base/clock.ts";
import { decodeText } from "../contract/payload.ts";
import type { Connection } from "./connection.ts";

export interface ReassertOptions {
  /** The topic of the connection's availability. */
  availability: string;
  /** What else it retains that is cleared by who clears its availability. */
  beside: readonly string[];
  connection: Connection;
  clock: Clock;
}

/** How long somebody who clears topics has to come to the last of them. */
const CLEARING_MS = 1_000;

/**
 * Says on the topic of a connection's availability what it said last, when somebody says `offline` there in its name: a
 * broker finds out late that a connection is dead, and then publishes the will of one that has long been replaced. A
 * board that had the same id clears the topic, and others, when it takes another id: then all are said again.
 */
export async function reassert({ availability, beside, connection, clock }: ReassertOptions): Promise<void> {
  // A broker may hand out the same message twice, where subscriptions overlap.
  let saying = false;
  let clearing = false;
  const sayBeside = () => {
    clearing = false;
    for (const topic of beside) {
      const said = connection.retained(topic);
      if (said !== undefined) void connection.publish(topic, said, { qos: 1, retain: true });
    }
  };
  await connection.subscribe(availability, ({ payload, retain }) => {
    const said = connection.retained(availability);
    const heard = decodeText(payload);
    if (heard === said) saying = false;
    if (retain || saying || said === undefined || said === "offline") return;
    if (heard !== "offline" && heard !== "") return;
    saying = true;
    void connection.publish(availability, said, { qos: 1, retain: true }).then((result) => {
      if (result === "dropped") saying = false;
    });
    if (heard !== "" || clearing) return;
    clearing = true;
    clock.after(CLEARING_MS, sayBeside);
  });
}
