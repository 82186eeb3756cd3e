/**
 * Floods a topic. Arguments: URL, protocol version, topic, payload, messages a second. Told `begin` and `end` by
 * messages; answers the second with how many it has sent.
 */
import { connectBare } from "./mqtt-client.mjs";

/** So much may wait to be written; what is beyond it isn't sent. */
const MOST_WAITING_BYTES = 1_048_576;

const [url = "", version, topic = "", payload = "", perSecond] = process.argv.slice(2);
const client = await connectBare(url, version === "5" ? 5 : 4);
let sent = 0;
/** @type {NodeJS.Timeout | undefined} */
let ticks;

function begin() {
  sent = 0;
  let due = 0;
  let last = performance.now();
  ticks = setInterval(() => {
    const now = performance.now();
    due += ((now - last) / 1_000) * Number(perSecond);
    last = now;
    for (; due >= 1; due--) {
      if (client.stream.writableLength > MOST_WAITING_BYTES) continue;
      client.publish(topic, payload, { qos: 0 });
      sent++;
    }
  }, 1);
}

process.on("message", (what) => {
  clearInterval(ticks);
  if (what === "begin") begin();
  else process.send?.(sent);
});
process.on("disconnect", () => process.exit());
process.send?.("ready");
