import { decodeText } from "../contract/payload.ts";
import type { Connection } from "./connection.ts";

/**
 * Says on the topic of a connection's availability what it said last, when somebody says `offline` there in its name, or
 * clears it: a broker finds out late that a connection is dead, and then publishes the will of one that has long been
 * replaced; a board that had the same id clears it when it gets another one.
 */
export async function insistOn(topic: string, connection: Connection): Promise<void> {
  // A broker may hand out the same message twice, where subscriptions overlap.
  let saying = false;
  await connection.subscribe(topic, ({ payload, retain }) => {
    const said = connection.retained(topic);
    const heard = decodeText(payload);
    if (heard === said) saying = false;
    if (retain || saying || said === undefined || said === "offline") return;
    if (heard !== "offline" && heard !== "") return;
    saying = true;
    void connection.publish(topic, said, { qos: 1, retain: true }).then((result) => {
      if (result === "dropped") saying = false;
    });
  });
}
