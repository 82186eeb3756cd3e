/**
 * The baseline, in a process of its own as a worker is: a bare mqtt.js client that answers `ping <text>` on its command
 * topic with `<text>` on its telemetry topic. Arguments: URL, protocol version, id.
 */
import { connectBare } from "./mqtt-client.mjs";

const [url = "", version, id = ""] = process.argv.slice(2);
const client = await connectBare(url, version === "5" ? 5 : 4);

/** @param {Buffer} payload */
async function ping(payload) {
  const text = payload.toString().slice("ping ".length);
  // As in the worker: the PUBACK goes out first, in a write of its own.
  await undefined;
  client.publish(`halloween/${id}/telemetry/pong`, text, { qos: 0 });
}

client.on("message", (_topic, payload) => {
  void ping(payload);
});
await client.subscribeAsync(`halloween/${id}/cmd`, { qos: 1 });
process.send?.("ready");
process.on("disconnect", () => process.exit());
